//! The load generator as a comparison uses it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Pace, Seen};
use super::load_shape::LoadShape;
use crate::load::{
    self, Burst, Control, Expected, FailureKind, KeptConnections, LoadKind, Outcome, Plan, Rate,
    Reference, Request,
};
use crate::report::result::{ClientUse, Failures, LoadDescription};

/// Open loop: how many requests may be under way at once before they have to wait. Far more than
/// a server below saturation ever has.
const OPEN_LOOP_CONNECTIONS: usize = 1024;

/// How long a request may take. It outlasts a lost SYN, which is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// One of the loads.
pub struct LoadClient {
    shape: LoadShape,
    request: Request,
    /// What each arm answers: learned from its first round, and held against all others.
    answers: RefCell<BTreeMap<usize, Arc<Reference>>>,
    /// The connections that persist from slice to slice, server by server.
    kept: RefCell<BTreeMap<SocketAddr, Arc<KeptConnections>>>,
}

impl LoadClient {
    /// A load of this shape.
    ///
    /// # Errors
    /// When it makes no sense.
    pub fn new(shape: LoadShape) -> Result<Self, String> {
        let is_persistent = shape.life().is_persistent();
        if is_persistent && (shape.burst.is_some() || shape.fragments > 1) {
            let name = shape.kind;
            return Err(format!(
                "--load {name}: bursts and fragments are of one connection a request"
            ));
        }
        if shape.kind == LoadKind::Pipelined && !(1..=1024).contains(&shape.depth) {
            return Err("--depth: 1 to 1024 requests can be under way on a connection".to_owned());
        }
        let get = if is_persistent { Request::get_persistent } else { Request::get };
        let request = get(&shape.path, "localhost", &[])?;
        let request = request.in_fragments(shape.fragments, shape.fragment_pause)?;
        if shape.connections == 0 {
            return Err("there must be a connection at least".to_owned());
        }
        if shape.burst == Some(0) {
            return Err("a burst has a connection at least".to_owned());
        }
        Ok(Self::of(shape, request))
    }

    fn of(shape: LoadShape, request: Request) -> Self {
        Self { shape, request, answers: RefCell::default(), kept: RefCell::default() }
    }

    fn kept(&self, target: SocketAddr) -> Arc<KeptConnections> {
        Arc::clone(self.kept.borrow_mut().entry(target).or_default())
    }

    fn plan(&self, target: SocketAddr, pace: Pace, duration: Duration) -> Result<Plan, String> {
        let closed_loop = self.shape.burst.unwrap_or(self.shape.connections);
        let (pace, connections) = match pace {
            Pace::AsFastAsAnswered => (load::Pace::AsFastAsAnswered, closed_loop),
            Pace::RequestsPerSecond(rate) if self.shape.life().is_persistent() => {
                (load::Pace::Rate(Rate::per_second(rate)?), closed_loop)
            }
            Pace::RequestsPerSecond(rate) => {
                (load::Pace::Rate(Rate::per_second(rate)?), closed_loop.max(OPEN_LOOP_CONNECTIONS))
            }
        };
        let large = self.shape.kind == LoadKind::Large;
        Ok(Plan {
            life: self.shape.life(),
            expected: Expected::FirstAnswer { body_bytes: large.then_some(self.shape.bytes) },
            pace,
            connections,
            burst: self
                .shape
                .burst
                .map(|connections| Burst { connections, pause: self.shape.burst_pause }),
            duration: Some(duration),
            // A run of its own, so that nothing of it is measured.
            warm_up: Duration::ZERO,
            timeout: PATIENCE,
            ..Plan::new(target, self.request.clone())
        })
    }
}

