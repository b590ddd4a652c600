//! Concurrent clients with one exchange each.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, EVENT_TIMEOUT, ReceivedStream, ServedProtocol};

/// The address of the clients, a loopback address that nothing else uses.
const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 2, 0, 1);

/// The clients have stalled when none of them finishes for this long.
const STALL_THRESHOLD: Duration = Duration::from_millis(5);

/// Additional clients that may connect to end a stall.
const MAX_EXTRA_CLIENTS: usize = 100;

/// The reaction to a stall.
pub(crate) enum StallAction {
    /// Waits: a deadline of the server ends the stall.
    Wait,
    /// Connects one more client.
    ConnectAnother,
}

/// The outcomes of all clients.
#[derive(Default)]
pub(crate) struct ClientOutcomes {
    /// The number of clients that received everything.
    pub(crate) served: usize,
    /// The sorted ports of the others.
    pub(crate) lost: Vec<u16>,
}

/// The server and protocol of the clients.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) protocol: ServedProtocol,
}

/// Runs `clients` clients, at most `concurrent` at a time, until each has received everything or
/// the end of its connection.
pub(crate) fn run_clients(
    endpoint: Endpoint,
    clients: usize,
    concurrent: usize,
    mut on_stall: impl FnMut() -> StallAction,
) -> ClientOutcomes {
    let (sender, outcomes) = channel();
    let left = AtomicUsize::new(clients);
    let take_one = |left: usize| left.checked_sub(1);
    let mut all = ClientOutcomes::default();
    let (mut expected, mut extra) = (clients, 0);
    thread::scope(|scope| {
        for _ in 0..concurrent {
            let (sender, left) = (sender.clone(), &left);
            scope.spawn(move || {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                    sender.send(endpoint.exchange()).expect("the receiver outlives the clients");
                }
            });
        }
        let deadline = Instant::now() + 2 * EVENT_TIMEOUT;
        while all.served + all.lost.len() < expected {
            match outcomes.recv_timeout(STALL_THRESHOLD) {
                Ok((port, is_served)) => all.add(port, is_served),
                Err(RecvTimeoutError::Disconnected) => unreachable!("`sender` is still open"),
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < deadline, "a client waits without end");
                    let may_add = extra < MAX_EXTRA_CLIENTS;
                    if may_add && matches!(on_stall(), StallAction::ConnectAnother) {
                        (extra, expected) = (extra + 1, expected + 1);
                        let sender = sender.clone();
                        scope.spawn(move || {
                            sender.send(endpoint.exchange()).expect("the receiver is open");
                        });
                    }
                }
            }
        }
    });
    all
}

impl Endpoint {
    /// Runs one client; returns its port, and whether it received everything.
    ///
    /// # Panics
    /// If it receives other bytes than the first of those that it must receive.
    pub(crate) fn exchange(self) -> (u16, bool) {
        let protocol = self.protocol;
        let (port, client) = Client::try_connect_from(SOURCE, self.address);
        let Some(mut client) = client else { return (port, false) };
        let pieces = protocol.request(port);
        let is_sent = if protocol.is_stream() {
            pieces.iter().all(|piece| client.try_send(piece))
        } else {
            client.try_send(&pieces.concat())
        };
        if protocol.ends_with_the_peer() {
            client.try_half_close();
        }
        let expected = protocol.expected(&pieces);
        let received = if protocol.is_endless() {
            client.read_at_most(expected.len())
        } else {
            client.read_to_end()
        };
        let context = format!("{protocol:?}: {received:?}");
        assert!(expected.starts_with(&received.bytes), "{context}");
        let is_complete = is_sent && received == ReceivedStream::with_fin(&expected);
        let is_absent = received.bytes.is_empty();
        let may_be_partial = protocol.is_stream();
        assert!(may_be_partial || is_complete || is_absent, "whole or absent: {context}");
        // A client of discard receives no byte that the server could withhold.
        let is_reset = protocol.ends_with_the_peer() && client.was_reset_after_fin();
        (port, is_complete && !is_reset)
    }
}

impl ClientOutcomes {
    fn add(&mut self, port: u16, is_served: bool) {
        if is_served {
            self.served += 1;
        } else {
            self.lost.push(port);
            self.lost.sort_unstable();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.served += other.served;
        self.lost.extend(other.lost);
        self.lost.sort_unstable();
    }
}
