//! How the server of a test is configured, in this process and in its own.

use ringpoll_backends::{Closing, DeadlineLengths, KeepAlive, ListenOptions, Replies, Worker};

use crate::arm::{Arm, ClosingKind};
use crate::common::response;

const LINGERING_CLOSE_BYTES: usize = 64 * 1024;

/// What a scenario needs to be different.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) response_body_bytes: usize,
    pub(crate) send_buffer_bytes: Option<u32>,
    pub(crate) request_head_bytes: usize,
    pub(crate) connections: usize,
    pub(crate) keep_alive: bool,
    pub(crate) requests_per_connection: u64,
    pub(crate) request_body_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            response_body_bytes: 13,
            send_buffer_bytes: None,
            request_head_bytes: 8192,
            // Room for a thousand, and for those who hold the loop.
            connections: 1100,
            keep_alive: false,
            requests_per_connection: 0,
            request_body_bytes: 1 << 20,
        }
    }
}

impl Settings {
    pub(crate) fn listen_options(&self) -> ListenOptions {
        let loopback = "127.0.0.1:0".parse().expect("an address");
        let send_buffer_bytes = self.send_buffer_bytes;
        ListenOptions { send_buffer_bytes, ..ListenOptions::new(loopback) }
    }

    /// There are no deadlines: what hangs has to be seen to hang.
    pub(crate) fn configure(&self, worker: &mut Worker, closing: ClosingKind) {
        worker.response = response(self.response_body_bytes).into();
        if self.keep_alive {
            let replies = Replies::new(worker.response.clone()).expect("a response");
            worker.keep_alive = Some(KeepAlive {
                requests_per_connection: self.requests_per_connection,
                request_body_bytes: self.request_body_bytes,
                ..KeepAlive::new(replies.into())
            });
        }
        worker.deadlines = DeadlineLengths::NONE;
        worker.limits.connections = self.connections;
        worker.limits.request_head_bytes = self.request_head_bytes;
        worker.send_more = true;
        worker.closing = match closing {
            ClosingKind::AtOnce => Closing::AtOnce,
            ClosingKind::Lingering => Closing::Lingering { bytes: LINGERING_CLOSE_BYTES },
        };
    }

    /// The same for the program.
    pub(crate) fn arguments(&self, arm: Arm) -> Vec<String> {
        let mut arguments = vec!["--backend".to_owned(), arm.variant.name().to_owned()];
        let values = [
            ("server.response_body_bytes", self.response_body_bytes.to_string()),
            ("server.send_buffer_bytes", self.send_buffer_bytes.unwrap_or(0).to_string()),
            ("server.keep_alive", self.keep_alive.to_string()),
            ("server.requests_per_connection", self.requests_per_connection.to_string()),
            ("limits.request_body_bytes", self.request_body_bytes.to_string()),
            ("deadlines.keep_alive_timeout_ms", "0".to_owned()),
            ("deadlines.request_body_timeout_ms", "0".to_owned()),
            ("server.send_more", "true".to_owned()),
            ("server.lingering_close", arm.lingers().to_string()),
            ("server.lingering_close_bytes", LINGERING_CLOSE_BYTES.to_string()),
            ("limits.connections", self.connections.to_string()),
            ("limits.request_head_bytes", self.request_head_bytes.to_string()),
            ("deadlines.request_head_timeout_ms", "0".to_owned()),
            ("deadlines.send_timeout_ms", "0".to_owned()),
            ("deadlines.idle_timeout_ms", "0".to_owned()),
            ("deadlines.linger_timeout_ms", "0".to_owned()),
            ("deadlines.life_timeout_ms", "0".to_owned()),
        ];
        for (key, value) in values {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        arguments
    }
}
