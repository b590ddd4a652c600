//! The parameters of a run.

use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use super::lifetime::{Lifetime, MAX_DEPTH};
use super::pacing::{Burst, Pace};
use super::request::Request;
use super::request_list::RequestList;
use super::response::Reference;
use super::verify::Verify;

/// The duration of a run that is limited by its number of requests only.
pub const MAX_DURATION: Duration = Duration::from_secs(3600);

/// The largest number of connections.
const MAX_CONNECTIONS: usize = 1_000_000;

/// The time after which a body is sent without 100 Continue, as curl does: a server may not know
/// the field (RFC 9110, section 10.1.1).
pub(super) const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// The largest number of threads.
const MAX_THREADS: usize = 1024;

/// The side that is to close connections of one request first. TIME_WAIT is on its side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CloseBy {
    /// The server, if it announces that (`Connection: close`, HTTP/1.0) and does it within 200 ms
    /// of its first responses; else the client
    #[default]
    Auto,
    /// The server; a request ends with its connection
    Server,
    /// The client, as soon as the response is complete
    Client,
}

/// The response to each request of the plan that all others must equal.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The response to the request, sent before the load.
    FirstResponse {
        /// Required length of its body; `None` accepts any.
        body_bytes: Option<u64>,
    },
    /// Known responses, one for each request; none is sent before the load.
    Known(Arc<[Reference]>),
}

/// A load and its duration.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Address of the server.
    pub target: SocketAddr,
    /// The request, the same every time; with a list, its first one.
    pub request: Request,
    /// Requests of which one is drawn each time.
    pub list: Option<Arc<RequestList>>,
    /// Requests per connection.
    pub lifetime: Lifetime,
    /// The expected response.
    pub expected: Expected,
    /// The parts of each response that must equal the expected one.
    pub verify: Verify,
    /// The side that closes connections of one request first.
    pub close: CloseBy,
    /// Closed loop, or open loop with its rate.
    pub pace: Pace,
    /// Requests that start at the same time.
    pub burst: Option<Burst>,
    /// One-request connections: in a closed loop the number of requests in flight, in an open loop
    /// its maximum. Persistent connections: their number, in either loop.
    pub connections: usize,
    /// Idle connections, opened before the load.
    pub idle: usize,
    /// Maximum number of requests.
    pub requests: Option<u64>,
    /// Maximum time for starting requests; `None` is [`MAX_DURATION`].
    pub duration: Option<Duration>,
    /// Duration of the same load before the measurement.
    pub warm_up: Duration,
    /// Timeout of a request; in an open loop also the maximum delay of its start.
    pub timeout: Duration,
    /// Length of the intervals of [`Outcome::intervals`](super::Outcome::intervals), if there are
    /// to be any.
    pub interval: Option<Duration>,
    /// Number of client threads.
    pub threads: usize,
    /// CPUs that the threads may use; empty is no restriction.
    pub cpus: Vec<usize>,
}

impl Plan {
    /// Creates a plan: 64 connections in a closed loop, 10 seconds after a warm-up of 1 second.
    pub fn new(target: SocketAddr, request: Request) -> Self {
        Self {
            target,
            request,
            list: None,
            lifetime: Lifetime::OneRequest,
            expected: Expected::FirstResponse { body_bytes: None },
            verify: Verify::Auto,
            close: CloseBy::Auto,
            pace: Pace::ClosedLoop,
            burst: None,
            connections: 64,
            idle: 0,
            requests: None,
            duration: Some(Duration::from_secs(10)),
            warm_up: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            interval: None,
            threads: 1,
            cpus: Vec::new(),
        }
    }

