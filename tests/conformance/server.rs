//! The server of one test, in this process or in its own, and what has to hold when it is over:
//! no descriptor and no slot is left behind, and nothing has run in circles.

use std::cell::Cell;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Step;
use rustix::process::Signal;

use crate::accounts::{Accounts, Totals};
use crate::arm::{Arm, Placement};
use crate::common::{
    Client, Descriptors, Exchange, HeldLoop, REQUEST, Served, ServerProcess, StepWatch,
    connections_held, response, wait_until,
};
use crate::settings::Settings;
use crate::tally;

/// How long a test watches that nothing goes round in circles.
const QUIET: Duration = Duration::from_secs(3);

/// How long a server in another process has to read a piece before the next one follows. Where it
/// is too short two pieces become one, and a case is weaker; no outcome depends on it.
const PAUSE: Duration = Duration::from_millis(1);

/// A connection's life is five steps; some come in two.
const WAITS_EACH_CONNECTION: u64 = 10;

/// Whoever sends without being asked fills this much of a receive at the least.
const FLOODED_BYTES_EACH_WAIT: u64 = 512;

/// Starting, stopping, and being held.
const WAITS_BESIDE: u64 = 40;

enum Process {
    This { served: Served, watch: StepWatch },
    Own { process: ServerProcess, before: Descriptors },
}

pub(crate) struct Server {
    pub(crate) arm: Arm,
    pub(crate) address: SocketAddr,
    process: Process,
    response: Vec<u8>,
    /// Connections persist, unless they are asked not to.
    keep_alive: bool,
    started: Instant,
    /// What was sent to it, each piece of which may wake it.
    pieces: Cell<u64>,
    /// What the test did for its own sake.
    own: Cell<Accounts>,
}

impl Server {
    pub(crate) fn start(arm: Arm) -> Self {
        Self::with_settings(arm, &Settings::default())
    }

    pub(crate) fn with_settings(arm: Arm, settings: &Settings) -> Self {
        let (address, process) = match arm.placement {
            Placement::InProcess => {
                let watch = StepWatch::default();
                let (listen, engine) = (settings.listen_options(), arm.engine_options());
                let served = Served::with_options(arm.variant, &listen, engine, |worker| {
                    settings.configure(worker, arm.closing);
                    worker.send_more &= !arm.leaves_the_end_to_the_close();
                    worker.recorder = Some(watch.recorder());
                });
                (served.address, Process::This { served, watch })
            }
            Placement::Binary => {
                let process = ServerProcess::start(&settings.arguments(arm));
                let before = Descriptors::new();
                (process.address, Process::Own { process, before })
            }
        };
        let mut server = Self {
            arm,
            address,
            process,
            response: whole_response(settings),
            keep_alive: settings.keep_alive,
            started: Instant::now(),
            pieces: Cell::new(0),
            own: Cell::default(),
        };
        server.warm_up();
        server
    }

    /// One request. After it everything is open that will stay open.
    fn warm_up(&mut self) {
        let at_the_start = match &self.process {
            Process::This { .. } => Descriptors::new(),
            Process::Own { process, .. } => process.descriptors(),
        };
        assert_eq!(self.request(), Exchange::finished(&self.response));
        self.add_own(Accounts::answered(1));
        if let Process::Own { process, before } = &mut self.process {
            wait_until("the first connection is closed", || {
                *before = process.descriptors();
                sockets(before) == sockets(&at_the_start)
            });
        }
    }

