//! The load generator as the client of a comparison.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use super::client::{ClientMeasurement, LoadModel};
use super::load_shape::LoadShape;
use crate::load::{
    self, Burst, CloseBy, ConnectionPool, Control, Expected, FailureKind, LoadKind, Outcome, Plan,
    Rate, Reference, Request, RequestList, ResponseSummary, counts_text, range_text,
};
use crate::result::{ClientUsage, Failures, LoadDescription};

/// The limit on requests in flight in an open loop: far more than a server below saturation has.
const OPEN_LOOP_CONNECTIONS: usize = 1024;

/// The timeout of a request: longer than the initial SYN retransmission timeout of one second
/// (RFC 6298).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// More runs than a server has in one block.
const BLOCK_BITS: u32 = 20;

/// The load generator with one load.
pub struct LoadClient {
    shape: LoadShape,
    request: Request,
    list: Option<Arc<RequestList>>,
    /// The first response of each arm to each request, which all later ones must equal.
    responses: RefCell<BTreeMap<usize, Arc<[Reference]>>>,
    /// The persistent connections to each server, kept open between slices.
    pools: RefCell<BTreeMap<SocketAddr, Arc<ConnectionPool>>>,
    /// The current block.
    block: Cell<u64>,
}

impl LoadClient {
    /// Creates a client that applies the load of this shape.
    ///
    /// # Errors
    /// Returns a message if parameters of the shape are invalid or contradict each other.
    pub fn new(shape: LoadShape) -> Result<Self, String> {
        let is_persistent = shape.lifetime().is_persistent();
        if is_persistent && (shape.burst.is_some() || shape.fragments > 1) {
            let name = shape.kind;
            return Err(format!(
                "--burst and --fragments cannot be used with --load {name}, which has persistent \
                 connections"
            ));
        }
        if shape.kind.default_depth() > 0 && !(1..=1024).contains(&shape.depth) {
            return Err("--depth must be between 1 and 1024".to_owned());
        }
        let (request, list) = if shape.kind == LoadKind::Stream {
            (Request::stream(shape.message_bytes, shape.direction)?, None)
        } else if let Some(text) = shape.text() {
            (Request::text(text), None)
        } else if shape.kind.has_messages() {
            (Request::message(shape.message_bytes)?, None)
        } else {
            shape.requests.check(shape.kind, shape.fragments)?;
            shape.requests.requests("localhost", is_persistent, shape.seed)?
        };
        let request = request.in_fragments(shape.fragments, shape.fragment_pause)?;
        if shape.connections == 0 {
            return Err("--connections must be at least 1".to_owned());
        }
        if shape.burst == Some(0) {
            return Err("--burst must be at least 1".to_owned());
        }
        Ok(Self::of(shape, request, list))
    }

    fn of(shape: LoadShape, request: Request, list: Option<Arc<RequestList>>) -> Self {
        let (responses, pools) = (RefCell::default(), RefCell::default());
        Self { shape, request, list, responses, pools, block: Cell::new(0) }
    }

    fn pool(&self, target: SocketAddr) -> Arc<ConnectionPool> {
        let new = || Arc::new(ConnectionPool::after_runs(self.block.get() << BLOCK_BITS));
        Arc::clone(self.pools.borrow_mut().entry(target).or_insert_with(new))
    }