    /// # Errors
    /// Returns a message if parameters are invalid or contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let Self { connections, threads, .. } = *self;
        let max = MAX_CONNECTIONS;
        let problem = if self.target.port() == 0 {
            "the port of the target must not be 0".to_owned()
        } else if !(1..=max).contains(&connections) || self.idle > max {
            format!("there must be 1 to {max} connections and at most {max} idle ones")
        } else if !(1..=MAX_THREADS.min(connections)).contains(&threads) {
            format!("there must be 1 to {MAX_THREADS} threads and no more threads than connections")
        } else if self.burst.is_some_and(|it| !(1..=connections).contains(&it.connections)) {
            format!("a burst must have 1 to {connections} connections (the number of connections)")
        } else if self.burst.is_some() && threads > 1 {
            "bursts can only be used with one thread".to_owned()
        } else if let Some(problem) = self.check_lifetime().or(self.check_requests()) {
            problem
        } else if self.requests == Some(0) {
            "the number of requests must be at least 1".to_owned()
        } else if self.timeout.is_zero() || self.duration.is_some_and(|it| it.is_zero()) {
            "the duration and the timeout must not be 0".to_owned()
        } else if self.times().any(|time| time > MAX_DURATION) {
            format!(
                "durations, pauses and the timeout must not exceed {} s",
                MAX_DURATION.as_secs()
            )
        } else {
            return Ok(());
        };
        Err(problem)
    }

    /// The HTTP requests, each with its own reference.
    pub fn requests(&self) -> &[Request] {
        self.list.as_ref().map_or(slice::from_ref(&self.request), |list| list.requests())
    }

    fn check_requests(&self) -> Option<String> {
        if let Expected::Known(known) = &self.expected
            && known.len() != self.requests().len()
        {
            return Some("there must be one known response for each request".to_owned());
        } else if self.list.is_some() && !self.request.is_http() {
            return Some("a list must have HTTP requests, not messages".to_owned());
        } else if !self.requests().iter().any(Request::expects_continue) {
            return None;
        }
        let problem = if self.lifetime.depth() > 1 {
            "--expect-continue cannot be used with pipelined requests, which do not wait for a \
             response. Use --load keep-alive."
                .to_owned()
        } else if self.timeout <= CONTINUE_TIMEOUT {
            let timeout = super::units::duration(CONTINUE_TIMEOUT);
            format!("--expect-continue waits for {timeout}, so --timeout must be longer")
        } else {
            return None;
        };
        Some(problem)
    }

    fn check_lifetime(&self) -> Option<String> {
        let closes_each = !self.lifetime.is_persistent() && self.request.is_http();
        if self.close != CloseBy::Auto && !closes_each {
            return Some(
                "`close` can only be chosen for one HTTP request per connection".to_owned(),
            );
        }
        if !self.lifetime.is_persistent() {
            let is_stream = self.request.direction().is_some();
            return is_stream.then(|| "a stream needs persistent connections".to_owned());
        }
        let is_mixed = matches!(self.lifetime, Lifetime::Mixed { .. });
        let problem = if !(1..=MAX_DEPTH).contains(&self.lifetime.depth()) {
            return Some(format!("the pipeline depth must be 1 to {MAX_DEPTH}"));
        } else if self.burst.is_some() {
            "bursts cannot be used with persistent connections"
        } else if self.request.fragments() > 1 {
            "fragments cannot be used with persistent connections"
        } else if self.request.is_http()
            && self.requests().iter().any(|request| request.closing().is_none())
        {
            "persistent connections need a request made by Request::http_persistent or message"
        } else if is_mixed && !self.request.is_http() {
            "messages cannot be used with a mixed lifetime of connections"
        } else {
            return None;
        };
        Some(problem.to_owned())
    }

    fn times(&self) -> impl Iterator<Item = Duration> {
        let pauses = [self.request.pause(), self.burst.map_or(Duration::ZERO, |it| it.pause)];
        self.duration.into_iter().chain([self.warm_up, self.timeout]).chain(pauses)
    }

    /// Returns the maximum time for starting requests.
    pub(super) fn max_duration(&self) -> Duration {
        self.duration.unwrap_or(MAX_DURATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::pacing::Rate;

    fn plan() -> Plan {
        Plan::new(([127, 0, 0, 1], 80).into(), Request::get("/", "a", &[]).unwrap())
    }

    #[test]
    fn default_plan_is_valid() {
        assert_eq!(plan().check(), Ok(()));
        let pace = Pace::OpenLoop(Rate::per_second(15_000.0).unwrap());
        assert_eq!(Plan { pace, idle: 1000, threads: 2, ..plan() }.check(), Ok(()));
    }

    #[test]
    fn persistent_connections_need_a_closing_request_and_no_bursts() {
        let request = Request::get_persistent("/", "a", &[]).unwrap();
        let persistent = |depth| {
            let lifetime = Lifetime::Persistent { depth };
            Plan { request: request.clone(), lifetime, ..plan() }
        };
        assert_eq!(persistent(16).check(), Ok(()));
        let burst = Some(Burst { connections: 2, pause: Duration::ZERO });
        let in_fragments = request.clone().in_fragments(2, Duration::ZERO).unwrap();
        for plan in [
            persistent(0),
            persistent(MAX_DEPTH + 1),
            Plan { burst, ..persistent(1) },
            Plan { request: in_fragments, ..persistent(1) },
            Plan { lifetime: Lifetime::Mixed { seed: 1 }, ..plan() },
        ] {
            assert!(plan.check().is_err(), "{plan:?}");
        }
    }

    #[test]
    fn invalid_plan_is_refused() {
        let burst = |connections| Some(Burst { connections, pause: Duration::ZERO });
        for (name, plan) in [
            ("port", Plan { target: ([127, 0, 0, 1], 0).into(), ..plan() }),
            ("no connection", Plan { connections: 0, ..plan() }),
            ("idle", Plan { idle: MAX_CONNECTIONS + 1, ..plan() }),
            ("no thread", Plan { threads: 0, ..plan() }),
            ("more threads than connections", Plan { threads: 65, ..plan() }),
            ("burst", Plan { burst: burst(65), ..plan() }),
            ("empty burst", Plan { burst: burst(0), ..plan() }),
            ("burst of two threads", Plan { burst: burst(2), threads: 2, ..plan() }),
            ("no request", Plan { requests: Some(0), ..plan() }),
            ("no timeout", Plan { timeout: Duration::ZERO, ..plan() }),
            ("no duration", Plan { duration: Some(Duration::ZERO), ..plan() }),
            ("long duration", Plan { duration: Some(MAX_DURATION * 2), ..plan() }),
            ("long warm-up", Plan { warm_up: MAX_DURATION * 2, ..plan() }),
        ] {
            assert!(plan.check().is_err(), "{name}");
        }
    }
}
