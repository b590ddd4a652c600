//! Clients that ask one request after another until nobody answers any more, and know of each
//! what became of it.
//!
//! What a client can know: whether it got a connection, whether the server's kernel has received
//! every byte of its request (it has acknowledged them), and whether it got the whole answer. A
//! request that was received whole must be answered; one that was not has been turned away.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{read_to_end, unacknowledged};
use crate::common::{PATIENCE, REQUEST, RESPONSE, wait_until};

/// Connections that get nowhere are given up: the door may have been shut in front of them.
const HANDSHAKE: Duration = Duration::from_millis(300);

/// What has become of the requests of all clients.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) answered: AtomicU64,
    /// Received whole, and not answered whole.
    pub(crate) lost: AtomicU64,
    /// Not received, or not whole.
    pub(crate) turned_away: AtomicU64,
}

pub(crate) struct Load {
    pub(crate) fates: Arc<Fates>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let fates = Arc::<Fates>::default();
        let client = |_| {
            let fates = Arc::clone(&fates);
            thread::spawn(move || while ask(address, &fates) {})
        };
        let clients = (0..clients).map(client).collect();
        Self { fates, clients }
    }

    pub(crate) fn wait_until_answered(&self, count: u64) {
        wait_until("the load is on", || self.fates.answered.load(Ordering::Relaxed) >= count);
    }

    /// Waits until all clients have found that nobody is there any more.
    pub(crate) fn ended(self) -> Arc<Fates> {
        for client in self.clients {
            client.join().expect("no client panics");
        }
        self.fates
    }
}

/// One request; false if there was no connection to be had.
fn ask(address: SocketAddr, fates: &Fates) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, HANDSHAKE) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("a length of time");
    let is_sent = stream.write_all(REQUEST).is_ok();
    let answer = read_to_end(&stream);
    let fate = if answer.is_ok_and(|answer| answer == RESPONSE) {
        &fates.answered
    } else if is_sent && unacknowledged(&stream) == 0 {
        &fates.lost
    } else {
        &fates.turned_away
    };
    fate.fetch_add(1, Ordering::Relaxed);
    true
}
