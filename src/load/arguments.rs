//! The flags of `ringpoll load`, and the plan that they mean.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::kind::{DEFAULT_DEPTH, DEFAULT_LARGE_BYTES, LoadKind};
use super::pacing::{Burst, Pace, Rate};
use super::plan::{Expected, Plan};
use super::request::Request;

/// How many requests may be under way at once in the open loop where nobody says. The corrected
/// latency is right with any number; with this many it is the server that holds requests up.
const OPEN_LOOP_CONNECTIONS: usize = 1024;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_WARM_UP: Duration = Duration::from_secs(1);

/// What the exit codes of `ringpoll load` mean.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  every request was answered rightly, also if it was stopped by a signal
  1  a request failed, or nobody answered the first one; the figures are shown all the same
  2  the command line makes no sense";

/// What can be asked of `ringpoll load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// The server: a name or an address, and a port.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    target: String,
    /// What is asked for.
    #[arg(long, value_name = "PATH", default_value = "/")]
    path: String,
    /// A header of the request; may be given several times.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// What the load is.
    #[arg(long, value_enum, value_name = "LOAD", default_value_t = LoadKind::Churn)]
    load: LoadKind,
    /// pipelined: so many requests under way on each connection.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_DEPTH)]
    depth: usize,
    /// large: the first answer must have a body of so many bytes [default: 1048576]
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// mixed: decides which connections carry one request and which more.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The first answer must have a body of so many bytes; all others must be like the first.
    #[arg(long, value_name = "N")]
    expect_body_bytes: Option<u64>,

    /// Closed loop: so many requests under way all the time (64). Open loop: at most (1024). With
    /// connections that persist: so many of them (64).
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Open loop: so many requests a second are due, answered or not.
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// N connections begin at once, and the next N when all are answered, or as --rate says.
    #[arg(long, value_name = "N")]
    burst: Option<usize>,
    /// How long after the last answer the next burst comes.
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "burst")]
    burst_pause_ms: u64,
    /// N connections that are open beside it, and say nothing [default: 0; --load idle: 1000, or
    /// as many as the limit of descriptors has room for]
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// Each request is sent in K pieces.
    #[arg(long, value_name = "K", default_value_t = 1)]
    fragments: usize,
    /// How long after one piece the next one is sent.
    #[arg(long, value_name = "MS", default_value_t = 10)]
    fragment_pause_ms: u64,

    /// End after so many requests.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// End after so long: 500ms, 10s, 2m; a number alone is seconds [default: 10s without --requests]
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    duration: Option<Duration>,
    /// Put the same load on the server for so long before [default: 1s; with --requests, 0s]
    #[arg(long, value_name = "TIME", value_parser = length_of_time)]
    warm_up: Option<Duration>,
    /// How long one request may take.
    #[arg(long, value_name = "TIME", value_parser = length_of_time, default_value = "5s")]
    timeout: Duration,

    /// How many threads share the connections and the rate.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Which processors they may use, such as 0,1.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Write the figures as JSON to a file, or to standard output (-) in place of the table.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
}

impl LoadArguments {
    /// The plan that they mean.
    ///
    /// # Errors
    /// When they make no sense, in words. What only the plan can know it checks itself.
    pub fn plan(&self) -> Result<Plan, String> {
        let target = resolve(&self.target)?;
        let pause = Duration::from_millis(self.fragment_pause_ms);
        self.check_load()?;
        let life = self.load.life(self.depth, self.seed);
        let request = if life.is_persistent() {
            Request::get_persistent(&self.path, &self.target, &self.header)?
        } else {
            Request::get(&self.path, &self.target, &self.header)?
        };
        let request = request.in_fragments(self.fragments, pause)?;
        let pace = match self.rate {
            Some(requests) => Pace::Rate(Rate::per_second(requests)?),
            None => Pace::AsFastAsAnswered,
        };
        let burst = self.burst.map(|connections| Burst {
            connections,
            pause: Duration::from_millis(self.burst_pause_ms),
        });
        let is_bounded = self.requests.is_some();
        Ok(Plan {
            life,
            expected: Expected::FirstAnswer { body_bytes: self.body_bytes() },
            pace,
            burst,
            connections: self.connections_in_force(),
            idle: self.idle.unwrap_or_else(|| self.load.default_idle(1)),
            requests: self.requests,
            duration: self.duration.or((!is_bounded).then_some(DEFAULT_DURATION)),
            warm_up: self.warm_up.unwrap_or(match is_bounded {
                // Who counts requests wants to see so many.
                true => Duration::ZERO,
                false => DEFAULT_WARM_UP,
            }),
            timeout: self.timeout,
            threads: self.threads,
            cpus: self.cpus.clone(),
            ..Plan::new(target, request)
        })
    }