    /// One request, and everything that answers it.
    fn request(&self) -> Exchange {
        let mut client = self.connect();
        let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.send(if self.keep_alive { last } else { REQUEST });
        client.read_to_end()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// A client that has sent these bytes, in one piece.
    pub(crate) fn connect_and_send(&self, bytes: &[u8]) -> Client {
        let mut client = self.connect();
        client.send(bytes);
        self.count_pieces(1);
        client
    }

    pub(crate) fn response(&self) -> &[u8] {
        &self.response
    }

    /// Checks what one client has got.
    #[track_caller]
    pub(crate) fn check(&self, case: &str, got: &Exchange, expected: &Exchange) {
        assert!(got == expected, "{case}:\n     got {got:?}\nexpected {expected:?}");
        tally::count_cases(self.arm.variant, 1);
    }

    /// The same of one that has gone on sending behind its request. Where nobody but the close tells
    /// it that nothing follows, what comes too late to be read and too early for the close makes a
    /// reset of the FIN: then, and only then, the whole answer may end with one.
    #[track_caller]
    pub(crate) fn check_one_that_goes_on(&self, case: &str, got: &Exchange, expected: &Exchange) {
        let may_be_reset = self.arm.leaves_the_end_to_the_close();
        if may_be_reset && *got == Exchange::reset(&expected.bytes) {
            return self.count_case();
        }
        self.check(case, got, expected);
    }

    /// A client whose end nobody can see has been served or given up, as the accounts will show.
    pub(crate) fn count_case(&self) {
        tally::count_cases(self.arm.variant, 1);
    }

    /// Whoever comes now is served.
    pub(crate) fn still_serves(&self) {
        let answer = self.request();
        self.check("another client", &answer, &Exchange::finished(&self.response));
        self.add_own(Accounts::answered(1));
    }

    pub(crate) fn count_pieces(&self, pieces: usize) {
        self.pieces.set(self.pieces.get() + pieces as u64);
    }

    fn add_own(&self, accounts: Accounts) {
        self.own.set(self.own.get().plus(accounts));
    }

    // ── What the server has got to ───────────────────────────────────────────────────────────

    /// How many bytes it has received, where that can be known.
    pub(crate) fn received_bytes(&self) -> usize {
        match &self.process {
            Process::This { watch, .. } => watch.received_bytes(),
            Process::Own { .. } => 0,
        }
    }

    /// Waits until it has received so many bytes in all; where that cannot be known, long enough.
    pub(crate) fn settle(&self, received_bytes: usize) {
        match &self.process {
            Process::This { watch, .. } => watch.wait_until_received(received_bytes),
            Process::Own { .. } => thread::sleep(PAUSE),
        }
    }

    /// Waits until it has so many connections open.
    pub(crate) fn wait_until_open(&self, connections: usize) {
        wait_until(&format!("{connections} connections are open"), || {
            self.open_connections() == connections
        });
    }

    /// Waits until it has finished with everybody, as far as its recorder knows: a ring may have
    /// closed a connection before its server hears of that, or of what came before.
    pub(crate) fn wait_until_it_knows_of_nobody(&self) {
        let Process::This { watch, .. } = &self.process else {
            panic!("only a recorder knows that");
        };
        wait_until("everybody is gone, and it is known", || {
            let history = watch.history();
            let count = |which| history.iter().filter(|(_, step, _)| *step == which).count();
            count(Step::Accepted) == count(Step::Closed)
        });
    }

    fn open_connections(&self) -> usize {
        let (now, before) = match &self.process {
            Process::This { served, .. } if self.arm.has_no_descriptors() => {
                // What the kernel has for it, whatever it is called; and not one is a descriptor.
                assert_eq!(served.open_descriptors(), 1, "sockets beside the listener");
                return connections_held(self.address);
            }
            Process::This { served, .. } => (served.open_descriptors(), 1),
            Process::Own { process, before } => (process.descriptors().len(), before.len()),
        };
        now.saturating_sub(before)
    }

    /// Holds the server: it neither accepts nor reads nor writes until the guard is dropped.
    pub(crate) fn hold(&self) -> Held<'_> {
        match &self.process {
            Process::This { watch, .. } => {
                let held = watch.hold_at(|step| step == Step::Accepted);
                // Somebody has to come, for the loop to stand still in the middle of taking in.
                let visitor = self.connect();
                self.add_own(Accounts { ended_early: 1, ..Accounts::default() });
                held.wait_until_held();
                Held::Loop { _held: held, _visitor: visitor }
            }
            Process::Own { process, .. } => {
                process.signal(Signal::STOP);
                wait_until("the process is stopped", || process.is_held());
                Held::Process(process)
            }
        }
    }

