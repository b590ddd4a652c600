//! The configuration and data that all workers share, and the setup of a worker.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpoll_backends::protocols::{Chargen, Discard, Echo, Http10, Http11, Responses};
use ringpoll_backends::{
    Backend, BackendError, Closing, DeadlineLengths, EngineOptions, Limits, ListenOptions,
    Listener, Protocol, Report, Stop, Variant, WorkerOptions, open,
};

use super::response::response;
use super::workers::RunningEngine;
use super::{max_connections, pinning};
use crate::config::{Config, ProtocolChoice};
use crate::failure::Failure;
use crate::print::{Escaping, RequestPrinter, StandardOutput};

/// The configuration and the data that the workers share.
pub(super) struct WorkerPlan {
    pub(super) config: Config,
    pub(super) stop: Stop,
    connections_each: usize,
    protocol: AnyProtocol,
    output: Arc<Mutex<StandardOutput>>,
}

/// The configured protocol. Each is compiled into each engine; this chooses once, at the start.
enum AnyProtocol {
    Http10(Http10),
    Http11(Http11),
    Echo(Echo),
    Discard(Discard),
    Chargen(Chargen),
}

impl AnyProtocol {
    fn new(config: &Config) -> Result<Self, Failure> {
        let Config { server, limits, .. } = config;
        Ok(match server.protocol {
            ProtocolChoice::Echo => Self::Echo(Echo),
            ProtocolChoice::Discard => Self::Discard(Discard),
            ProtocolChoice::Chargen => Self::Chargen(Chargen::default()),
            ProtocolChoice::Http if server.keep_alive => {
                let mut http = Http11::new(Responses::new(response(server)?.into())?);
                http.requests_per_connection = server.requests_per_connection;
                http.request_head_bytes = limits.request_head_bytes;
                http.request_body_bytes = limits.request_body_bytes;
                Self::Http11(http)
            }
            ProtocolChoice::Http => {
                let mut http = Http10::new(response(server)?);
                http.request_head_bytes = limits.request_head_bytes;
                Self::Http10(http)
            }
        })
    }
}

/// Serves until the stop.
pub(super) type RunWorker = Box<dyn FnOnce() -> Result<Report, BackendError>>;

/// A worker that listens and has its engine. It must run on the thread that prepared it.
pub(super) struct PreparedWorker {
    pub(super) engine: RunningEngine,
    pub(super) run: RunWorker,
}

