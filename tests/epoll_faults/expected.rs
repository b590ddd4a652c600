//! What a list of calls, some of which were made to fail, must have led to.

use std::collections::{BTreeSet, HashMap};

use ringpoll_backends::Variant;

use crate::common::RESPONSE;
use crate::strace::Call;

/// A connection as the calls show it.
struct Connection {
    /// The client's.
    port: u16,
    /// Whether any of the request has come.
    is_heard: bool,
    sent_bytes: usize,
    is_lost: bool,
}

/// What follows from the calls.
#[derive(Default)]
pub(crate) struct Expected {
    /// How many calls were made to fail.
    pub(crate) faults: usize,
    /// The ports, in order, of the clients that cannot have been answered.
    pub(crate) lost: Vec<u16>,
    /// Descriptors that the server has closed and the kernel has not: strace does not let it see
    /// a call that is made to fail.
    pub(crate) left_open: BTreeSet<i32>,
    /// What the server must have counted.
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
                follow(call, &mut connections);
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
        let connection = concerned(call).and_then(|descriptor| connections.get_mut(&descriptor));
        match (call.name.as_str(), error) {
            ("accept4", "EAGAIN" | "EINTR") => {}
            ("accept4", _) => self.accept_errors += 1,
            ("close", _) => self.left_open.extend(call.descriptor()),
            ("recvfrom" | "sendto", "EINTR") => {}
            ("recvfrom" | "sendto", "EAGAIN") => {
                // It is untrue, since there is something to be received, or room for what is to
                // be sent. Level triggered epoll says so again; edge triggered, it does not.
                if let Some(connection) = connection
                    && variant == Variant::EpollEdge
                    && !(call.name == "recvfrom" && connection.is_heard)
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
            // Whether the end of the stream can be told, and how a wait ends, changes nothing.
            ("shutdown" | "epoll_wait", _) => {}
            _ => panic!("not a call of the loop: {call:?}"),
        }
    }

    /// Whoever has its answer has lost nothing.
    fn lose(&mut self, connection: &mut Connection) {
        if connection.sent_bytes < RESPONSE.len() && !connection.is_lost {
            connection.is_lost = true;
            self.lost.push(connection.port);
            self.lost.sort_unstable();
        }
    }
}

/// The descriptor of the connection that a call is about.
fn concerned(call: &Call) -> Option<i32> {
    let index = if call.name == "epoll_ctl" { 2 } else { 0 };
    call.argument(index).parse().ok()
}

fn follow(call: &Call, connections: &mut HashMap<i32, Connection>) {
    let returned = call.returned().expect("it succeeded");
    let descriptor = concerned(call);
    match call.name.as_str() {
        "accept4" => {
            let port = call.arguments.split_once("sin_port=htons(").expect("an IPv4 address").1;
            let port = port.split(')').next().and_then(|port| port.parse().ok());
            let port = port.expect("a port");
            let connection = Connection { port, is_heard: false, sent_bytes: 0, is_lost: false };
            connections.insert(returned as i32, connection);
        }
        "close" => {
            descriptor.map(|descriptor| connections.remove(&descriptor));
        }
        name => {
            if let Some(connection) = descriptor.and_then(|it| connections.get_mut(&it)) {
                connection.is_heard |= name == "recvfrom" && returned > 0;
                connection.sent_bytes += if name == "sendto" { returned as usize } else { 0 };
            }
        }
    }
}
