//! A server on a faulty ring, ordinary clients, and what must hold afterwards.

use std::fs;
use std::io::{Read, Write};
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::backend::{Closing, EngineOptions, KeepAlive, Limits, Report, Variant, Worker, open};
use crate::counters::SystemCall;
use crate::deadlines::DeadlineLengths;
use crate::error::BackendError;
use crate::io_uring::faults::plan::{Accounts, Plan, set_plan, take_accounts};
use crate::replies::Replies;
use crate::server::TICK;
use crate::stop::Stop;

/// Long enough that whoever waits for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than any case takes.
const TICKS: u64 = 2 * PATIENCE.as_secs();

const ROUNDS: usize = 6;
const AT_ONCE: usize = 4;

const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
/// The same where connections persist, to whoever wants no more.
const LAST_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world!";

#[derive(Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) variant: Variant,
    pub(super) plan: Plan,
    pub(super) options: EngineOptions,
    pub(super) closing: Closing,
    pub(super) deadlines: DeadlineLengths,
    /// How many clients may go without their whole answer.
    pub(super) may_fail: usize,
    pub(super) drain_timeout: Duration,
    /// How many clients have said half of what they want when the stop comes, and wait for the end.
    pub(super) halves: usize,
    /// How many of them the kernel will not let go of.
    pub(super) kept: usize,
    /// How many clients come first, say nothing, and wait until they are put out.
    pub(super) silent: usize,
    /// Whether connections persist: then a receive may bring all that comes on one.
    pub(super) keep_alive: bool,
}

impl Case {
    pub(super) fn new(name: String, plan: Plan) -> Self {
        Self {
            name,
            variant: Variant::IoUringSingleShot,
            plan,
            options: EngineOptions { submission_queue_entries: 8, ..EngineOptions::default() },
            closing: Closing::AtOnce,
            deadlines: DeadlineLengths::NONE,
            may_fail: 0,
            drain_timeout: Duration::from_secs(10),
            halves: 0,
            kept: 0,
            silent: 0,
            keep_alive: false,
        }
    }

    /// What a client must get: here it asks once, and for the close too.
    fn answer(&self) -> &'static [u8] {
        if self.keep_alive { LAST_RESPONSE } else { RESPONSE }
    }
}

/// What all cases did together.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) cases: u64,
    pub(super) injected: u64,
    pub(super) clients: u64,
    pub(super) unanswered: u64,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.injected += other.injected;
        self.clients += other.clients;
        self.unanswered += other.unanswered;
    }
}

/// A server on a faulty ring, on a thread of its own.
struct Running {
    address: SocketAddr,
    stop: Stop,
    ends: mpsc::Receiver<(Result<Report, BackendError>, Accounts)>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// Its stop was requested: how it has ended.
    fn ended(self, name: &str) -> (Report, Accounts) {
        let Ok((result, accounts)) = self.ends.recv_timeout(PATIENCE) else {
            panic!("{name}: the server does not end, or has panicked");
        };
        self.thread.join().unwrap();
        let report = result.unwrap_or_else(|error| panic!("{name}: the server ended: {error}"));
        (report, accounts)
    }
}

