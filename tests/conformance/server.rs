//! The server of one test, in this process or as a child process, with the checks at its end: no
//! descriptor and no slot is leaked, and its event loop has not spun.

use std::cell::Cell;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::LifecycleEvent;
use rustix::process::Signal;

use crate::case_counts;
use crate::configuration::{Configuration, ServerLocation};
use crate::outcomes::{Outcomes, Totals};
use crate::settings::{Service, Settings};
use common::{
    Client, Descriptors, LifecycleWatch, PausedLoop, REQUEST, ReceivedStream, ServerProcess,
    ServerThread, response, wait_until,
};

/// Idle time in which a spinning event loop shows in the count of waits.
const IDLE_TIME: Duration = Duration::from_secs(3);

/// Time in which a server in another process should read a piece before the next one is sent. If it
/// is too short, two pieces are read as one; no outcome depends on it.
const READ_PAUSE: Duration = Duration::from_millis(1);

/// A connection has five events, some of which can be split in two.
const WAITS_PER_CONNECTION: u64 = 10;

/// A flooding peer fills at least this much of each receive.
const MIN_FLOOD_BYTES_PER_WAIT: u64 = 512;

/// For start, stop and pauses.
const OTHER_WAITS: u64 = 40;

enum ServerHandle {
    Thread { server: ServerThread, watch: LifecycleWatch },
    Child { process: ServerProcess, before: Descriptors },
}

pub(crate) struct TestServer {
    pub(crate) configuration: Configuration,
    pub(crate) address: SocketAddr,
    handle: ServerHandle,
    response: Vec<u8>,
    service: Service,
    keep_alive: bool,
    started: Instant,
    /// Pieces sent to the server, each of which may wake it.
    pieces: Cell<u64>,
    /// Outcomes of connections that this helper made.
    own_outcomes: Cell<Outcomes>,
}

impl TestServer {
    pub(crate) fn start(configuration: Configuration) -> Self {
        Self::with_settings(configuration, &Settings::default())
    }

    pub(crate) fn with_settings(configuration: Configuration, settings: &Settings) -> Self {
        let (address, process) = match configuration.location {
            ServerLocation::InProcess => {
                let watch = LifecycleWatch::default();
                let (listen, engine) = (settings.listen_options(), configuration.engine_options());
                let server =
                    ServerThread::with_options(configuration.variant, &listen, engine, |worker| {
                        settings.configure(worker, configuration.close_mode);
                        worker.send_more &= !configuration.ends_stream_by_close_only();
                        worker.recorder = Some(watch.recorder());
                    });
                (server.address, ServerHandle::Thread { server, watch })
            }
            ServerLocation::ChildProcess => {
                let process = ServerProcess::start(&settings.arguments(configuration));
                let before = Descriptors::new();
                (process.address, ServerHandle::Child { process, before })
            }
        };
        let mut server = Self {
            configuration,
            address,
            handle: process,
            response: expected_response(settings),
            service: settings.service,
            keep_alive: settings.keep_alive || settings.service != Service::Http,
            started: Instant::now(),
            pieces: Cell::new(0),
            own_outcomes: Cell::default(),
        };
        server.warm_up();
        server
    }

    /// Sends one request, after which every permanent descriptor is open.
    fn warm_up(&mut self) {
        let at_the_start = match &self.handle {
            ServerHandle::Thread { .. } => Descriptors::new(),
            ServerHandle::Child { process, .. } => process.descriptors(),
        };
        if self.service == Service::Chargen {
            let mut client = self.connect();
            client.read(1);
            client.reset();
        } else {
            assert_eq!(self.request(), ReceivedStream::with_fin(&self.response));
            self.add_own_outcomes(Outcomes::responses(1));
        }
        if let ServerHandle::Child { process, before } = &mut self.handle {
            wait_until("the first connection is closed", || {
                *before = process.descriptors();
                sockets(before) == sockets(&at_the_start)
            });
        }
    }

