//! Settings of the server under test, in this process and as a child process.

use ringpoll_backends::protocols::{Chargen, Discard, Echo};
use ringpoll_backends::{Closing, DeadlineLengths, ListenOptions};

use crate::configuration::{CloseMode, Configuration};
use common::{TestProtocol, TestWorker, response, unique_loopback_address};

const LINGERING_CLOSE_BYTES: usize = 64 * 1024;

/// The protocol of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Http,
    Echo,
    Discard,
    Chargen,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) service: Service,
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
            service: Service::Http,
            response_body_bytes: 13,
            send_buffer_bytes: None,
            request_head_bytes: 8192,
            // Room for 1,000 connections and for those that pause the loop.
            connections: 1100,
            keep_alive: false,
            requests_per_connection: 0,
            request_body_bytes: 1 << 20,
        }
    }
}

impl Settings {
    pub(crate) fn listen_options(&self) -> ListenOptions {
        let send_buffer_bytes = self.send_buffer_bytes;
        ListenOptions { send_buffer_bytes, ..ListenOptions::new(unique_loopback_address()) }
    }

    /// Configures a worker without deadlines, so that a hanging connection fails the test.
    pub(crate) fn configure(&self, worker: &mut TestWorker, closing: CloseMode) {
        match self.service {
            Service::Http => self.configure_http(worker),
            Service::Echo => worker.protocol = TestProtocol::Echo(Echo),
            Service::Discard => worker.protocol = TestProtocol::Discard(Discard),
            Service::Chargen => worker.protocol = TestProtocol::Chargen(Chargen::default()),
        }
        worker.deadlines = DeadlineLengths::NONE;
        worker.limits.connections = self.connections;
        worker.send_more = true;
        worker.closing = match closing {
            CloseMode::AtOnce => Closing::AtOnce,
            CloseMode::Lingering => Closing::Lingering { bytes: LINGERING_CLOSE_BYTES },
        };
    }

    fn configure_http(&self, worker: &mut TestWorker) {
        let response = response(self.response_body_bytes);
        if self.keep_alive {
            let http = worker.set_keep_alive(response);
            http.requests_per_connection = self.requests_per_connection;
            http.request_body_bytes = self.request_body_bytes;
        } else {
            worker.set_response(response);
        }
        worker.set_request_head_bytes(self.request_head_bytes);
    }

    /// Returns the equivalent arguments of the program.
    pub(crate) fn arguments(&self, configuration: Configuration) -> Vec<String> {
        let mut arguments = vec!["--backend".to_owned(), configuration.variant.name().to_owned()];
        let values = [
            ("server.protocol", format!("{:?}", self.service).to_lowercase()),
            ("server.response_body_bytes", self.response_body_bytes.to_string()),
            ("server.send_buffer_bytes", self.send_buffer_bytes.unwrap_or(0).to_string()),
            ("server.keep_alive", self.keep_alive.to_string()),
            ("server.requests_per_connection", self.requests_per_connection.to_string()),
            ("limits.request_body_bytes", self.request_body_bytes.to_string()),
            ("deadlines.keep_alive_timeout_ms", "0".to_owned()),
            ("deadlines.request_body_timeout_ms", "0".to_owned()),
            ("server.send_more", "true".to_owned()),
            ("server.lingering_close", configuration.lingers().to_string()),
            ("server.lingering_close_bytes", LINGERING_CLOSE_BYTES.to_string()),
            ("limits.connections", self.connections.to_string()),
            ("limits.request_head_bytes", self.request_head_bytes.to_string()),
            ("deadlines.request_head_timeout_ms", "0".to_owned()),
            ("deadlines.send_timeout_ms", "0".to_owned()),
            ("deadlines.idle_timeout_ms", "0".to_owned()),
            ("deadlines.linger_timeout_ms", "0".to_owned()),
            ("deadlines.connection_lifetime_ms", "0".to_owned()),
        ];
        for (key, value) in values {
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        arguments
    }
}
