//! A server whose system calls fail, and the invariants that it must keep.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;

use ringpoll_backends::Variant;
use serde_json::Value;

use crate::clients::{ClientOutcomes, Endpoint, StallAction, run_clients};
use crate::expected::{Expected, ExpectedCounters};
use crate::injection::{Fault, Injection, start_server};
use common::{EVENT_TIMEOUT, ServedProtocol, ServerOutput, ServerProcess, wait_until};

/// Enough clients for [`MIN_CALLS`] of each system call of the event loop.
const CLIENTS: usize = 24;
const MIN_CALLS: usize = 20;

/// Idle connections. The server resumes accepting when one of them ends.
const IDLE_CONNECTIONS: usize = 30;

/// Options of a stream: small buffers, so that it takes several receives and sends.
const STREAM_OPTIONS: [&str; 4] =
    ["--set", "server.send_buffer_bytes=16384", "--set", "server.receive_buffer_bytes=1024"];

/// Upper bound of the system calls of one connection, which a busy loop exceeds.
const MAX_CALLS_PER_CONNECTION: u64 = 50;

/// Upper bound of the ticks while one error is injected, with four system calls each.
const MAX_TICKS: u64 = 2 * EVENT_TIMEOUT.as_secs();

/// The tracer, and the engine and protocol under test.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) strace: &'a Path,
    pub(crate) variant: Variant,
    pub(crate) protocol: ServedProtocol,
}

pub(crate) struct FaultyServer<'a> {
    subject: Subject<'a>,
    server: ServerProcess,
    injections: u64,
    faults: usize,
    served: usize,
    counters: ExpectedCounters,
}

