//! Runs a server on a faulty ring with ordinary clients, and checks what it leaves behind.

use std::fs;
use std::io::{Read, Write};
use std::mem::size_of;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::protocols::{Chargen, Discard, Echo, Http10, Http11, Responses};
use ringpoll_backends::testing::open_on;
use ringpoll_backends::{
    Backend, BackendError, Closing, DeadlineLengths, EngineOptions, Limits, Report, Stop,
    SystemCall, Variant, WorkerOptions,
};
use socket2::SockRef;

use crate::faulty_ring::FaultyKernel;
use crate::plan::{Outcome, Plan, set_plan, take_outcome};
use common::{Client, EVENT_TIMEOUT, RESPONSE, ServedProtocol};

/// The server closes idle connections, and those past a deadline, once a tick.
const TICK: Duration = Duration::from_secs(1);

/// Upper bound of the ticks in one case.
const MAX_TICKS: u64 = 2 * EVENT_TIMEOUT.as_secs();

const ROUNDS: usize = 6;
const CONCURRENT_CLIENTS: usize = 4;

/// Clients that send a complete request: the rounds, and one after the fault and one before the
/// stop.
const CLIENTS: usize = ROUNDS * CONCURRENT_CLIENTS + 2;

/// Bounds what the kernel takes from an endless stream.
const SEND_BUFFER_BYTES: usize = 16 << 10;

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) variant: Variant,
    pub(crate) plan: Plan,
    pub(crate) options: EngineOptions,
    pub(crate) closing: Closing,
    pub(crate) deadlines: DeadlineLengths,
    /// Number of clients that may get no complete response or stream.
    pub(crate) may_fail: usize,
    pub(crate) drain_timeout: Duration,
    /// Number of clients that have sent half a request when the stop is requested.
    pub(crate) half_requests: usize,
    /// Number of these whose RECV the kernel does not cancel.
    pub(crate) stuck: usize,
    /// Number of clients that connect first, send nothing, and wait for the idle deadline.
    pub(crate) idle_clients: usize,
    pub(crate) protocol: ServedProtocol,
}

impl Case {
    pub(crate) fn new(name: String, plan: Plan) -> Self {
        Self {
            name,
            variant: Variant::IoUringSingleShot,
            plan,
            options: EngineOptions { submission_queue_entries: 8, ..EngineOptions::default() },
            closing: Closing::AtOnce,
            deadlines: DeadlineLengths::NONE,
            may_fail: 0,
            drain_timeout: Duration::from_secs(10),
            half_requests: 0,
            stuck: 0,
            idle_clients: 0,
            protocol: ServedProtocol::Http10,
        }
    }
}

/// Sums over all cases.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) cases: u64,
    pub(crate) injected: u64,
    pub(crate) clients: u64,
    pub(crate) unserved: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.injected += other.injected;
        self.clients += other.clients;
        self.unserved += other.unserved;
    }
}

/// A server on a faulty ring in its own thread.
struct Running {
    address: SocketAddr,
    stop: Stop,
    result: mpsc::Receiver<(Result<Report, BackendError>, Outcome)>,
    thread: thread::JoinHandle<()>,
}

impl Running {
    /// Waits for the server to end after its stop was requested.
    fn join(self, name: &str) -> (Report, Outcome) {
        let Ok((result, outcome)) = self.result.recv_timeout(EVENT_TIMEOUT) else {
            panic!("{name}: the server did not stop in time, or panicked");
        };
        self.thread.join().unwrap();
        let report = result.unwrap_or_else(|error| panic!("{name}: the server ended: {error}"));
        (report, outcome)
    }
}

fn start(case: &Case) -> Running {
    let listener = TcpListener::bind((unique_address(), 0)).unwrap();
    if case.protocol.is_stream() {
        SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    }
    let address = listener.local_addr().unwrap();
    let stop = Stop::new().unwrap();
    let mut worker = WorkerOptions::new(listener, stop.clone());
    worker.closing = case.closing;
    worker.deadlines = case.deadlines;
    worker.drain_timeout = case.drain_timeout;
    worker.limits = Limits { connections: 16, ..Limits::default() };
    let (plan, options, variant) = (case.plan.clone(), case.options.clone(), case.variant);
    let protocol = case.protocol;
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        set_plan(plan);
        let result = open_on::<FaultyKernel>(variant, &options).and_then(|mut it| match protocol {
            ServedProtocol::Http10 => it.run(worker, Http10::new(RESPONSE)),
            ServedProtocol::Http11 => {
                it.run(worker, Http11::new(Responses::new((*RESPONSE).into()).unwrap()))
            }
            ServedProtocol::Echo => it.run(worker, Echo),
            ServedProtocol::Discard => it.run(worker, Discard),
            ServedProtocol::Chargen => it.run(worker, Chargen::default()),
        });
        sender.send((result, take_outcome())).unwrap();
    });
    Running { address, stop, result: receiver, thread }
}

