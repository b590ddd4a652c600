//! What a comparison asks of the load generator.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::load::Latencies;
use crate::report::result::{ClientUse, Failures, LoadDescription};

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The closed loop: each connection asks again as soon as it is answered.
    AsFastAsAnswered,
    /// The open loop: so many requests are due each second, answered or not.
    RequestsPerSecond(f64),
}

/// What the clients saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How long it took, from the first request to the last answer.
    pub duration: Duration,
    /// Requests answered rightly.
    pub requests: u64,
    /// What went wrong.
    pub failures: Failures,
    /// How long requests took, from when they were due and from when they were sent; `None` before
    /// anything was seen.
    pub latencies: Option<(Latencies, Latencies)>,
    /// What the clients used.
    pub used: ClientUse,
}

impl Seen {
    /// Takes in what was seen in another slice of the same load.
    pub fn add(&mut self, other: Self) {
        let (own, its) = (self.duration.as_secs_f64(), other.duration.as_secs_f64());
        let busy = self.used.busy * own + other.used.busy * its;
        self.used = ClientUse {
            cpu_ns: self.used.cpu_ns + other.used.cpu_ns,
            busy: busy / (own + its).max(f64::MIN_POSITIVE),
            connections: self.used.connections.max(other.used.connections),
            connections_ended: self.used.connections_ended + other.used.connections_ended,
            most_late_ns: self.used.most_late_ns.max(other.used.most_late_ns),
        };
        self.duration += other.duration;
        self.requests += other.requests;
        self.failures.add(other.failures);
        match (&mut self.latencies, other.latencies) {
            (Some(own), Some(its)) => {
                const SAME: &str = "all have the same bounds";
                own.0.add(its.0).expect(SAME);
                own.1.add(its.1).expect(SAME);
            }
            (own, its) => *own = own.take().or(its),
        }
    }
}

/// One load, that can be put on any server.
pub trait Client {
    /// Puts it on the server of an arm. What an arm answered first, it must always answer. Every
    /// request that is begun is ended before it returns, so that what
    /// the server used meanwhile is what these requests cost.
    ///
    /// # Errors
    /// What kept it from running at all, in words.
    fn run(
        &self,
        arm: usize,
        target: SocketAddr,
        pace: Pace,
        duration: Duration,
    ) -> Result<Seen, String>;

    /// Asks the server of an arm once, and takes its answer as the one that it must always give.
    ///
    /// # Errors
    /// When it cannot be put under this load at all, in words.
    fn introduce(&self, arm: usize, target: SocketAddr) -> Result<(), String>;

    /// For how long it must be put on a server at the least to be the load that it is; zero for
    /// one of single requests.
    fn shortest(&self) -> Duration;

    /// Opens the connections that stay open beside the load and say nothing.
    ///
    /// # Errors
    /// When they cannot all be had.
    fn open_idle(&self, target: SocketAddr) -> Result<Vec<TcpStream>, String>;

    /// Closes the connections that persist, since the server there is about to end.
    fn leave(&self, target: SocketAddr);

    /// What our own servers must be set to for it: keys of the configuration, and their values.
    fn server_settings(&self) -> Vec<(&'static str, String)>;

    /// What an arm answers, in words; `None` before its first run.
    fn answer_of(&self, arm: usize) -> Option<String>;

    /// What it is.
    fn description(&self) -> LoadDescription;

    /// The same load with one of its parameters changed; `None` if it does not have this one.
    ///
    /// # Errors
    /// When the value makes no sense.
    fn with(&self, key: &str, value: &str) -> Option<Result<Box<dyn Client>, String>>;

    /// The same load, for arms that may answer otherwise.
    fn again(&self) -> Box<dyn Client>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_add_up() {
        let slice = |milliseconds, requests, busy| {
            let mut latencies = Latencies::new(3).unwrap();
            latencies.record(requests).unwrap();
            let used = ClientUse {
                cpu_ns: 10,
                busy,
                connections: requests,
                connections_ended: 1,
                most_late_ns: 7,
            };
            let latencies = Some((latencies.clone(), latencies));
            let duration = Duration::from_millis(milliseconds);
            let failures = Failures { refused: 1, ..Failures::default() };
            Seen { duration, requests, failures, latencies, used }
        };
        let mut sum = Seen::default();
        sum.add(slice(50, 100, 1.0));
        sum.add(slice(150, 40, 0.2));
        assert_eq!((sum.duration.as_millis(), sum.requests), (200, 140));
        assert_eq!(sum.failures.refused, 2);
        assert_eq!((sum.used.cpu_ns, sum.used.connections), (20, 100));
        assert!((sum.used.busy - 0.4).abs() < 1e-9, "{sum:?}");
        assert_eq!(sum.latencies.unwrap().0.len(), 2);
    }
}