    /// Sends one request on a new connection and receives until the end of the stream.
    fn request(&self) -> ReceivedStream {
        let mut client = self.connect();
        let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        match self.service {
            Service::Http if self.keep_alive => client.send(last),
            Service::Http => client.send(REQUEST),
            _ => {
                client.send(REQUEST);
                client.half_close();
            }
        }
        client.read_to_end()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Returns a client that has sent `bytes` in one piece.
    pub(crate) fn connect_and_send(&self, bytes: &[u8]) -> Client {
        let mut client = self.connect();
        client.send(bytes);
        self.count_pieces(1);
        client
    }

    pub(crate) fn response(&self) -> &[u8] {
        &self.response
    }

    /// Checks the stream that a client received.
    #[track_caller]
    pub(crate) fn check(&self, case: &str, got: &ReceivedStream, expected: &ReceivedStream) {
        assert!(got == expected, "{case}:\n     got {got:?}\nexpected {expected:?}");
        case_counts::count_cases(self.configuration.variant, 1);
    }

    /// Checks the stream of a client that sent bytes after its request. If only the close ends the
    /// server's stream, bytes that arrive between the last receive and the close turn the FIN into
    /// an RST, so the complete response may be followed by one.
    #[track_caller]
    pub(crate) fn check_with_trailing_bytes(
        &self,
        case: &str,
        got: &ReceivedStream,
        expected: &ReceivedStream,
    ) {
        let may_be_reset = self.configuration.ends_stream_by_close_only();
        if may_be_reset && *got == ReceivedStream::with_reset(&expected.bytes) {
            return self.count_case();
        }
        self.check(case, got, expected);
    }

    /// Counts a case without a client that can observe it: the outcomes at the end check it.
    pub(crate) fn count_case(&self) {
        case_counts::count_cases(self.configuration.variant, 1);
    }

    /// Checks that a new connection gets its response.
    pub(crate) fn check_still_serves(&self) {
        let got = self.request();
        self.check("another client", &got, &ReceivedStream::with_fin(&self.response));
        self.add_own_outcomes(Outcomes::responses(1));
    }

    pub(crate) fn count_pieces(&self, pieces: usize) {
        self.pieces.set(self.pieces.get() + pieces as u64);
    }

    fn add_own_outcomes(&self, outcomes: Outcomes) {
        self.own_outcomes.set(self.own_outcomes.get().plus(outcomes));
    }

    /// Returns the bytes received so far; 0 for a child process, which does not show them.
    pub(crate) fn received_bytes(&self) -> usize {
        match &self.handle {
            ServerHandle::Thread { watch, .. } => watch.received_bytes(),
            ServerHandle::Child { .. } => 0,
        }
    }

    /// Waits until the server has received `received_bytes` in total; for a child process, waits a
    /// fixed time.
    pub(crate) fn wait_until_received(&self, received_bytes: usize) {
        match &self.handle {
            ServerHandle::Thread { watch, .. } => watch.wait_until_received(received_bytes),
            ServerHandle::Child { .. } => thread::sleep(READ_PAUSE),
        }
    }

    /// Waits until the server has exactly `connections` open.
    pub(crate) fn wait_until_open(&self, connections: usize) {
        wait_until(&format!("{connections} connections are open"), || {
            self.open_connections() == connections
        });
    }

    /// Waits until the recorder has seen every accepted connection close. A ring can close a
    /// descriptor before its server handles that completion or earlier ones.
    pub(crate) fn wait_until_all_closed(&self) {
        let ServerHandle::Thread { watch, .. } = &self.handle else {
            panic!("needs a recorder");
        };
        wait_until("all connections are closed", || {
            let history = watch.history();
            let count = |which| history.iter().filter(|(_, step, _)| *step == which).count();
            count(LifecycleEvent::Accepted) == count(LifecycleEvent::Closed)
        });
    }

    fn open_connections(&self) -> usize {
        let (now, before) = match &self.handle {
            ServerHandle::Thread { server, .. } => (server.open_descriptors(), 1),
            ServerHandle::Child { process, before } => (process.descriptors().len(), before.len()),
        };
        now.saturating_sub(before)
    }

    /// Pauses the server: it neither accepts, receives nor sends until the guard is dropped.
    pub(crate) fn pause(&self) -> Paused<'_> {
        match &self.handle {
            ServerHandle::Thread { watch, .. } => {
                let paused = watch.pause_at(|step| step == LifecycleEvent::Accepted);
                // The loop pauses inside the accept of this connection.
                let trigger = self.connect();
                self.add_own_outcomes(Outcomes { premature_eof: 1, ..Outcomes::default() });
                paused.wait_until_paused();
                Paused::Loop { _paused: paused, _trigger: trigger }
            }
            ServerHandle::Child { process, .. } => {
                process.signal(Signal::STOP);
                wait_until("the process is stopped", || process.is_suspended());
                Paused::Process(process)
            }
        }
    }