fn start(case: &Case) -> Running {
    let listener = TcpListener::bind((address_of_its_own(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Stop::new().unwrap();
    let mut worker = Worker::new(listener, stop.clone(), RESPONSE);
    worker.closing = case.closing;
    worker.deadlines = case.deadlines;
    worker.drain_timeout = case.drain_timeout;
    worker.limits = Limits { connections: 16, ..Limits::default() };
    if case.keep_alive {
        let replies = Replies::new(worker.response.clone()).unwrap();
        worker.keep_alive = Some(KeepAlive::new(replies.into()));
    }
    let (plan, options, variant) = (case.plan.clone(), case.options.clone(), case.variant);
    let (sender, ends) = mpsc::channel();
    let thread = thread::spawn(move || {
        set_plan(plan);
        let result = open(variant, &options).and_then(|mut it| it.run(worker));
        sender.send((result, take_accounts())).unwrap();
    });
    Running { address, stop, ends, thread }
}

/// Asks when the stop has come, while somebody else keeps the server busy until it has looked for
/// those who are silent.
pub(super) fn ask_at_the_stop(case: &Case) {
    let server = start(case);
    let mut asks = TcpStream::connect(server.address).unwrap();
    let mut goes_on = TcpStream::connect(server.address).unwrap();
    goes_on.set_nodelay(true).unwrap();
    goes_on.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n").unwrap();
    server.stop.request();
    asks.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let stopped = Instant::now();
    while stopped.elapsed() < 3 * TICK {
        goes_on.write_all(b"a").unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    drop(goes_on);
    asks.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    asks.read_to_end(&mut answer).expect("it comes to an end");
    assert_eq!(answer.escape_ascii().to_string(), LAST_RESPONSE.escape_ascii().to_string());
    let (Report { counters, .. }, accounts) = server.ended(&case.name);
    assert_eq!((counters.accepted, counters.cut_off), (2, 0), "{counters:?}");
    assert_eq!((accounts.injected, accounts.operations_left), (1, 0));
}

/// Runs a case to its end.
pub(super) fn run(case: &Case) -> Totals {
    let server = start(case);
    let address = server.address;
    wait_to_be_put_out(address, case);
    let mut unanswered = 0;
    for _ in 0..ROUNDS {
        unanswered += round(address, AT_ONCE, case);
    }
    let name = &case.name;
    assert!(is_served_in_the_end(address, case), "{name}: a client after the fault is not served");
    let halves = ask_by_half(address, case);
    server.stop.request();
    let (report, accounts) = server.ended(name);
    drop(halves);
    balance(case, &report, accounts, address);
    // Where there is a deadline, a slow machine puts out some of those who say something as well.
    let expired = report.counters.expired_receiving as usize - case.silent;
    let may_fail = case.may_fail + expired;
    assert!(unanswered <= may_fail, "{name}: {unanswered} clients without their answer");
    Totals {
        cases: 1,
        injected: accounts.injected,
        clients: report.counters.accepted,
        unanswered: unanswered as u64,
    }
}

/// One more client; where there is a deadline, one that a slow machine does not put out.
fn is_served_in_the_end(address: SocketAddr, case: &Case) -> bool {
    let patience = Instant::now() + PATIENCE;
    loop {
        let is_served = round(address, 1, case) == 0;
        if is_served || case.deadlines.idle.is_zero() || Instant::now() >= patience {
            return is_served;
        }
    }
}

/// So many clients side by side, each with its request in two pieces; how many of them did not
/// get the whole of their answer and its end.
fn round(address: SocketAddr, clients: usize, case: &Case) -> usize {
    let mut streams: Vec<_> = (0..clients)
        .map(|_| {
            let stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
        .collect();
    for piece in [&b"GET / HTTP/1.0\r\n"[..], b"\r\n"] {
        for stream in &mut streams {
            // Where the server has closed already, reading will tell.
            let _ = stream.write_all(piece);
        }
    }
    streams.into_iter().filter_map(|it| ended_without_answer(it, case).then_some(())).count()
}

fn ended_without_answer(mut stream: TcpStream, case: &Case) -> bool {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer != case.answer(),
        Err(error) => {
            let late = matches!(error.raw_os_error(), Some(libc::EAGAIN));
            assert!(!late, "{}: a client was neither answered nor put out", case.name);
            true
        }
    }
}

fn wait_to_be_put_out(address: SocketAddr, case: &Case) {
    let silent: Vec<_> = (0..case.silent).map(|_| TcpStream::connect(address).unwrap()).collect();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let ended = stream.read(&mut [0]);
        assert!(
            !ended.is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)),
            "{}: a silent client is held for ever",
            case.name
        );
    }
}

/// Those whom the stop will meet in the middle of their requests; the server has their first half
/// when the last of them, who asks for no more than that, is answered.
fn ask_by_half(address: SocketAddr, case: &Case) -> Vec<TcpStream> {
    let halves = (0..case.halves).map(|_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n").unwrap();
        stream
    });
    let halves = halves.collect();
    assert!(is_served_in_the_end(address, case), "{}: who asks in full is not served", case.name);
    if case.kept > 0 {
        wait_for_the_close_of_all_others(address, case);
    }
    halves
}

/// Who has the answer may be ahead of the server, which still has its steps to take; where
/// cancels are counted, one of those must not be among them.
fn wait_for_the_close_of_all_others(address: SocketAddr, case: &Case) {
    let patience = Instant::now() + PATIENCE;
    let listener_and_halves = 1 + case.halves;
    while descriptors_at(address).len() > listener_and_halves {
        assert!(Instant::now() < patience, "{}: the answered are not closed", case.name);
        thread::sleep(Duration::from_millis(1));
    }
}

fn balance(case: &Case, report: &Report, accounts: Accounts, address: SocketAddr) {
    let (name, counters) = (&case.name, &report.counters);
    let kept = case.kept as u64;
    assert_eq!(counters.accepted, counters.closed + kept, "{name}: a slot was not given back");
    assert_eq!(counters.not_given_back, kept, "{name}");
    assert_eq!((accounts.rings, accounts.slabs), (1, 1), "{name}: a ring or slab was not dropped");
    assert_eq!(accounts.operations_left, case.kept, "{name}: operations left in flight");
    assert_eq!(accounts.buffers_left, case.kept, "{name}: buffers left with the kernel");
    let calls = counters.system_calls.of(SystemCall::Shutdown);
    assert!(calls > 0 || case.plan.missing.is_empty(), "{name}: nobody was shut down by a call");
    assert!(accounts.injected > 0, "{name}: nothing went wrong: the case shows nothing");
    // A spin would be events without end, or waits that bring none. A few of these there are: in
    // an emulated 5.10 on a busy machine more than there were events. A spin makes thousands.
    let most = counters.accepted * 9 + 2 * accounts.injected + 2 * TICKS;
    assert!(counters.events <= most, "{name}: {} events, {most} expected", counters.events);
    let most = 4 * most;
    assert!(counters.waits <= most, "{name}: {} waits, {most} expected", counters.waits);
    let left = descriptors_at(address);
    assert!(left.is_empty(), "{name}: descriptors left open: {left:?}");
}

/// A loopback address that no other case has: a port that is free again is soon another's.
fn address_of_its_own() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number)
}

/// The descriptors of this process whose own end is at that address.
fn descriptors_at(address: SocketAddr) -> Vec<i32> {
    let is_there = |&fd: &i32| {
        // SAFETY: all-zero bytes are a valid sockaddr_in.
        let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in>() as u32;
        // SAFETY: both pointers live through the call, and the length says how much room there is.
        let result = unsafe { libc::getsockname(fd, (&raw mut name).cast(), &raw mut length) };
        let own = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        result == 0 && i32::from(name.sin_family) == libc::AF_INET && own == address.ip()
    };
    descriptors().into_iter().map(|(fd, _)| fd).filter(is_there).collect()
}

/// All descriptors of this process, and what they are.
pub(super) fn descriptors() -> Vec<(i32, String)> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let fd = entry.file_name().into_string().unwrap().parse().unwrap();
            // The descriptor of the listing itself is gone by now, and so may be another's.
            Some((fd, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    all.retain(|(_, what)| !what.ends_with("/fd"));
    all.sort();
    all
}
