//! A server whose system calls fail, and the invariants that it must keep.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;

use ringpoll_backends::Variant;

use crate::clients::{ClientOutcomes, StallAction, run_clients};
use crate::expected::Expected;
use crate::injection::{Fault, Injection, start_server};
use common::{Client, RESPONSE, ReceivedStream, ServerOutput, ServerProcess, wait_until};

/// Enough clients for [`MIN_CALLS`] of each system call of the event loop.
const CLIENTS: usize = 24;
const MIN_CALLS: usize = 20;

/// Idle connections. The server resumes accepting when one of them ends.
const IDLE_CONNECTIONS: usize = 30;

pub(crate) struct FaultyServer<'a> {
    strace: &'a Path,
    variant: Variant,
    server: ServerProcess,
    faults: usize,
    responses: usize,
    accept_errors: u64,
    connection_errors: u64,
}

impl<'a> FaultyServer<'a> {
    pub(crate) fn start(strace: &'a Path, variant: Variant, arguments: &[&str]) -> Self {
        let server = start_server(&[&["--backend", variant.name()], arguments].concat());
        let is_epoll = |link: &String| link.contains("[eventpoll]");
        // The last descriptor that the server opens before it serves.
        wait_until("the event loop begins", || server.descriptors().values().any(is_epoll));
        Self {
            strace,
            variant,
            server,
            faults: 0,
            responses: 0,
            accept_errors: 0,
            connection_errors: 0,
        }
    }

    /// Injects `faults` errors while clients connect. Only the clients of the failed calls may be
    /// lost; all others get their responses, and no descriptor leaks.
    pub(crate) fn inject(&mut self, fault: &Fault, faults: usize) {
        let open_before = self.open_descriptors();
        let mut idle = self.connect_idle(fault);
        let injection = Injection::attach(self.strace, &self.server, fault);
        let outcomes = self.run_clients(fault, &injection, &mut idle);
        let calls = injection.detach();

        let fresh = Client::request(self.server.address);
        assert_eq!(fresh, ReceivedStream::with_fin(RESPONSE), "{} {fault:?}", self.variant);
        drop(idle);

        let mut expected = Expected::of(&calls, self.variant);
        assert_eq!(expected.faults, faults, "{} {fault:?}", self.variant);
        assert_eq!(outcomes.lost, expected.lost, "{} {fault:?}: lost clients", self.variant);
        expected.left_open.extend(&open_before);
        wait_until("all descriptors are closed", || self.open_descriptors() == expected.left_open);

        self.faults += faults;
        self.responses += outcomes.responses + 1;
        self.accept_errors += expected.accept_errors;
        self.connection_errors += expected.connection_errors;
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
        let mut outcomes = run_clients(self.server.address, CLIENTS, concurrent, on_stall);
        let count = || injection.calls().iter().filter(|call| call.name == fault.calls).count();
        while count() < MIN_CALLS {
            outcomes.merge(run_clients(self.server.address, 1, 1, || StallAction::Wait));
        }
        outcomes
    }

    fn open_descriptors(&self) -> BTreeSet<i32> {
        self.server.descriptors().into_keys().collect()
    }

    /// Stops the server, compares its counters with the expected ones and returns the number of
    /// injected errors.
    pub(crate) fn finish(self) -> usize {
        let context = format!("{} {:?}", self.variant, self.server.start_line);
        let ended = self.server.stop_and_wait();
        assert_ended_well(&ended);
        let total = &ended.report()["total"];
        assert_eq!(total["responses"], self.responses, "{context}");
        assert_eq!(total["accept_errors"], self.accept_errors, "{context}");
        assert_eq!(total["connection_errors"], self.connection_errors, "{context}");
        self.faults
    }
}

/// Asserts that the server stopped as requested and closed every connection.
pub(crate) fn assert_ended_well(ended: &ServerOutput) {
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let total = &ended.report()["total"];
    assert_eq!(total["accepted"], total["closed"]);
}