    /// What is of one load alone is not to be thought of as part of another.
    fn check_load(&self) -> Result<(), String> {
        if self.bytes.is_some() && self.load != LoadKind::Large {
            return Err("--bytes is of --load large; --expect-body-bytes of any".to_owned());
        }
        Ok(())
    }

    fn body_bytes(&self) -> Option<u64> {
        let large = self.load == LoadKind::Large;
        self.expect_body_bytes.or(large.then(|| self.bytes.unwrap_or(DEFAULT_LARGE_BYTES)))
    }

    fn connections_in_force(&self) -> usize {
        if self.load.life(self.depth, self.seed).is_persistent() {
            return self.connections.unwrap_or(64);
        }
        self.connections.unwrap_or(match (self.rate, self.burst) {
            (Some(_), burst) => burst.unwrap_or(0).max(OPEN_LOOP_CONNECTIONS),
            (None, Some(burst)) => burst,
            (None, None) => 64,
        })
    }
}

fn resolve(target: &str) -> Result<SocketAddr, String> {
    let problem = |problem: &dyn std::fmt::Display| format!("--target {target}: {problem}");
    let mut addresses = target.to_socket_addrs().map_err(|error| problem(&error))?;
    addresses.next().ok_or_else(|| problem(&"it has no address"))
}

fn length_of_time(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::load::life::Life;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn plan(arguments: &str) -> Result<Plan, String> {
        let words = ["load"].into_iter().chain(arguments.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.load.plan()
    }

    #[test]
    fn without_flags_it_is_ten_seconds_of_the_closed_loop_after_one_of_warm_up() {
        let plan = plan("").unwrap();
        assert_eq!(plan.target, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((plan.pace, plan.connections), (Pace::AsFastAsAnswered, 64));
        assert_eq!((plan.duration, plan.warm_up), (Some(DEFAULT_DURATION), DEFAULT_WARM_UP));
        assert_eq!(plan.requests, None);
    }

    #[test]
    fn loads_are_named() {
        let life = |arguments| plan(arguments).unwrap().life;
        assert_eq!(life(""), Life::OneRequest);
        assert_eq!(life("--load keep-alive"), Life::Persistent { depth: 1 });
        assert_eq!(life("--load pipelined"), Life::Persistent { depth: 16 });
        assert_eq!(life("--load pipelined --depth 3"), Life::Persistent { depth: 3 });
        assert_eq!(life("--load mixed --seed 7"), Life::Mixed { seed: 7 });
        let body = |arguments| match plan(arguments).unwrap().expected {
            Expected::FirstAnswer { body_bytes } => body_bytes,
            Expected::Known(_) => panic!("nothing is known"),
        };
        assert_eq!(body("--load large"), Some(1 << 20));
        assert_eq!(body("--load large --bytes 5"), Some(5));
        assert_eq!((body(""), body("--expect-body-bytes 5")), (None, Some(5)));
        let idle = |arguments| plan(arguments).unwrap().idle;
        assert!((1..=1000).contains(&idle("--load idle")));
        assert_eq!((idle("--load idle --idle 7"), idle("--load churn --idle 7")), (7, 7));
        assert_eq!(plan("--load keep-alive --rate 10").unwrap().connections, 64);
    }

    #[test]
    fn a_number_of_requests_takes_the_place_of_the_time() {
        let counted = plan("--requests 5").unwrap();
        assert_eq!((counted.duration, counted.warm_up), (None, Duration::ZERO));
        let both = plan("--requests 5 --duration 250ms --warm-up 0.5").unwrap();
        assert_eq!(both.requests, Some(5));
        assert_eq!(both.duration, Some(Duration::from_millis(250)));
        assert_eq!(both.warm_up, Duration::from_millis(500));
    }

    #[test]
    fn there_are_as_many_connections_as_the_load_needs() {
        let connections = |arguments| plan(arguments).unwrap().connections;
        assert_eq!(connections("--rate 10"), OPEN_LOOP_CONNECTIONS);
        assert_eq!(connections("--rate 10 --burst 2000"), 2000);
        assert_eq!(connections("--burst 7"), 7);
        assert_eq!(connections("--rate 10 --connections 3"), 3);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for arguments in [
            "--target nowhere",
            "--rate 0",
            "--duration ten",
            "--duration -1",
            "--fragments 0",
            "--fragments 1000",
            "--path a",
            "--header a",
            "--burst-pause-ms 5",
            "--cpus a",
            "--load nonsense",
            "--bytes 5",
        ] {
            assert!(plan(arguments).is_err(), "{arguments}");
        }
    }
}
