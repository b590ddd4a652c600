//! A server whose system calls fail, and what has to be true of it all the same.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;

use ringpoll_backends::Variant;

use crate::common::{Client, Ended, Exchange, RESPONSE, ServerProcess, wait_until};
use crate::crowd::{Remedy, Served, send_crowd};
use crate::expected::Expected;
use crate::injection::{Injection, What, start_server};

/// How many clients are sent, so that each call of the loop is made 20 times at the least.
const CLIENTS: usize = 24;
const LEAST_CALLS: usize = 20;

/// Connections that say nothing. When one of them ends, a pause of accepting does.
const HOLDERS: usize = 30;

pub(crate) struct FaultyServer<'a> {
    strace: &'a Path,
    variant: Variant,
    server: ServerProcess,
    faults: usize,
    answered: usize,
    accept_errors: u64,
    connection_errors: u64,
}

impl<'a> FaultyServer<'a> {
    pub(crate) fn start(strace: &'a Path, variant: Variant, arguments: &[&str]) -> Self {
        let server = start_server(&[&["--backend", variant.name()], arguments].concat());
        let is_epoll = |link: &String| link.contains("[eventpoll]");
        // The last thing that it opens before it serves.
        wait_until("the loop begins", || server.descriptors().values().any(is_epoll));
        Self {
            strace,
            variant,
            server,
            faults: 0,
            answered: 0,
            accept_errors: 0,
            connection_errors: 0,
        }
    }

    /// So many calls are made to fail while clients come. Those whose connections are concerned
    /// are lost, all others have their answers, and nothing stays open.
    pub(crate) fn suffer(&mut self, what: &What, faults: usize) {
        let open_before = self.open_descriptors();
        let mut holders = self.hold_connections(what);
        let injection = Injection::attach(self.strace, &self.server, what);
        let served = self.send_clients(what, &injection, &mut holders);
        let calls = injection.detach();

        let fresh = Client::request(self.server.address);
        assert_eq!(fresh, Exchange::finished(RESPONSE), "{} {what:?}", self.variant);
        drop(holders);

        let mut expected = Expected::of(&calls, self.variant);
        assert_eq!(expected.faults, faults, "{} {what:?}", self.variant);
        assert_eq!(served.lost, expected.lost, "{} {what:?}: who was lost", self.variant);
        expected.left_open.extend(&open_before);
        wait_until("all descriptors are closed", || self.open_descriptors() == expected.left_open);

        self.faults += faults;
        self.answered += served.answered + 1;
        self.accept_errors += expected.accept_errors;
        self.connection_errors += expected.connection_errors;
    }

    fn hold_connections(&self, what: &What) -> Vec<TcpStream> {
        if what.calls != "accept4" {
            return Vec::new();
        }
        let open_before = self.open_descriptors().len();
        let connect = |_| TcpStream::connect(self.server.address).expect("it listens");
        let holders: Vec<_> = (0..HOLDERS).map(connect).collect();
        wait_until("all who connect are accepted", || {
            self.open_descriptors().len() == open_before + HOLDERS
        });
        holders
    }

    fn send_clients(
        &self,
        what: &What,
        injection: &Injection,
        holders: &mut Vec<TcpStream>,
    ) -> Served {
        let is_untrue = what.error == "EAGAIN";
        let standstill = || match what.calls {
            // The queue is said to be empty: edge triggered, only a newcomer says otherwise.
            "accept4" if is_untrue => Remedy::OneMore,
            "accept4" => {
                holders.pop();
                Remedy::Wait
            }
            _ => Remedy::Wait,
        };
        // Where deadlines are waited for, all wait together.
        let at_a_time = if is_untrue || what.calls == "shutdown" { CLIENTS } else { 4 };
        let mut served = send_crowd(self.server.address, CLIENTS, at_a_time, standstill);
        let count = || injection.calls().iter().filter(|call| call.name == what.calls).count();
        while count() < LEAST_CALLS {
            served.merge(send_crowd(self.server.address, 1, 1, || Remedy::Wait));
        }
        served
    }

    fn open_descriptors(&self) -> BTreeSet<i32> {
        self.server.descriptors().into_keys().collect()
    }

    /// Stops it, compares what it counted with what must have happened, and says how many calls
    /// were made to fail.
    pub(crate) fn finish(self) -> usize {
        let context = format!("{} {:?}", self.variant, self.server.start_line);
        let ended = self.server.stopped();
        assert_ended_well(&ended);
        let total = &ended.report()["total"];
        assert_eq!(total["answered"], self.answered, "{context}");
        assert_eq!(total["accept_errors"], self.accept_errors, "{context}");
        assert_eq!(total["connection_errors"], self.connection_errors, "{context}");
        self.faults
    }
}

/// By the stop that was asked for, with every connection given back.
pub(crate) fn assert_ended_well(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    let total = &ended.report()["total"];
    assert_eq!(total["accepted"], total["closed"]);
}