impl Client for LoadClient {
    fn run(
        &self,
        arm: usize,
        target: SocketAddr,
        pace: Pace,
        duration: Duration,
    ) -> Result<Seen, String> {
        let mut plan = self.plan(target, pace, duration)?;
        if let Some(answer) = self.answers.borrow().get(&arm) {
            plan.expected = Expected::Known(Arc::clone(answer));
        }
        let kept = self.kept(target);
        let outcome = load::run_on(&plan, &Control::new(), &kept);
        let outcome = outcome.map_err(|error| error.to_string())?;
        self.answers.borrow_mut().entry(arm).or_insert_with(|| Arc::clone(&outcome.reference));
        let mut seen = seen(&outcome);
        seen.used.connections = seen.used.connections.min(plan.connections as u64);
        Ok(seen)
    }

    fn introduce(&self, arm: usize, target: SocketAddr) -> Result<(), String> {
        let plan = self.plan(target, Pace::AsFastAsAnswered, PATIENCE)?;
        let answer = load::learn(&plan, &Control::new()).map_err(|error| error.to_string())?;
        self.answers.borrow_mut().insert(arm, answer);
        Ok(())
    }

    fn shortest(&self) -> Duration {
        // A few of what takes longest.
        let fragments = self.shape.fragment_pause * (self.shape.fragments as u32 - 1);
        4 * fragments.max(self.shape.burst_pause)
    }

    fn open_idle(&self, target: SocketAddr) -> Result<Vec<TcpStream>, String> {
        let open = |_| TcpStream::connect_timeout(&target, Duration::from_secs(5));
        let opened: Result<Vec<_>, _> = (0..self.shape.idle).map(open).collect();
        opened.map_err(|error| format!("an idle connection: {error}"))
    }

    fn leave(&self, target: SocketAddr) {
        self.kept.borrow_mut().remove(&target);
    }

    fn server_settings(&self) -> Vec<(&'static str, String)> {
        self.shape.server_settings()
    }

    fn answer_of(&self, arm: usize) -> Option<String> {
        let answers = self.answers.borrow();
        let answer = answers.get(&arm)?;
        let status = answer.status_line().unwrap_or("no HTTP");
        Some(format!("{} bytes, {status}", answer.bytes().len()))
    }

    fn description(&self) -> LoadDescription {
        self.shape.description()
    }

    fn with(&self, key: &str, value: &str) -> Option<Result<Box<dyn Client>, String>> {
        let mut shape = self.shape.clone();
        let expected = || format!("a whole number is expected, not {value}");
        let changed = match key {
            "depth" if shape.kind != LoadKind::Pipelined => {
                Err("the depth is of --load pipelined".to_owned())
            }
            "bytes" if shape.kind != LoadKind::Large => {
                Err("the bytes are of --load large".to_owned())
            }
            "bytes" => value.parse().map(|bytes| shape.bytes = bytes).map_err(|_| expected()),
            _ => {
                let field = match key {
                    "connections" => &mut shape.connections,
                    "idle" => &mut shape.idle,
                    "depth" => &mut shape.depth,
                    "burst" => shape.burst.get_or_insert(0),
                    "fragments" => &mut shape.fragments,
                    _ => return None,
                };
                value.parse().map(|number| *field = number).map_err(|_| expected())
            }
        };
        let client = changed.and_then(|()| Self::new(shape));
        Some(client.map(|client| Box::new(client) as Box<dyn Client>))
    }

    fn again(&self) -> Box<dyn Client> {
        Box::new(Self::of(self.shape.clone(), self.request.clone()))
    }
}