impl<'a> FaultyServer<'a> {
    pub(crate) fn start(subject: Subject<'a>, arguments: &[&str]) -> Self {
        let engine = ["--backend", subject.variant.name(), "--protocol", subject.protocol.key()];
        let options = if subject.protocol.is_stream() { &STREAM_OPTIONS[..] } else { &[] };
        let server = start_server(&[&engine[..], options, arguments].concat());
        let is_epoll = |link: &String| link.contains("[eventpoll]");
        // The last descriptor that the server opens before it serves.
        wait_until("the event loop begins", || server.descriptors().values().any(is_epoll));
        let counters = ExpectedCounters::default();
        Self { subject, server, injections: 0, faults: 0, served: 0, counters }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.server.address, protocol: self.subject.protocol }
    }

    /// Injects `faults` errors while clients connect. Only the clients of the failed calls may be
    /// lost; all others receive everything, and no descriptor leaks.
    pub(crate) fn inject(&mut self, fault: &Fault, faults: usize) {
        let Subject { strace, variant, protocol } = self.subject;
        let context = format!("{variant} {protocol:?} {fault:?}");
        let open_before = self.open_descriptors();
        let mut idle = self.connect_idle(fault);
        let injection = Injection::attach(strace, &self.server, fault);
        let outcomes = self.run_clients(fault, &injection, &mut idle);
        let calls = injection.detach();

        let (port, is_served) = self.endpoint().exchange();
        assert!(is_served, "{context}: a client after the faults is lost");
        drop(idle);

        let mut expected = Expected::of(&calls, variant, protocol);
        assert_eq!(expected.faults, faults, "{context}");
        let lost: BTreeSet<_> = outcomes.lost.into_iter().collect();
        let needless: Vec<_> = lost.iter().filter(|it| !expected.may_lose(**it)).collect();
        assert!(needless.is_empty(), "{context}: lost without a fault: {needless:?}");
        let ignored: Vec<_> = expected.lost.difference(&lost).collect();
        assert!(ignored.is_empty(), "{context}: served after a fatal error: {ignored:?}");
        assert!(expected.unread.is_empty(), "{context}: not received: {:?}", expected.unread);
        expected.left_open.extend(&open_before);
        wait_until("all descriptors are closed", || self.open_descriptors() == expected.left_open);

        self.injections += 1;
        self.faults += faults;
        self.served += outcomes.served + 1;
        self.counters += expected.counters;
        self.counters += ExpectedCounters::of_exchange(protocol, port);
    }

    fn connect_idle(&self, fault: &Fault) -> Vec<TcpStream> {
        if fault.calls != "accept4" {
            return Vec::new();
        }
        let open_before = self.open_descriptors().len();
        let connect = |_| TcpStream::connect(self.server.address).expect("it listens");
        let idle: Vec<_> = (0..IDLE_CONNECTIONS).map(connect).collect();
        wait_until("all connections are accepted", || {
            self.open_descriptors().len() == open_before + IDLE_CONNECTIONS
        });
        idle
    }

    fn run_clients(
        &self,
        fault: &Fault,
        injection: &Injection,
        idle: &mut Vec<TcpStream>,
    ) -> ClientOutcomes {
        let is_false_eagain = fault.error == "EAGAIN";
        let on_stall = || match fault.calls {
            // Edge-triggered epoll reports the accept queue again only for a new connection.
            "accept4" if is_false_eagain => StallAction::ConnectAnother,
            "accept4" => {
                idle.pop();
                StallAction::Wait
            }
            _ => StallAction::Wait,
        };
        // Clients that wait for a deadline wait together.
        let concurrent = if is_false_eagain || fault.calls == "shutdown" { CLIENTS } else { 4 };
        let mut outcomes = run_clients(self.endpoint(), CLIENTS, concurrent, on_stall);
        let count = || injection.calls().iter().filter(|call| call.name == fault.calls).count();
        while count() < MIN_CALLS {
            outcomes.merge(run_clients(self.endpoint(), 1, 1, || StallAction::Wait));
        }
        outcomes
    }

    fn open_descriptors(&self) -> BTreeSet<i32> {
        self.server.descriptors().into_keys().collect()
    }

    /// Stops the server, compares its counters with the expected ones and returns the number of
    /// injected errors.
    pub(crate) fn finish(self) -> usize {
        let context = format!("{:?} {:?}", self.subject.protocol, self.server.start_line);
        let ended = self.server.stop_and_wait();
        assert_ended_well(&ended);
        let total = &ended.report()["total"];
        let count = |name: &str| count(total, name);
        let counted = ExpectedCounters {
            accept_errors: count("accept_errors"),
            connection_errors: count("connection_errors"),
            received_bytes: count("received_bytes"),
            sent_bytes: count("sent_bytes"),
        };
        let mut expected = self.counters;
        if self.subject.protocol.is_endless() {
            // The clients close first, which is an error of the next send, and more is sent than
            // they receive. After a false EAGAIN no send may follow, so that a deadline passes.
            let ended = counted.connection_errors + count("expired_sending");
            assert_eq!(ended, count("accepted"), "{context}");
            expected.connection_errors = expected.connection_errors.max(counted.connection_errors);
            expected.sent_bytes = expected.sent_bytes.max(counted.sent_bytes);
        }
        assert_eq!(counted, expected, "{context}");
        if !self.subject.protocol.is_stream() {
            assert_eq!(total["responses"], self.served, "{context}");
        }
        let system_calls = total["system_calls"].as_object().expect("an object");
        let system_calls: u64 = system_calls.values().filter_map(Value::as_u64).sum();
        let max = count("accepted") * MAX_CALLS_PER_CONNECTION
            + 2 * self.faults as u64
            + 4 * MAX_TICKS * self.injections;
        assert!(system_calls <= max, "{context}: {system_calls} system calls, at most {max}");
        self.faults
    }
}

fn count(total: &Value, name: &str) -> u64 {
    total[name].as_u64().unwrap_or_else(|| panic!("no count {name}"))
}

/// Asserts that the server stopped as requested and closed every connection.
pub(crate) fn assert_ended_well(ended: &ServerOutput) {
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let total = &ended.report()["total"];
    assert_eq!(total["accepted"], total["closed"]);
}
