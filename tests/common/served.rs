//! A server in this process, on a thread of its own, for as long as the guard lives.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use ringpoll_backends::{
    BackendError, EngineOptions, ListenOptions, Listener, Report, Stop, Variant, Worker, open,
};

use super::{PATIENCE, RESPONSE, sockets_on_port};

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<Result<Report, BackendError>>>,
}

impl Served {
    /// Starts one on a port of the kernel's choice; `configure` changes what it is given.
    pub(crate) fn start(variant: Variant, configure: impl FnOnce(&mut Worker)) -> Self {
        let listen = ListenOptions::new("127.0.0.1:0".parse().expect("an address"));
        Self::with_options(variant, &listen, EngineOptions::default(), configure)
    }

    /// The same, with a say in the listener and the engine.
    pub(crate) fn with_options(
        variant: Variant,
        listen: &ListenOptions,
        engine: EngineOptions,
        configure: impl FnOnce(&mut Worker),
    ) -> Self {
        let listener = Listener::bind(listen).expect("a free port");
        let address = listener.local_address().expect("a bound address");
        let stop = Stop::new().expect("an eventfd");
        let mut worker = Worker::new(listener, stop.clone(), RESPONSE);
        configure(&mut worker);
        let (opened, is_open) = mpsc::channel();
        let thread = thread::Builder::new().name(format!("{variant} server"));
        let serve = move || {
            let mut backend = open(variant, &engine)?;
            opened.send(()).expect("somebody waits for the start");
            backend.run(worker)
        };
        let thread = Some(thread.spawn(serve).expect("a thread"));
        let served = Self { address, stop, thread };
        is_open.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{variant} does not open"));
        served
    }

    /// How many sockets it has: its listener, and a connection each. After the stop, none.
    pub(crate) fn open_descriptors(&self) -> usize {
        sockets_on_port(self.address.port())
    }

    /// Stops it, and hands back its report and how many sockets it has left open.
    pub(crate) fn stopped(mut self) -> (Report, usize) {
        self.stop.request();
        let report = self.ended();
        (report, self.open_descriptors())
    }

    /// Waits for the end of one that has been stopped, and hands back its report.
    pub(crate) fn ended(&mut self) -> Report {
        let thread = self.thread.take().expect("it ends once");
        thread.join().expect("no server panics").expect("no error ends a server")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
