//! A server on a thread of this process, which runs until the guard is dropped.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ringpoll_backends::{
    BackendError, EngineOptions, ListenOptions, Listener, Report, Stop, Variant, WorkerOptions,
    open,
};

use super::{EVENT_TIMEOUT, TestWorker, sockets_bound_to, unique_loopback_address};

pub struct ServerThread {
    pub address: SocketAddr,
    pub stop: Stop,
    thread: Option<JoinHandle<Result<Report, BackendError>>>,
}

impl ServerThread {
    /// Starts a server on a port that the kernel chooses; `configure` changes its worker.
    pub fn start(variant: Variant, configure: impl FnOnce(&mut TestWorker)) -> Self {
        let listen = ListenOptions::new(unique_loopback_address());
        Self::with_options(variant, &listen, EngineOptions::default(), configure)
    }

    /// Starts a server with these options of the listener and the engine.
    pub fn with_options(
        variant: Variant,
        listen: &ListenOptions,
        engine: EngineOptions,
        configure: impl FnOnce(&mut TestWorker),
    ) -> Self {
        let listener = Listener::bind(listen).expect("a free port");
        let address = listener.local_address().expect("a bound address");
        let stop = Stop::new().expect("an eventfd");
        let mut worker = TestWorker::new(WorkerOptions::new(listener, stop.clone()));
        configure(&mut worker);
        let (on_open, is_open) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("{variant} server"));
        let serve = move || {
            let mut backend = open(variant, &engine)?;
            on_open.send(()).expect("the starting thread waits");
            worker.run(&mut backend)
        };
        let thread = Some(thread.spawn(serve).expect("a thread"));
        let served = Self { address, stop, thread };
        is_open.recv_timeout(EVENT_TIMEOUT).unwrap_or_else(|_| panic!("{variant} does not open"));
        served
    }

    /// Returns the number of its sockets: the listener, and one for each connection. It is 0 after
    /// the stop.
    pub fn open_descriptors(&self) -> usize {
        sockets_bound_to(self.address)
    }

    /// Stops the server; returns its report and the number of sockets that it left open.
    pub fn stop_and_wait(mut self) -> (Report, usize) {
        self.stop.request();
        let report = self.wait();
        (report, self.open_descriptors())
    }

    /// Waits for the end of a stop that was requested before; returns the report.
    pub fn wait(&mut self) -> Report {
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("no server panics").expect("no error ends a server")
    }
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