    fn plan(
        &self,
        target: SocketAddr,
        model: LoadModel,
        duration: Duration,
    ) -> Result<Plan, String> {
        let closed_loop = self.shape.burst.unwrap_or(self.shape.connections);
        let (pace, connections) = match model {
            LoadModel::ClosedLoop => (load::Pace::ClosedLoop, closed_loop),
            LoadModel::OpenLoop(rate) if self.shape.lifetime().is_persistent() => {
                (load::Pace::OpenLoop(Rate::per_second(rate)?), closed_loop)
            }
            LoadModel::OpenLoop(rate) => (
                load::Pace::OpenLoop(Rate::per_second(rate)?),
                closed_loop.max(OPEN_LOOP_CONNECTIONS),
            ),
        };
        let large = self.shape.kind == LoadKind::Large;
        Ok(Plan {
            list: self.list.clone(),
            lifetime: self.shape.lifetime(),
            expected: Expected::FirstResponse { body_bytes: large.then_some(self.shape.bytes) },
            verify: self.shape.verify,
            close: match self.shape.kind.has_messages() || self.shape.lifetime().is_persistent() {
                true => CloseBy::Auto,
                false => self.shape.close,
            },
            pace,
            connections,
            burst: self
                .shape
                .burst
                .map(|connections| Burst { connections, pause: self.shape.burst_pause }),
            duration: Some(duration),
            // The comparison runs its warm-up as a separate load that is not measured.
            warm_up: Duration::ZERO,
            timeout: REQUEST_TIMEOUT,
            ..Plan::new(target, self.request.clone())
        })
    }

    /// Applies the load to the server of an arm. Every response must equal the first response of
    /// that arm. Returns when no request is in flight, so that the server's CPU time in between is
    /// the cost of exactly these requests. Only after a stream, the server can have work left: it
    /// has not received all bytes, or sends until the socket buffers are full.
    ///
    /// # Errors
    /// Returns the reason if the load cannot run.
    pub fn run(
        &self,
        arm: usize,
        target: SocketAddr,
        model: LoadModel,
        duration: Duration,
    ) -> Result<ClientMeasurement, String> {
        let mut plan = self.plan(target, model, duration)?;
        if let Some(responses) = self.responses.borrow().get(&arm) {
            plan.expected = Expected::Known(Arc::clone(responses));
        }
        let pool = self.pool(target);
        let outcome = load::run_with_pool(&plan, &Control::new(), &pool);
        let outcome = outcome.map_err(|error| error.to_string())?;
        if !outcome.references.is_empty() {
            let responses = &outcome.references;
            self.responses.borrow_mut().entry(arm).or_insert_with(|| Arc::clone(responses));
        }
        let mut measured = measurement(&plan, &outcome);
        measured.used.max_open_connections =
            measured.used.max_open_connections.min(plan.connections as u64);
        Ok(measured)
    }

    /// Sends each request to the server of an arm. All later responses must equal its response. A
    /// further call is for another start of the server: what differs from start to start is not
    /// checked.
    ///
    /// # Errors
    /// Returns the reason if the server does not suit this load.
    pub fn probe(&self, arm: usize, target: SocketAddr, control: &Control) -> Result<(), String> {
        let plan = self.plan(target, LoadModel::ClosedLoop, REQUEST_TIMEOUT)?;
        if self.request.message_bytes().is_some() {
            return load::probe_with_message(&plan, control).map_err(|error| error.to_string());
        }
        plan.check()?;
        let fetched = load::fetch_references(&plan, control).map_err(|error| error.to_string())?;
        let mut responses = self.responses.borrow_mut();
        let merged = match responses.get(&arm) {
            None => fetched,
            Some(earlier) => {
                let pairs = earlier.iter().zip(fetched.iter());
                pairs.map(|(one, other)| one.merged(other)).collect::<Result<_, _>>()?
            }
        };
        responses.insert(arm, merged);
        Ok(())
    }

    /// Returns the minimum duration of a slice, so that it contains several bursts or fragmented
    /// requests; zero if the load has neither.
    pub fn min_slice(&self) -> Duration {
        // Four bursts or fragmented requests.
        let fragments = self.shape.fragment_pause * (self.shape.fragments as u32 - 1);
        4 * fragments.max(self.shape.burst_pause)
    }

    /// Starts a block. Its arms draw the same requests and connections, and other blocks others.
    pub fn start_block(&self, block: usize) {
        self.block.set(block as u64);
    }

    /// Returns the number of requests that are due at the same time at a fixed rate: those of a
    /// burst, or those in flight on a connection.
    pub fn requests_due_together(&self) -> usize {
        self.shape.burst.unwrap_or_else(|| self.shape.lifetime().depth())
    }

    /// Returns true if the load is a stream.
    pub fn is_stream(&self) -> bool {
        self.shape.kind == LoadKind::Stream
    }