    /// Holds the loop in the middle of the next step for which `at` holds.
    pub(crate) fn hold_at(&self, at: fn(Step) -> bool) -> HeldLoop {
        match &self.process {
            Process::This { watch, .. } => watch.hold_at(at),
            Process::Own { .. } => panic!("only a recorder can hold the loop in a step"),
        }
    }

    // ── The end ──────────────────────────────────────────────────────────────────────────────

    /// Lets the server be, long enough to see in its report if it cannot let itself be.
    pub(crate) fn stays_quiet(&self) {
        thread::sleep(QUIET);
    }

    /// Stops it. All clients must be gone, or about to be closed by the server. `expected` is
    /// what became of those of the scenario.
    #[track_caller]
    pub(crate) fn finish_with(self, expected: Accounts) -> Totals {
        let (arm, expected) = (self.arm, self.own.get().plus(expected));
        let totals = self.finish();
        assert_eq!(totals.accounts(), expected, "{arm}: the accounts");
        totals
    }

    /// The same where chance decides what becomes of them.
    #[track_caller]
    pub(crate) fn finish(self) -> Totals {
        self.wait_until_open(0);
        let (arm, started, pieces) = (self.arm, self.started, self.pieces.get());
        let keep_alive = self.keep_alive;
        let totals = match self.process {
            Process::This { served, .. } => {
                let (report, left_open) = served.stopped();
                assert_eq!(left_open, 0, "sockets left open after the stop");
                if arm.has_no_descriptors() {
                    assert_eq!(connections_held(self.address), 0, "connections left open");
                }
                Totals::from(report.counters)
            }
            Process::Own { process, before } => {
                assert_eq!(process.descriptors(), before, "open descriptors");
                let ended = process.stopped();
                assert!(ended.status.success(), "{}: {:?}", ended.status, ended.stderr);
                Totals::from(&ended.report()["total"])
            }
        };
        assert_eq!(totals.of("closed"), totals.of("accepted"), "a slot is not given back");
        assert_eq!(totals.of("cut_off"), 0, "somebody had to be cut off");
        let most = WAITS_EACH_CONNECTION * totals.of("accepted")
            + 2 * totals.of("short_sends")
            + if keep_alive { WAITS_EACH_CONNECTION * totals.of("answered") } else { 0 }
            + totals.of("received_bytes") / FLOODED_BYTES_EACH_WAIT
            + pieces
            + 2 * started.elapsed().as_secs()
            + WAITS_BESIDE;
        let waits = totals.of("waits");
        assert!(waits <= most, "{arm}: {waits} waits, more than {most}, run in circles");
        let in_vain =
            if arm.asks_epoll_in_vain() { totals.calls_of("epoll_wait") - waits } else { 0 };
        let calls = totals.calls() - in_vain;
        assert!(
            calls <= 4 * most,
            "{arm}: {calls} system calls, for at the most {most} waits: {:?}",
            totals.system_calls
        );
        totals
    }
}

/// The answer to whoever asks once.
fn whole_response(settings: &Settings) -> Vec<u8> {
    let response = response(settings.response_body_bytes);
    if !settings.keep_alive {
        return response;
    }
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 2;
    let version = b"HTTP/1.0".len();
    [b"HTTP/1.1", &response[version..end], b"Connection: close\r\n", &response[end..]].concat()
}

fn sockets(descriptors: &Descriptors) -> usize {
    descriptors.values().filter(|what| what.starts_with("socket:")).count()
}

/// A server that stands still until this is dropped.
pub(crate) enum Held<'server> {
    /// The loop is let go first, its visitor leaves then.
    Loop {
        _held: HeldLoop,
        _visitor: Client,
    },
    Process(&'server ServerProcess),
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Self::Process(process) = self {
            process.signal(Signal::CONT);
        }
    }
}
