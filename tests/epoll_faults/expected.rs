//! The outcome that a trace of system calls, some of them failed by strace, must lead to.

use std::collections::{BTreeSet, HashMap};
use std::ops::AddAssign;

use ringpoll_backends::Variant;

use common::ServedProtocol;
use common::strace::Call;

/// The state of a connection, derived from the trace.
struct Connection {
    /// The port of the client.
    port: u16,
    received_bytes: usize,
    sent_bytes: usize,
    /// True if a fault can cost the client a part of its exchange.
    has_fault: bool,
}

/// The outcome that follows from the trace.
pub(crate) struct Expected {
    variant: Variant,
    protocol: ServedProtocol,
    connections: HashMap<i32, Connection>,
    /// The number of injected errors.
    pub(crate) faults: usize,
    /// The ports of the clients that cannot have received everything.
    pub(crate) lost: BTreeSet<u16>,
    /// The ports of other clients whose exchange may have been cut.
    pub(crate) may_be_lost: BTreeSet<u16>,
    /// The ports of clients without a fault whose bytes were not all received.
    pub(crate) unread: BTreeSet<u16>,
    /// Descriptors that the server closed but the kernel did not: strace does not execute a call
    /// that it fails.
    pub(crate) left_open: BTreeSet<i32>,
    /// The server's counters of these names.
    pub(crate) counters: ExpectedCounters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpectedCounters {
    pub(crate) accept_errors: u64,
    pub(crate) connection_errors: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl ExpectedCounters {
    /// Returns the counters of one client without a fault.
    pub(crate) fn of_exchange(protocol: ServedProtocol, port: u16) -> Self {
        let request = protocol.request(port);
        Self {
            received_bytes: request.iter().map(Vec::len).sum::<usize>() as u64,
            sent_bytes: protocol.expected(&request).len() as u64,
            ..Self::default()
        }
    }
}

impl AddAssign for ExpectedCounters {
    fn add_assign(&mut self, other: Self) {
        self.accept_errors += other.accept_errors;
        self.connection_errors += other.connection_errors;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
    }
}

impl Expected {
    /// Returns whether a fault may have cut the exchange of the client at this port.
    pub(crate) fn may_lose(&self, port: u16) -> bool {
        self.lost.contains(&port) || self.may_be_lost.contains(&port)
    }

    pub(crate) fn of(calls: &[Call], variant: Variant, protocol: ServedProtocol) -> Self {
        let mut expected = Self {
            variant,
            protocol,
            connections: HashMap::new(),
            faults: 0,
            lost: BTreeSet::new(),
            may_be_lost: BTreeSet::new(),
            unread: BTreeSet::new(),
            left_open: BTreeSet::new(),
            counters: ExpectedCounters::default(),
        };
        for call in calls {
            if call.is_injected() {
                expected.faults += 1;
                expected.add_fault(call);
            } else if let Some(returned) = call.returned().filter(|&it| it >= 0) {
                expected.track(call, returned as usize);
            }
        }
        for connection in std::mem::take(&mut expected.connections).into_values() {
            expected.end(&connection);
        }
        expected
    }

    fn add_fault(&mut self, call: &Call) {
        let error = call.error().expect("a fault is an error");
        let connection = connection_descriptor(call).and_then(|it| self.connections.get_mut(&it));
        match (call.name.as_str(), error) {
            ("accept4", "EAGAIN" | "EINTR") => {}
            ("accept4", _) => self.counters.accept_errors += 1,
            ("close", _) => self.left_open.extend(call.descriptor()),
            ("recvfrom" | "sendto", "EINTR") => {}
            ("recvfrom" | "sendto", "EAGAIN") => {
                // A false EAGAIN: the socket is readable or writable. Level-triggered epoll
                // reports that again, edge-triggered epoll only if more arrives.
                let Some(connection) = connection.filter(|_| self.variant != Variant::EpollLevel)
                else {
                    return;
                };
                if self.protocol.is_stream() {
                    connection.has_fault = true;
                    self.may_be_lost.insert(connection.port);
                } else if !(call.name == "recvfrom" && connection.received_bytes > 0) {
                    self.lose(call);
                }
            }
            ("epoll_ctl", _) if call.argument(1) == "EPOLL_CTL_DEL" => {}
            ("recvfrom" | "sendto" | "epoll_ctl", _) => {
                self.counters.connection_errors += u64::from(connection.is_some());
                self.lose(call);
            }
            // Neither costs a client its response.
            ("shutdown" | "epoll_wait", _) => {}
            _ => panic!("not a system call of the event loop: {call:?}"),
        }
    }

    /// Counts the client as lost unless everything was sent to it. A client of discard, to which
    /// nothing is sent, need not notice.
    fn lose(&mut self, call: &Call) {
        let Some(connection) =
            connection_descriptor(call).and_then(|it| self.connections.get_mut(&it))
        else {
            return;
        };
        connection.has_fault = true;
        let expected = self.protocol.expected(&self.protocol.request(connection.port)).len();
        if connection.sent_bytes < expected {
            self.lost.insert(connection.port);
        } else if self.protocol == ServedProtocol::Discard {
            self.may_be_lost.insert(connection.port);
        }
    }

    fn track(&mut self, call: &Call, returned: usize) {
        let descriptor = connection_descriptor(call);
        match call.name.as_str() {
            "accept4" => {
                let port = call.arguments.split_once("sin_port=htons(").expect("an IPv4 address").1;
                let port = port.split(')').next().and_then(|port| port.parse().ok());
                let port = port.expect("a port");
                let connection =
                    Connection { port, received_bytes: 0, sent_bytes: 0, has_fault: false };
                self.connections.insert(returned as i32, connection);
            }
            "close" => {
                if let Some(connection) = descriptor.and_then(|it| self.connections.remove(&it)) {
                    self.end(&connection);
                }
            }
            name => {
                let Some(connection) = descriptor.and_then(|it| self.connections.get_mut(&it))
                else {
                    return;
                };
                connection.received_bytes += if name == "recvfrom" { returned } else { 0 };
                connection.sent_bytes += if name == "sendto" { returned } else { 0 };
            }
        }
    }

    fn end(&mut self, connection: &Connection) {
        self.counters.received_bytes += connection.received_bytes as u64;
        self.counters.sent_bytes += connection.sent_bytes as u64;
        let request_bytes: usize =
            self.protocol.request(connection.port).iter().map(Vec::len).sum();
        if connection.received_bytes < request_bytes && !connection.has_fault {
            self.unread.insert(connection.port);
        }
    }
}

/// Returns the descriptor of the connection that a call operates on.
fn connection_descriptor(call: &Call) -> Option<i32> {
    let index = if call.name == "epoll_ctl" { 2 } else { 0 };
    call.argument(index).parse().ok()
}