/// Sends a request after the stop was requested, while another client keeps the server busy until
/// it has half-closed idle connections.
pub(crate) fn request_during_stop(case: &Case) {
    let server = start(case);
    let mut requester = TcpStream::connect(server.address).unwrap();
    let mut uploader = TcpStream::connect(server.address).unwrap();
    uploader.set_nodelay(true).unwrap();
    uploader.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n").unwrap();
    server.stop.request();
    requester.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let stopped = Instant::now();
    while stopped.elapsed() < 3 * TICK {
        uploader.write_all(b"a").unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    drop(uploader);
    requester.set_read_timeout(Some(EVENT_TIMEOUT)).unwrap();
    let mut response = Vec::new();
    requester.read_to_end(&mut response).expect("the server closes the connection");
    let expected = case.protocol.expected(&[]);
    assert_eq!(response.escape_ascii().to_string(), expected.escape_ascii().to_string());
    let (Report { counters, .. }, outcome) = server.join(&case.name);
    assert_eq!((counters.accepted, counters.force_closed), (2, 0), "{counters:?}");
    assert_eq!((outcome.injected, outcome.operations_left), (1, 0));
}

pub(crate) fn run(case: &Case) -> Totals {
    let server = start(case);
    let address = server.address;
    wait_for_idle_closes(address, case);
    let mut unserved = 0;
    for _ in 0..ROUNDS {
        unserved += run_round(address, CONCURRENT_CLIENTS, case);
    }
    let name = &case.name;
    assert!(is_served_eventually(address, case), "{name}: a client after the fault gets nothing");
    let half_requests = send_half_requests(address, case);
    server.stop.request();
    let (report, outcome) = server.join(name);
    drop(half_requests);
    check_outcome(case, &report, outcome, address);
    // On a slow machine clients that do send something may exceed the deadline as well.
    let expired = report.counters.expired_receiving as usize - case.idle_clients;
    let may_fail = case.may_fail + expired;
    assert!(unserved <= may_fail, "{name}: {unserved} clients without a complete response");
    check_bytes(case, &report, CLIENTS - may_fail.min(CLIENTS));
    Totals {
        cases: 1,
        injected: outcome.injected,
        clients: report.counters.accepted,
        unserved: unserved as u64,
    }
}

/// Serves one more client, and retries if the case has a deadline that a slow machine may exceed.
fn is_served_eventually(address: SocketAddr, case: &Case) -> bool {
    let give_up = Instant::now() + EVENT_TIMEOUT;
    loop {
        let is_served = run_round(address, 1, case) == 0;
        if is_served || case.deadlines.idle.is_zero() || Instant::now() >= give_up {
            return is_served;
        }
    }
}

/// Connects the clients at once, each of which sends its request in two pieces. Returns the number
/// of them that did not get the complete response and the end of the stream.
fn run_round(address: SocketAddr, clients: usize, case: &Case) -> usize {
    let connect =
        |client| Some((Client::try_connect(address)?.stream, case.protocol.request(client)));
    let connected: Vec<_> = (0..clients as u16).filter_map(connect).collect();
    for piece in 0..2 {
        for (stream, request) in &connected {
            // If the server has closed already, the read reports it.
            let _ = (&*stream).write_all(&request[piece]);
        }
    }
    if case.protocol.ends_with_the_peer() {
        for (stream, _) in &connected {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }
    let served = connected.iter().filter(|(it, request)| !is_unserved(it, request, case)).count();
    clients - served
}

fn is_unserved(stream: &TcpStream, request: &[Vec<u8>; 2], case: &Case) -> bool {
    let expected = case.protocol.expected(request);
    let limit = if case.protocol.is_endless() { expected.len() as u64 } else { u64::MAX };
    let mut received = Vec::new();
    let result = stream.take(limit).read_to_end(&mut received);
    assert!(expected.starts_with(&received), "{}: a client got other bytes", case.name);
    match result {
        Ok(_) => received != expected,
        Err(error) => {
            let timed_out = matches!(error.raw_os_error(), Some(libc::EAGAIN));
            assert!(!timed_out, "{}: a client got neither a response nor a close", case.name);
            true
        }
    }
}

fn wait_for_idle_closes(address: SocketAddr, case: &Case) {
    let connect = |_| TcpStream::connect(address).unwrap();
    let idle: Vec<_> = (0..case.idle_clients).map(connect).collect();
    for mut stream in idle {
        stream.set_read_timeout(Some(EVENT_TIMEOUT)).unwrap();
        let ended = stream.read(&mut [0]);
        assert!(
            !ended.is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)),
            "{}: an idle client was not closed",
            case.name
        );
    }
}