fn seen(outcome: &Outcome) -> Seen {
    let of = |kinds: &[FailureKind]| kinds.iter().map(|&kind| outcome.failures.of(kind)).sum();
    // What is worst first.
    let worst = [FailureKind::WrongBytes, FailureKind::EarlyEnd].into_iter();
    let example = worst
        .chain(FailureKind::ALL)
        .find_map(|kind| Some(format!("{kind}: {}", outcome.failures.first(kind)?)));
    Seen {
        duration: outcome.duration,
        requests: outcome.completed,
        failures: Failures {
            wrong_bytes: of(&[FailureKind::WrongBytes, FailureKind::EarlyEnd]),
            refused: of(&[FailureKind::ConnectRefused]),
            reset: of(&[FailureKind::Reset]),
            timed_out: of(&[FailureKind::Timeout]),
            not_sent: of(&[FailureKind::NeverBegun]),
            other: of(&[FailureKind::PortsExhausted, FailureKind::Other]),
            example,
        },
        latencies: Some((outcome.corrected.clone(), outcome.uncorrected.clone())),
        used: ClientUse {
            cpu_ns: outcome.own_cost.cpu().as_nanos() as u64,
            busy: outcome.own_cost.busiest,
            connections: outcome.most_under_way as u64,
            connections_ended: outcome.connections_ended,
            most_late_ns: outcome.lateness.max(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    fn client(shape: LoadShape) -> LoadClient {
        LoadClient::new(shape).unwrap()
    }

    #[test]
    fn a_shape_is_told_and_can_be_swept() {
        let client = client(LoadShape { idle: 7, fragments: 3, ..LoadShape::default() });
        let text = client.description().text;
        assert!(
            text.contains("64 at saturation, 7 idle beside it, requests in 3 pieces"),
            "{text}"
        );
        let swept = client.with("connections", "9").unwrap().unwrap();
        assert!(swept.description().text.contains("9 at saturation, 7 idle"));
        assert!(client.with("connections", "many").unwrap().is_err());
        assert!(client.with("fragments", "5000").unwrap().is_err());
        assert!(client.with("connections", "0").unwrap().is_err());
        assert!(client.with("server.backlog", "9").is_none());
    }

    #[test]
    fn each_load_has_its_own_words_and_settings() {
        let described = |kind| client(LoadShape { kind, ..LoadShape::default() }).description();
        let keep_alive = described(LoadKind::KeepAlive);
        assert_eq!(keep_alive.name, "keep-alive");
        assert_eq!(keep_alive.text, "64 persistent connections, one request under way on each");
        assert_eq!(keep_alive.server_settings[0].key, "server.keep_alive");
        assert!(described(LoadKind::Churn).server_settings.is_empty());
        let large = client(LoadShape { kind: LoadKind::Large, ..LoadShape::default() });
        let swept = large.with("bytes", "70000").unwrap().unwrap();
        let settings = swept.server_settings();
        assert!(settings.contains(&("server.response_body_bytes", "70000".to_owned())));
        assert!(large.with("depth", "2").unwrap().is_err());
        let pipelined = client(LoadShape { kind: LoadKind::Pipelined, ..LoadShape::default() });
        let deep = pipelined.with("depth", "3").unwrap().unwrap().description();
        assert!(deep.text.contains("3 requests under way on each"), "{}", deep.text);
        assert!(pipelined.with("depth", "0").unwrap().is_err());
        assert!(pipelined.with("bytes", "1").unwrap().is_err());
        assert!(pipelined.with("burst", "5").unwrap().is_err());
    }

    #[test]
    fn what_an_arm_answers_is_learned_once_and_held_against_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        // As many right answers as the first run takes at the least, and wrong ones for ever.
        std::thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let _ = std::io::Read::read(&mut stream, &mut request);
                let answer = if number < 2 { "one" } else { "two" };
                // A client that has seen enough is gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        let client = client(LoadShape { connections: 1, ..LoadShape::default() });
        let run = || {
            let duration = Duration::from_millis(100);
            client.run(0, target, Pace::AsFastAsAnswered, duration).unwrap()
        };
        let (first, second) = (run(), run());
        assert_eq!(first.requests, 1, "{first:?}");
        assert!(first.failures.wrong_bytes > 0, "{first:?}");
        assert!(first.failures.example.unwrap().contains("wrong bytes"));
        assert_eq!(second.requests, 0, "{second:?}");
        assert!(second.failures.wrong_bytes > 0, "{second:?}");
        assert_eq!(client.answer_of(0).as_deref(), Some("3 bytes, no HTTP"));
        assert_eq!(client.answer_of(1), None);
        assert_eq!(client.again().answer_of(0), None);
    }
}