    /// Opens the idle connections of the load.
    ///
    /// # Errors
    /// Returns the reason if one of them cannot be opened.
    pub fn open_idle_connections(&self, target: SocketAddr) -> Result<Vec<TcpStream>, String> {
        let open = |_| TcpStream::connect_timeout(&target, Duration::from_secs(5));
        let opened: Result<Vec<_>, _> = (0..self.shape.idle).map(open).collect();
        opened.map_err(|error| format!("cannot open an idle connection: {error}"))
    }

    /// Closes the pooled connections to a server that is about to stop.
    pub fn close_pooled(&self, target: SocketAddr) {
        self.pools.borrow_mut().remove(&target);
    }

    /// Returns the configuration keys and values that this load requires of ringpoll servers.
    pub fn server_settings(&self) -> Vec<(&'static str, String)> {
        self.shape.server_settings()
    }

    /// Describes the response of an arm; `None` before its first request.
    pub fn response_of(&self, arm: usize) -> Option<String> {
        if self.request.message_bytes().is_some() {
            return Some("the bytes of the message".to_owned());
        }
        let summary = self.summary(arm)?;
        // The side that closes first has the cost of TIME_WAIT.
        let closer = match self.shape.lifetime().is_persistent() {
            true => String::new(),
            false => format!(", closed by the {}", counts_text(&summary.closers)),
        };
        let status_lines = counts_text(&summary.status_lines);
        Some(format!("{} bytes, {status_lines}{closer}", range_text(summary.bytes)))
    }

    /// Describes what is checked of each response of an arm; `None` for messages, and before its
    /// first request.
    pub fn verified(&self, arm: usize) -> Option<String> {
        self.summary(arm).map(|summary| counts_text(&summary.checks))
    }

    /// Warns if the responses of an arm before the load are not a success, or not to a whole
    /// request.
    pub fn warnings(&self, arm: usize) -> Vec<String> {
        let responses = self.responses.borrow();
        let Some(responses) = responses.get(&arm) else { return Vec::new() };
        let list = self.list.as_deref();
        let requests = list.map_or(slice::from_ref(&self.request), RequestList::requests);
        let without_continue = responses.iter().any(Reference::lacks_continue).then(|| {
            "The server does not send 100 Continue, so bodies are sent a second later or, after a \
             final response, not at all."
                .to_owned()
        });
        load::not_successful(requests, list, responses)
            .into_iter()
            .chain(without_continue)
            .collect()
    }

    fn summary(&self, arm: usize) -> Option<ResponseSummary> {
        ResponseSummary::of(self.responses.borrow().get(&arm)?)
    }

    /// Describes the load.
    pub fn description(&self) -> LoadDescription {
        self.shape.description()
    }

    /// Returns a copy with one parameter changed; `None` if the load has no such parameter.
    ///
    /// # Errors
    /// Returns the reason if the value is invalid.
    pub fn with_parameter(&self, key: &str, value: &str) -> Option<Result<Self, String>> {
        let mut shape = self.shape.clone();
        let expected = || format!("expected a whole number, not {value}");
        let changed = match key {
            "depth" if shape.kind.default_depth() == 0 => {
                Err("depth can only be used with --load pipelined, rr or stream".to_owned())
            }
            "message_bytes" if !shape.kind.has_messages() => {
                Err("message_bytes can only be used with --load rr, crr or stream".to_owned())
            }
            "message_bytes" if shape.message.is_some() => {
                Err("message_bytes cannot be used with --message".to_owned())
            }
            "bytes" if shape.kind != LoadKind::Large => {
                Err("bytes can only be used with --load large".to_owned())
            }
            "bytes" => value.parse().map(|bytes| shape.bytes = bytes).map_err(|_| expected()),
            _ => {
                let field = match key {
                    "connections" => &mut shape.connections,
                    "idle" => &mut shape.idle,
                    "depth" => &mut shape.depth,
                    "message_bytes" => &mut shape.message_bytes,
                    "burst" => shape.burst.get_or_insert(0),
                    "fragments" => &mut shape.fragments,
                    _ => return None,
                };
                value.parse().map(|number| *field = number).map_err(|_| expected())
            }
        };
        Some(changed.and_then(|()| Self::new(shape)))
    }