    /// Pauses the event loop inside the next event for which `at` returns true.
    pub(crate) fn pause_at(&self, at: fn(LifecycleEvent) -> bool) -> PausedLoop {
        match &self.handle {
            ServerHandle::Thread { watch, .. } => watch.pause_at(at),
            ServerHandle::Child { .. } => panic!("needs a recorder"),
        }
    }

    /// Waits so long that a spinning event loop exceeds the limit of waits.
    pub(crate) fn stay_idle(&self) {
        thread::sleep(IDLE_TIME);
    }

    /// Stops the server and checks that the scenario's connections had the `expected` outcomes. All
    /// clients must have closed, or be about to be closed by the server.
    #[track_caller]
    pub(crate) fn finish_with(self, expected: Outcomes) -> Totals {
        let (configuration, expected) =
            (self.configuration, self.own_outcomes.get().plus(expected));
        let totals = self.finish();
        assert_eq!(totals.outcomes(), expected, "{configuration}: outcomes");
        totals
    }

    /// Stops the server without checking the outcomes, which are random in some scenarios.
    #[track_caller]
    pub(crate) fn finish(self) -> Totals {
        self.wait_until_open(0);
        let (configuration, started, pieces) =
            (self.configuration, self.started, self.pieces.get());
        let keep_alive = self.keep_alive;
        let totals = match self.handle {
            ServerHandle::Thread { server, .. } => {
                let (report, left_open) = server.stop_and_wait();
                assert_eq!(left_open, 0, "sockets left open after the stop");
                Totals::from(report.counters)
            }
            ServerHandle::Child { process, before } => {
                assert_eq!(process.descriptors(), before, "open descriptors");
                let output = process.stop_and_wait();
                assert!(output.status.success(), "{}: {:?}", output.status, output.stderr);
                Totals::from(&output.report()["total"])
            }
        };
        assert_eq!(totals.count("closed"), totals.count("accepted"), "a slot leaked");
        assert_eq!(totals.count("force_closed"), 0, "connections force-closed by the stop");
        let max = WAITS_PER_CONNECTION * totals.count("accepted")
            + 2 * totals.count("short_sends")
            + if keep_alive { WAITS_PER_CONNECTION * totals.count("responses") } else { 0 }
            + totals.count("received_bytes") / MIN_FLOOD_BYTES_PER_WAIT
            + pieces
            + 2 * started.elapsed().as_secs()
            + OTHER_WAITS;
        let waits = totals.count("waits");
        assert!(
            waits <= max,
            "{configuration}: the event loop spun: {waits} waits, at most {max} expected"
        );
        let busy_polls = if configuration.busy_polls_epoll() {
            totals.count_calls("epoll_wait") - waits
        } else {
            0
        };
        let calls = totals.all_calls() - busy_polls;
        assert!(
            calls <= 4 * max,
            "{configuration}: {calls} system calls for at most {max} waits: {:?}",
            totals.system_calls
        );
        totals
    }
}

/// Returns the response to the only request of a connection.
fn expected_response(settings: &Settings) -> Vec<u8> {
    match settings.service {
        Service::Http => {}
        Service::Echo => return REQUEST.to_vec(),
        Service::Discard | Service::Chargen => return Vec::new(),
    }
    let response = response(settings.response_body_bytes);
    if !settings.keep_alive {
        return response;
    }
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 2;
    let version = b"HTTP/1.0".len();
    [b"HTTP/1.1", &response[version..end], b"Connection: close\r\n", &response[end..]].concat()
}

fn sockets(descriptors: &Descriptors) -> usize {
    descriptors.values().filter(|target| target.starts_with("socket:")).count()
}

/// Guard of a pause: dropping it resumes the server.
pub(crate) enum Paused<'server> {
    /// Fields drop in order: the loop resumes before the connection that paused it closes.
    Loop {
        _paused: PausedLoop,
        _trigger: Client,
    },
    Process(&'server ServerProcess),
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        if let Self::Process(process) = self {
            process.signal(Signal::CONT);
        }
    }
}