/// Sends half of a request from each client. The server has received them when a later client is
/// served.
fn send_half_requests(address: SocketAddr, case: &Case) -> Vec<TcpStream> {
    let streams = (0..case.half_requests).map(|_| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n").unwrap();
        stream
    });
    let streams = streams.collect();
    assert!(is_served_eventually(address, case), "{}: a full request is not served", case.name);
    if case.stuck > 0 {
        wait_for_other_closes(address, case);
    }
    streams
}

/// Waits until the server has closed all other connections: a client may see its response before
/// the close. Where cases count cancels, none of theirs must be among them.
fn wait_for_other_closes(address: SocketAddr, case: &Case) {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    let listener_and_half_requests = 1 + case.half_requests;
    while descriptors_at(address).len() > listener_and_half_requests {
        assert!(Instant::now() < deadline, "{}: served connections are not closed", case.name);
        thread::sleep(Duration::from_millis(1));
    }
}

/// The bytes of all clients but those that may have failed were counted, and no byte twice.
fn check_bytes(case: &Case, report: &Report, served: usize) {
    let (name, counters) = (&case.name, &report.counters);
    let (received, sent) = (counters.received_bytes, counters.sent_bytes);
    let request_bytes: usize = case.protocol.request(0).iter().map(Vec::len).sum();
    let min = (served * request_bytes) as u64;
    assert!(received >= min, "{name}: {received} bytes received of at least {min}");
    if case.protocol == ServedProtocol::Echo {
        assert!((min..=received).contains(&sent), "{name}: {sent} bytes sent of {received}");
    }
    if case.protocol.is_stream() && case.half_requests == 0 {
        let max = counters.accepted * request_bytes as u64;
        assert!(received <= max, "{name}: {received} bytes received of at most {max}");
    }
}

fn check_outcome(case: &Case, report: &Report, outcome: Outcome, address: SocketAddr) {
    let (name, counters) = (&case.name, &report.counters);
    let stuck = case.stuck as u64;
    assert_eq!(counters.accepted, counters.closed + stuck, "{name}: a slot was not released");
    assert_eq!(counters.leaked, stuck, "{name}");
    assert_eq!(outcome.rings, 1, "{name}: the ring was not dropped");
    assert_eq!(outcome.operations_left, case.stuck, "{name}: operations left in flight");
    let calls = counters.system_calls.of(SystemCall::Shutdown);
    assert!(calls > 0 || !case.plan.has_no_shutdown, "{name}: shutdown(2) was not called");
    assert!(outcome.injected > 0, "{name}: no fault was injected, so the case shows nothing");
    // A busy loop would make thousands of events, or of waits without one. A few such waits are
    // normal.
    let max_events = if case.protocol.is_stream() { 50 } else { 9 };
    let max = counters.accepted * max_events + 2 * outcome.injected + 2 * MAX_TICKS;
    assert!(counters.events <= max, "{name}: {} events, at most {max} expected", counters.events);
    let max = 4 * max;
    assert!(counters.waits <= max, "{name}: {} waits, at most {max} expected", counters.waits);
    let left = descriptors_at(address);
    assert!(left.is_empty(), "{name}: descriptors left open: {left:?}");
}

/// Returns a loopback address for this case only, since a freed port may be reused soon.
fn unique_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number)
}

/// Returns the descriptors of this process whose local address is this one.
fn descriptors_at(address: SocketAddr) -> Vec<i32> {
    let is_there = |&fd: &i32| {
        // SAFETY: all-zero bytes are a valid sockaddr_in.
        let mut name: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        let mut length = size_of::<libc::sockaddr_in>() as u32;
        // SAFETY: both pointers live through the call, and the length is that of the struct.
        let result = unsafe { libc::getsockname(fd, (&raw mut name).cast(), &raw mut length) };
        let own = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        result == 0 && i32::from(name.sin_family) == libc::AF_INET && own == address.ip()
    };
    descriptors().into_iter().map(|(fd, _)| fd).filter(is_there).collect()
}

/// Returns all descriptors of this process and what they refer to.
pub(crate) fn descriptors() -> Vec<(i32, String)> {
    let mut all: Vec<_> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let fd = entry.file_name().into_string().unwrap().parse().unwrap();
            // The descriptor of the listing itself is closed by now, as others may be.
            Some((fd, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect();
    all.retain(|(_, what)| !what.ends_with("/fd"));
    all.sort();
    all
}
