//! The outcome that a trace of system calls, some of them failed by strace, must lead to.

use std::collections::{BTreeSet, HashMap};

use ringpoll_backends::Variant;

use common::RESPONSE;
use common::strace::Call;

/// The state of a connection, derived from the trace.
struct Connection {
    /// The port of the client.
    port: u16,
    /// True after any byte of the request was received.
    has_received: bool,
    sent_bytes: usize,
    is_lost: bool,
}

/// The outcome that follows from the trace.
#[derive(Default)]
pub(crate) struct Expected {
    /// The number of injected errors.
    pub(crate) faults: usize,
    /// The sorted ports of the clients that cannot have received a response.
    pub(crate) lost: Vec<u16>,
    /// Descriptors that the server closed but the kernel did not: strace does not execute a call
    /// that it fails.
    pub(crate) left_open: BTreeSet<i32>,
    /// The server's counters of these names.
    pub(crate) accept_errors: u64,
    pub(crate) connection_errors: u64,
}

impl Expected {
    pub(crate) fn of(calls: &[Call], variant: Variant) -> Self {
        let mut expected = Self::default();
        let mut connections = HashMap::new();
        for call in calls {
            if call.is_injected() {
                expected.faults += 1;
                expected.add_fault(call, variant, &mut connections);
            } else if call.succeeded() {
                track(call, &mut connections);
            }
        }
        expected
    }

    fn add_fault(
        &mut self,
        call: &Call,
        variant: Variant,
        connections: &mut HashMap<i32, Connection>,
    ) {
        let error = call.error().expect("a fault is an error");
        let connection =
            connection_descriptor(call).and_then(|descriptor| connections.get_mut(&descriptor));
        match (call.name.as_str(), error) {
            ("accept4", "EAGAIN" | "EINTR") => {}
            ("accept4", _) => self.accept_errors += 1,
            ("close", _) => self.left_open.extend(call.descriptor()),
            ("recvfrom" | "sendto", "EINTR") => {}
            ("recvfrom" | "sendto", "EAGAIN") => {
                // A false EAGAIN: the socket is readable or writable. Level-triggered epoll
                // reports that again, edge-triggered epoll does not.
                if let Some(connection) = connection
                    && variant == Variant::EpollEdge
                    && !(call.name == "recvfrom" && connection.has_received)
                {
                    self.lose(connection);
                }
            }
            ("epoll_ctl", _) if call.argument(1) == "EPOLL_CTL_DEL" => {}
            ("recvfrom" | "sendto" | "epoll_ctl", _) => {
                if let Some(connection) = connection {
                    self.connection_errors += 1;
                    self.lose(connection);
                }
            }
            // Neither costs a client its response.
            ("shutdown" | "epoll_wait", _) => {}
            _ => panic!("not a system call of the event loop: {call:?}"),
        }
    }

    /// Counts the client as lost unless it has the whole response.
    fn lose(&mut self, connection: &mut Connection) {
        if connection.sent_bytes < RESPONSE.len() && !connection.is_lost {
            connection.is_lost = true;
            self.lost.push(connection.port);
            self.lost.sort_unstable();
        }
    }
}

/// Returns the descriptor of the connection that a call operates on.
fn connection_descriptor(call: &Call) -> Option<i32> {
    let index = if call.name == "epoll_ctl" { 2 } else { 0 };
    call.argument(index).parse().ok()
}

fn track(call: &Call, connections: &mut HashMap<i32, Connection>) {
    let returned = call.returned().expect("it succeeded");
    let descriptor = connection_descriptor(call);
    match call.name.as_str() {
        "accept4" => {
            let port = call.arguments.split_once("sin_port=htons(").expect("an IPv4 address").1;
            let port = port.split(')').next().and_then(|port| port.parse().ok());
            let port = port.expect("a port");
            let connection =
                Connection { port, has_received: false, sent_bytes: 0, is_lost: false };
            connections.insert(returned as i32, connection);
        }
        "close" => {
            descriptor.map(|descriptor| connections.remove(&descriptor));
        }
        name => {
            if let Some(connection) = descriptor.and_then(|it| connections.get_mut(&it)) {
                connection.has_received |= name == "recvfrom" && returned > 0;
                connection.sent_bytes += if name == "sendto" { returned as usize } else { 0 };
            }
        }
    }
}
