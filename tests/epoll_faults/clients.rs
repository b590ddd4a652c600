//! Concurrent clients that send one request each.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use common::{Client, EVENT_TIMEOUT, REQUEST, RESPONSE, ReceivedStream};

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
    /// Clients that received exactly the response and the end of the stream.
    pub(crate) responses: usize,
    /// The sorted ports of the clients that received no byte, but the end of the stream or a reset.
    pub(crate) lost: Vec<u16>,
}

/// Runs `clients` clients, at most `concurrent` at a time, until each has its response or the end
/// of its connection.
pub(crate) fn run_clients(
    address: SocketAddr,
    clients: usize,
    concurrent: usize,
    mut on_stall: impl FnMut() -> StallAction,
) -> ClientOutcomes {
    let (sender, outcomes) = channel();
    let left = AtomicUsize::new(clients);
    let take_one = |left: usize| left.checked_sub(1);
    let mut served = ClientOutcomes::default();
    let (mut expected, mut extra) = (clients, 0);
    thread::scope(|scope| {
        for _ in 0..concurrent {
            let (sender, left) = (sender.clone(), &left);
            scope.spawn(move || {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                    request_once(address, &sender);
                }
            });
        }
        let deadline = Instant::now() + 2 * EVENT_TIMEOUT;
        while served.responses + served.lost.len() < expected {
            match outcomes.recv_timeout(STALL_THRESHOLD) {
                Ok((port, exchange)) => served.add(port, &exchange),
                Err(RecvTimeoutError::Disconnected) => unreachable!("`sender` is still open"),
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < deadline, "a client waits without end");
                    let may_add = extra < MAX_EXTRA_CLIENTS;
                    if may_add && matches!(on_stall(), StallAction::ConnectAnother) {
                        (extra, expected) = (extra + 1, expected + 1);
                        spawn_client(scope, address, sender.clone());
                    }
                }
            }
        }
    });
    served
}

fn spawn_client<'scope>(
    scope: &'scope Scope<'scope, '_>,
    address: SocketAddr,
    sender: Sender<(u16, ReceivedStream)>,
) {
    scope.spawn(move || request_once(address, &sender));
}

fn request_once(address: SocketAddr, sender: &Sender<(u16, ReceivedStream)>) {
    let mut client = Client::connect(address);
    let port = client.stream.local_addr().expect("it is bound").port();
    client.try_send(REQUEST);
    let exchange = client.read_to_end();
    drop(client);
    sender.send((port, exchange)).expect("the receiver outlives the clients");
}

impl ClientOutcomes {
    fn add(&mut self, port: u16, exchange: &ReceivedStream) {
        if *exchange == ReceivedStream::with_fin(RESPONSE) {
            self.responses += 1;
        } else {
            assert!(exchange.bytes.is_empty(), "a response must be whole or absent: {exchange:?}");
            self.lost.push(port);
            self.lost.sort_unstable();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.responses += other.responses;
        self.lost.extend(other.lost);
        self.lost.sort_unstable();
    }
}
