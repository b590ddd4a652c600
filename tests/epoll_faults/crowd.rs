//! Clients, a few at a time, each of which wants one answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use crate::common::{Client, Exchange, PATIENCE, REQUEST, RESPONSE};

/// After how long without an answer the crowd is said to have come to a standstill.
const STANDSTILL: Duration = Duration::from_millis(5);

/// How many may come in addition where that is needed to get the others going.
const MOST_LATECOMERS: usize = 100;

/// What is done about a standstill.
pub(crate) enum Remedy {
    /// Nothing: time will help.
    Wait,
    /// One more client connects.
    OneMore,
}

/// What became of the clients.
#[derive(Default)]
pub(crate) struct Served {
    /// How many got exactly the response, and the end of the stream.
    pub(crate) answered: usize,
    /// The ports, in order, of those who got the end of the stream, or a reset, and nothing
    /// before it.
    pub(crate) lost: Vec<u16>,
}

/// Sends so many clients, `at_a_time` of them at a time, and waits until every one of them has
/// either its answer or the end of its connection.
pub(crate) fn send_crowd(
    address: SocketAddr,
    clients: usize,
    at_a_time: usize,
    mut standstill: impl FnMut() -> Remedy,
) -> Served {
    let (tell, told) = channel();
    let left = AtomicUsize::new(clients);
    let take_one = |left: usize| left.checked_sub(1);
    let mut served = Served::default();
    let (mut expected, mut latecomers) = (clients, 0);
    thread::scope(|scope| {
        for _ in 0..at_a_time {
            let (tell, left) = (tell.clone(), &left);
            scope.spawn(move || {
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                    ask(address, &tell);
                }
            });
        }
        let deadline = Instant::now() + 2 * PATIENCE;
        while served.answered + served.lost.len() < expected {
            match told.recv_timeout(STANDSTILL) {
                Ok((port, exchange)) => served.add(port, &exchange),
                Err(RecvTimeoutError::Disconnected) => unreachable!("this end tells too"),
                Err(RecvTimeoutError::Timeout) => {
                    assert!(Instant::now() < deadline, "a client waits for ever");
                    if latecomers < MOST_LATECOMERS && matches!(standstill(), Remedy::OneMore) {
                        (latecomers, expected) = (latecomers + 1, expected + 1);
                        send_latecomer(scope, address, tell.clone());
                    }
                }
            }
        }
    });
    served
}

fn send_latecomer<'scope>(
    scope: &'scope Scope<'scope, '_>,
    address: SocketAddr,
    tell: Sender<(u16, Exchange)>,
) {
    scope.spawn(move || ask(address, &tell));
}

fn ask(address: SocketAddr, tell: &Sender<(u16, Exchange)>) {
    let mut client = Client::connect(address);
    let port = client.stream.local_addr().expect("it is bound").port();
    client.sends_if_taken(REQUEST);
    let exchange = client.read_to_end();
    drop(client);
    tell.send((port, exchange)).expect("somebody listens until all are told");
}

impl Served {
    fn add(&mut self, port: u16, exchange: &Exchange) {
        if *exchange == Exchange::finished(RESPONSE) {
            self.answered += 1;
        } else {
            assert!(exchange.bytes.is_empty(), "neither an answer nor nothing: {exchange:?}");
            self.lost.push(port);
            self.lost.sort_unstable();
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.answered += other.answered;
        self.lost.extend(other.lost);
        self.lost.sort_unstable();
    }
}