impl WorkerPlan {
    /// # Errors
    /// The response file cannot be read, or is too long.
    pub(super) fn new(
        config: Config,
        stop: Stop,
        output: Arc<Mutex<StandardOutput>>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            connections_each: max_connections(&config).div_ceil(config.server.workers),
            protocol: AnyProtocol::new(&config)?,
            config,
            stop,
            output,
        })
    }

    /// Prepares the worker of that index, on the thread that will run it.
    ///
    /// # Errors
    /// Listening on the address fails, or the engine is refused.
    pub(super) fn prepare(
        &self,
        index: usize,
        variant: Variant,
        address: SocketAddr,
    ) -> Result<PreparedWorker, BackendError> {
        if self.config.server.pin_workers {
            pinning::pin_to_cpu(index)?;
        }
        let shared = self.config.server.workers > 1;
        let listener = Listener::bind(&self.listen_options(address, shared))?;
        match &self.protocol {
            AnyProtocol::Http10(http) => self.prepare_with(http.clone(), variant, listener),
            AnyProtocol::Http11(http) => self.prepare_with(http.clone(), variant, listener),
            AnyProtocol::Echo(echo) => self.prepare_with(*echo, variant, listener),
            AnyProtocol::Discard(discard) => self.prepare_with(*discard, variant, listener),
            AnyProtocol::Chargen(chargen) => self.prepare_with(chargen.clone(), variant, listener),
        }
    }

    fn prepare_with<P: Protocol + 'static>(
        &self,
        protocol: P,
        variant: Variant,
        listener: Listener,
    ) -> Result<PreparedWorker, BackendError> {
        let address = listener.local_address().unwrap_or(self.config.server.listen);
        let mut backend = open(variant, &engine_options(&self.config, variant))?;
        let options = self.worker_options(listener);
        let (name, techniques) = (backend.name(), backend.techniques());
        Ok(PreparedWorker {
            engine: RunningEngine { variant, name, techniques, address },
            run: Box::new(move || backend.run(options, protocol)),
        })
    }

    /// Fails if another server listens on `address`: with `SO_REUSEPORT` the bind would succeed,
    /// and both would get a share of the connections.
    pub(super) fn check_address_is_free(&self, address: SocketAddr) -> Result<(), BackendError> {
        Listener::check_address(&self.listen_options(address, false))
    }

    fn listen_options(&self, address: SocketAddr, reuse_port: bool) -> ListenOptions {
        let server = &self.config.server;
        ListenOptions {
            backlog: server.backlog,
            reuse_port,
            send_buffer_bytes: (server.send_buffer_bytes > 0).then_some(server.send_buffer_bytes),
            no_delay: server.no_delay,
            defer_accept_s: server.defer_accept_s,
            quick_ack: server.quick_ack,
            ..ListenOptions::new(address)
        }
    }

    fn worker_options(&self, listener: Listener) -> WorkerOptions {
        let Config { server, limits, .. } = &self.config;
        let mut worker = WorkerOptions::new(listener, self.stop.clone());
        worker.limits = Limits {
            connections: self.connections_each,
            message_bytes: limits.message_bytes.max(limits.request_head_bytes),
            receive_buffer_bytes: receive_buffer_bytes(&self.config),
            read_budget_bytes: limits.read_budget_bytes,
        };
        worker.deadlines = self.deadlines();
        if server.lingering_close {
            worker.closing = Closing::Lingering { bytes: server.lingering_close_bytes };
        }
        worker.send_more = server.send_more;
        worker.drain_timeout = Duration::from_millis(server.drain_timeout_ms);
        if server.print_requests {
            worker.request_log = Some(Box::new(self.printer()));
        }
        worker
    }

    fn deadlines(&self) -> DeadlineLengths {
        let deadlines = &self.config.deadlines;
        DeadlineLengths {
            idle: Duration::from_millis(deadlines.idle_timeout_ms),
            request_head: Duration::from_millis(deadlines.request_head_timeout_ms),
            send: Duration::from_millis(deadlines.send_timeout_ms),
            linger: Duration::from_millis(deadlines.linger_timeout_ms),
            keep_alive: Duration::from_millis(deadlines.keep_alive_timeout_ms),
            request_body: Duration::from_millis(deadlines.request_body_timeout_ms),
            lifetime: Duration::from_millis(deadlines.connection_lifetime_ms),
        }
    }

    fn printer(&self) -> RequestPrinter {
        let escaping = if self.config.server.escape_prints {
            Escaping::ControlAndNonAscii
        } else {
            Escaping::InvalidUtf8
        };
        let longest_bytes = self.config.limits.print_line_bytes;
        RequestPrinter::new(Arc::clone(&self.output), escaping, longest_bytes)
    }
}

/// Returns the size of a receive buffer. HTTP requests are short; a longer message of another
/// protocol would be received, and echoed, in many pieces.
pub(super) fn receive_buffer_bytes(config: &Config) -> usize {
    match (config.server.receive_buffer_bytes, config.server.protocol) {
        (0, ProtocolChoice::Http) => 1024,
        (0, _) => config.limits.read_budget_bytes,
        (bytes, _) => bytes,
    }
}

/// Returns the configured options of an engine.
pub(super) fn engine_options(config: &Config, variant: Variant) -> EngineOptions {
    let Config { epoll, io_uring, .. } = config;
    let completions = io_uring.completion_queue_entries;
    let (busy_poll_us, shutdown) = if variant.is_io_uring() {
        (io_uring.busy_poll_us, io_uring.shutdown)
    } else {
        (epoll.busy_poll_us, epoll.shutdown)
    };
    EngineOptions {
        events_per_wait: epoll.events_per_wait,
        submission_queue_entries: io_uring.submission_queue_entries,
        completion_queue_entries: (completions > 0).then_some(completions),
        busy_poll_us,
        shutdown: shutdown.into(),
        techniques: io_uring.techniques.clone(),
    }
}
