//! Clients that send one request after another until the server refuses connections, and record the
//! outcome of each request.
//!
//! A client can observe whether it gets a connection, whether the server's kernel has acknowledged
//! every byte of the request, and whether the response is complete. A request that was received
//! completely must get a response; any other was refused.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::client::{read_to_end, unacknowledged_bytes};
use common::{EVENT_TIMEOUT, REQUEST, RESPONSE, wait_until};

/// Ends a connection attempt, since a listener that closes meanwhile leaves it without a response.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(300);

/// Outcomes of the requests of all clients.
#[derive(Debug, Default)]
pub(crate) struct RequestOutcomes {
    pub(crate) responses: AtomicU64,
    /// Received completely, without a complete response.
    pub(crate) lost: AtomicU64,
    /// Not received completely.
    pub(crate) refused: AtomicU64,
}

pub(crate) struct Load {
    pub(crate) outcomes: Arc<RequestOutcomes>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(address: SocketAddr, clients: usize) -> Self {
        let outcomes = Arc::<RequestOutcomes>::default();
        let client = |_| {
            let outcomes = Arc::clone(&outcomes);
            thread::spawn(move || while send_request(address, &outcomes) {})
        };
        let clients = (0..clients).map(client).collect();
        Self { outcomes, clients }
    }

    pub(crate) fn wait_for_responses(&self, count: u64) {
        wait_until("the load is running", || {
            self.outcomes.responses.load(Ordering::Relaxed) >= count
        });
    }

    /// Waits until the server has refused every client.
    pub(crate) fn wait(self) -> Arc<RequestOutcomes> {
        for client in self.clients {
            client.join().expect("no client panics");
        }
        self.outcomes
    }
}

/// Sends one request; returns false if the server refused the connection.
fn send_request(address: SocketAddr, outcomes: &RequestOutcomes) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, HANDSHAKE_TIMEOUT) else {
        return false;
    };
    stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
    let is_sent = stream.write_all(REQUEST).is_ok();
    let response = read_to_end(&stream);
    let outcome = if response.is_ok_and(|response| response == RESPONSE) {
        &outcomes.responses
    } else if is_sent && unacknowledged_bytes(&stream) == 0 {
        &outcomes.lost
    } else {
        &outcomes.refused
    };
    outcome.fetch_add(1, Ordering::Relaxed);
    true
}
