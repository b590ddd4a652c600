//! What a comparison asks of the load generator.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::report::result::{ClientUse, Failures, LatencyPair, LoadDescription};

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
    /// How long requests took.
    pub latency: LatencyPair,
    /// What the clients used.
    pub used: ClientUse,
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

    /// Opens the connections that stay open beside the load and say nothing.
    ///
    /// # Errors
    /// When they cannot all be had.
    fn open_idle(&self, target: SocketAddr) -> Result<Vec<TcpStream>, String>;

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