    /// Returns a copy that has no responses or connections of any arm.
    pub fn fresh_copy(&self) -> Self {
        Self::of(self.shape.clone(), self.request.clone(), self.list.clone())
    }
}

fn measurement(plan: &Plan, outcome: &Outcome) -> ClientMeasurement {
    let of = |kinds: &[FailureKind]| kinds.iter().map(|&kind| outcome.failures.of(kind)).sum();
    // The most serious failure is the example.
    let worst = [FailureKind::WrongBytes, FailureKind::PrematureEof].into_iter();
    let example = worst
        .chain(FailureKind::ALL)
        .find_map(|kind| Some(format!("{kind}: {}", outcome.failures.first_text(kind, plan)?)));
    ClientMeasurement {
        duration: outcome.duration,
        requests: outcome.completed,
        bytes: outcome.bytes_sent + outcome.bytes_received,
        failures: Failures {
            wrong_bytes: of(&[FailureKind::WrongBytes, FailureKind::PrematureEof]),
            refused: of(&[FailureKind::ConnectRefused]),
            reset: of(&[FailureKind::Reset]),
            timed_out: of(&[FailureKind::Timeout]),
            not_sent: of(&[FailureKind::NotSent]),
            other: of(&[FailureKind::PortsExhausted, FailureKind::Other]),
            example,
        },
        latencies: Some((outcome.corrected.clone(), outcome.uncorrected.clone())),
        used: ClientUsage {
            cpu_ns: outcome.client_cpu.total().as_nanos() as u64,
            cpu_utilization: outcome.client_cpu.max_thread_utilization,
            max_open_connections: outcome.max_in_flight as u64,
            connections_closed_by_server: outcome.connections_closed_by_server,
            max_scheduling_delay_ns: outcome.scheduling_delay.max(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Direction, RequestTemplate, Verify};
    use std::io::Write;
    use std::net::TcpListener;

    impl Default for LoadShape {
        fn default() -> Self {
            Self {
                kind: LoadKind::Churn,
                depth: 16,
                message_bytes: 1,
                direction: Direction::Send,
                bytes: 1024 * 1024,
                seed: 1,
                connections: 64,
                idle: 0,
                burst: None,
                burst_pause: Duration::ZERO,
                fragments: 1,
                fragment_pause: Duration::ZERO,
                message: None,
                requests: RequestTemplate::default(),
                verify: Verify::Auto,
                close: CloseBy::Auto,
            }
        }
    }

    fn client(shape: LoadShape) -> LoadClient {
        LoadClient::new(shape).unwrap()
    }

    #[test]
    fn shape_is_described_and_its_parameters_can_be_swept() {
        let client = client(LoadShape { idle: 7, fragments: 3, ..LoadShape::default() });
        let text = client.description().description;
        assert!(text.contains("64 at saturation, 7 more idle, requests in 3 pieces"), "{text}");
        let swept = client.with_parameter("connections", "9").unwrap().unwrap();
        assert!(swept.description().description.contains("9 at saturation, 7 more idle"));
        assert!(client.with_parameter("connections", "many").unwrap().is_err());
        assert!(client.with_parameter("fragments", "5000").unwrap().is_err());
        assert!(client.with_parameter("connections", "0").unwrap().is_err());
        assert!(client.with_parameter("server.backlog", "9").is_none());
    }

    #[test]
    fn each_load_has_its_description_and_settings() {
        let described = |kind| client(LoadShape { kind, ..LoadShape::default() }).description();
        let keep_alive = described(LoadKind::KeepAlive);
        assert_eq!(keep_alive.name, "keep-alive");
        assert_eq!(
            keep_alive.description,
            "64 persistent connections, one request in flight on each"
        );
        assert_eq!(keep_alive.server_settings[0].key, "server.keep_alive");
        assert!(described(LoadKind::Churn).server_settings.is_empty());
        let large = client(LoadShape { kind: LoadKind::Large, ..LoadShape::default() });
        let swept = large.with_parameter("bytes", "70000").unwrap().unwrap();
        let settings = swept.server_settings();
        assert!(settings.contains(&("server.response_body_bytes", "70000".to_owned())));
        assert!(large.with_parameter("depth", "2").unwrap().is_err());
        let pipelined = client(LoadShape { kind: LoadKind::Pipelined, ..LoadShape::default() });
        let deep = pipelined.with_parameter("depth", "3").unwrap().unwrap().description();
        assert!(deep.description.contains("3 requests in flight on each"), "{}", deep.description);
        assert!(pipelined.with_parameter("depth", "0").unwrap().is_err());
        assert!(pipelined.with_parameter("bytes", "1").unwrap().is_err());
        assert!(pipelined.with_parameter("burst", "5").unwrap().is_err());
    }

    #[test]
    fn loads_of_messages_need_an_echo_server() {
        let described = |client: &LoadClient| client.description().description;
        for kind in [LoadKind::Rr, LoadKind::Crr] {
            let client = client(LoadShape { kind, depth: 1, ..LoadShape::default() });
            assert_eq!(client.server_settings(), [("server.protocol", "echo".to_owned())]);
            let swept = client.with_parameter("message_bytes", "8192").unwrap().unwrap();
            assert!(described(&swept).ends_with("messages of 8192 bytes"), "{kind}");
            assert!(client.with_parameter("message_bytes", "0").unwrap().is_err());
            assert!(client.with_parameter("fragments", "2").unwrap().is_err());
            let deep = client.with_parameter("depth", "9").unwrap();
            assert_eq!(deep.is_ok(), kind == LoadKind::Rr);
        }
        let churn = client(LoadShape::default());
        assert!(churn.with_parameter("message_bytes", "2").unwrap().is_err());
    }

    #[test]
    fn streams_need_a_server_for_their_direction() {
        for (direction, protocol, text) in [
            (Direction::Send, "discard", "to the server"),
            (Direction::Recv, "chargen", "from the server"),
            (Direction::Both, "echo", "to the server and back"),
        ] {
            let kind = LoadKind::Stream;
            let client = client(LoadShape { kind, direction, ..LoadShape::default() });
            assert_eq!(client.server_settings(), [("server.protocol", protocol.to_owned())]);
            assert_eq!(client.request.direction(), Some(direction));
            let swept = client.with_parameter("message_bytes", "8192").unwrap().unwrap();
            let description = swept.description();
            assert!(description.description.contains(text), "{}", description.description);
            let value = |key| description.parameters.iter().find(|it| it.key == key).unwrap();
            assert_eq!(value("direction").value, direction.name());
            assert_eq!((&*value("depth").value, &*value("message_bytes").value), ("16", "8192"));
        }
    }

    #[test]
    fn all_responses_of_an_arm_must_equal_its_first() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();

        std::thread::spawn(move || {
            for number in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 256];
                let _ = std::io::Read::read(&mut stream, &mut request);
                // The requests before the load and its first one; all others differ.
                let body = if number < 4 { "one" } else { "two" };
                // The client may have closed its end.
                let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{body}");
            }
        });
        let client = client(LoadShape { connections: 1, ..LoadShape::default() });
        let run = || {
            let duration = Duration::from_millis(100);
            client.run(0, target, LoadModel::ClosedLoop, duration).unwrap()
        };
        let (first, second) = (run(), run());
        assert_eq!(first.requests, 1, "{first:?}");
        assert!(first.failures.wrong_bytes > 0, "{first:?}");
        assert!(first.failures.example.unwrap().contains("wrong bytes"));
        assert_eq!(second.requests, 0, "{second:?}");
        assert!(second.failures.wrong_bytes > 0, "{second:?}");
        assert_eq!(
            client.response_of(0).as_deref(),
            Some("41 bytes, HTTP/1.0 200 OK, closed by the server")
        );
        assert_eq!(client.response_of(1), None);
        assert_eq!(client.fresh_copy().response_of(0), None);
    }
}
