//! What is to be done: against whom, how, how much, and for how long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Reference;
use super::life::{Life, MOST_DEPTH};
use super::pacing::{Burst, Pace};
use super::request::Request;

/// How long a run may take where only the number of requests bounds it.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The most connections that a plan may ask for.
const MOST_CONNECTIONS: usize = 1_000_000;

/// The most threads that a plan may ask for.
const MOST_THREADS: usize = 1024;

/// What the answers are held against.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The first answer, which is asked for before anything is measured.
    FirstAnswer {
        /// How long its body must be; `None` takes any length that agrees with its head.
        body_bytes: Option<u64>,
    },
    /// This one. No request is made before the run.
    Known(Arc<Reference>),
}

/// A load, and how long it is put on a server.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What is asked.
    pub request: Request,
    /// How many requests a connection carries.
    pub life: Life,
    /// What must be answered.
    pub expected: Expected,
    /// When requests are due.
    pub pace: Pace,
    /// Requests that come at once.
    pub burst: Option<Burst>,
    /// Closed loop: so many requests are under way all the time. Open loop: at most so many. With
    /// connections that persist: so many of them, in either, with their depth of requests each.
    pub connections: usize,
    /// Connections that are opened before, and then say nothing.
    pub idle: usize,
    /// How many requests are made at the most.
    pub requests: Option<u64>,
    /// For how long requests are begun at the most; [`LONGEST`] if nothing else is said.
    pub duration: Option<Duration>,
    /// For how long the same load is put on the server before that, unmeasured.
    pub warm_up: Duration,
    /// How long one request may take, and in the open loop how long it may wait to be begun.
    pub timeout: Duration,
    /// How many threads share it.
    pub threads: usize,
    /// Which processors these threads may use; none says nothing.
    pub cpus: Vec<usize>,
}

impl Plan {
    /// Ten seconds of 64 connections in the closed loop, after one second of warm-up.
    pub fn new(target: SocketAddr, request: Request) -> Self {
        Self {
            target,
            request,
            life: Life::OneRequest,
            expected: Expected::FirstAnswer { body_bytes: None },
            pace: Pace::AsFastAsAnswered,
            burst: None,
            connections: 64,
            idle: 0,
            requests: None,
            duration: Some(Duration::from_secs(10)),
            warm_up: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            threads: 1,
            cpus: Vec::new(),
        }
    }

    /// # Errors
    /// When it makes no sense, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { connections, threads, .. } = *self;
        let most = MOST_CONNECTIONS;
        let wrong = if self.target.port() == 0 {
            "the target's port must not be 0".to_owned()
        } else if !(1..=most).contains(&connections) || self.idle > most {
            format!("there must be 1 to {most} connections, and no more than that idle")
        } else if !(1..=MOST_THREADS.min(connections)).contains(&threads) {
            format!("there must be 1 to {MOST_THREADS} threads, and a connection for each")
        } else if self.burst.is_some_and(|it| !(1..=connections).contains(&it.connections)) {
            format!("a burst needs 1 to {connections} connections, as many as there are")
        } else if self.burst.is_some() && threads > 1 {
            "bursts are begun by one thread".to_owned()
        } else if let Some(wrong) = self.check_life() {
            wrong
        } else if self.requests == Some(0) {
            "no requests were asked for".to_owned()
        } else if self.timeout.is_zero() || self.duration.is_some_and(|it| it.is_zero()) {
            "the duration and the timeout must not be 0".to_owned()
        } else if self.lengths().any(|length| length > LONGEST) {
            format!("no length of time may exceed {} s", LONGEST.as_secs())
        } else {
            return Ok(());
        };
        Err(wrong)
    }

    fn check_life(&self) -> Option<String> {
        if !self.life.is_persistent() {
            return None;
        }
        let wrong = if !(1..=MOST_DEPTH).contains(&self.life.depth()) {
            return Some(format!("1 to {MOST_DEPTH} requests can be under way on a connection"));
        } else if self.burst.is_some() {
            "bursts are of one connection a request"
        } else if self.request.fragments() > 1 {
            "requests in fragments have one connection each"
        } else if self.request.closing().is_none() {
            "on connections that persist a request must be able to end them: get_persistent"
        } else {
            return None;
        };
        Some(wrong.to_owned())
    }

    fn lengths(&self) -> impl Iterator<Item = Duration> {
        let pauses = [self.request.pause(), self.burst.map_or(Duration::ZERO, |it| it.pause)];
        self.duration.into_iter().chain([self.warm_up, self.timeout]).chain(pauses)
    }

    /// For how long requests are begun at the most.
    pub(super) fn longest(&self) -> Duration {
        self.duration.unwrap_or(LONGEST)
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
    fn the_default_plan_makes_sense() {
        assert_eq!(plan().check(), Ok(()));
        let pace = Pace::Rate(Rate::per_second(15_000.0).unwrap());
        assert_eq!(Plan { pace, idle: 1000, threads: 2, ..plan() }.check(), Ok(()));
    }

    #[test]
    fn connections_that_persist_have_requests_that_can_end_them() {
        let request = Request::get_persistent("/", "a", &[]).unwrap();
        let persistent =
            |depth| Plan { request: request.clone(), life: Life::Persistent { depth }, ..plan() };
        assert_eq!(persistent(16).check(), Ok(()));
        let burst = Some(Burst { connections: 2, pause: Duration::ZERO });
        let in_fragments = request.clone().in_fragments(2, Duration::ZERO).unwrap();
        for plan in [
            persistent(0),
            persistent(MOST_DEPTH + 1),
            Plan { burst, ..persistent(1) },
            Plan { request: in_fragments, ..persistent(1) },
            Plan { life: Life::Mixed { seed: 1 }, ..plan() },
        ] {
            assert!(plan.check().is_err(), "{plan:?}");
        }
    }

    #[test]
    fn plans_without_sense_are_refused() {
        let burst = |connections| Some(Burst { connections, pause: Duration::ZERO });
        for (what, plan) in [
            ("port", Plan { target: ([127, 0, 0, 1], 0).into(), ..plan() }),
            ("no connection", Plan { connections: 0, ..plan() }),
            ("idle", Plan { idle: MOST_CONNECTIONS + 1, ..plan() }),
            ("no thread", Plan { threads: 0, ..plan() }),
            ("more threads than connections", Plan { threads: 65, ..plan() }),
            ("burst", Plan { burst: burst(65), ..plan() }),
            ("empty burst", Plan { burst: burst(0), ..plan() }),
            ("burst of two threads", Plan { burst: burst(2), threads: 2, ..plan() }),
            ("no request", Plan { requests: Some(0), ..plan() }),
            ("no timeout", Plan { timeout: Duration::ZERO, ..plan() }),
            ("no duration", Plan { duration: Some(Duration::ZERO), ..plan() }),
            ("for ever", Plan { duration: Some(LONGEST * 2), ..plan() }),
            ("long warm-up", Plan { warm_up: LONGEST * 2, ..plan() }),
        ] {
            assert!(plan.check().is_err(), "{what}");
        }
    }
}
