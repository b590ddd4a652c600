//! Starting all workers or none, and running them to the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use ringpoll_backends::{BackendError, ErrorKind, Report, Stop, Variant};

use super::worker_plan::{Ready, WorkerPlan};
use crate::failure::Failure;

/// All workers, listening and with their engines, but not yet serving.
pub(super) struct Team {
    variant: Variant,
    engine: &'static str,
    techniques: Vec<&'static str>,
    address: SocketAddr,
    /// One worker needs no thread of its own: it is the documents' shape, and what a tracer of
    /// the program's first thread sees.
    on_this_thread: Option<Ready>,
    on_threads: Vec<Started>,
}

/// A worker on its thread, which waits for the word to serve.
struct Started {
    /// Dropped without the word, it ends the thread.
    go: Sender<()>,
    thread: JoinHandle<Option<Result<Report, BackendError>>>,
}

/// Why a team did not start.
pub(super) enum StartError {
    /// A worker could not listen or have its engine.
    Backend(BackendError),
    /// The process is out of threads, or a worker panicked.
    Thread(String),
}

impl StartError {
    /// The refusal of a backend, or any other error as it was.
    pub(super) fn refusal(self) -> Result<BackendError, Self> {
        match self {
            Self::Backend(error) if error.kind == ErrorKind::BackendRefused => Ok(error),
            other => Err(other),
        }
    }
}

impl From<BackendError> for StartError {
    fn from(error: BackendError) -> Self {
        Self::Backend(error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Backend(error) => error.into(),
            StartError::Thread(problem) => Self::Run(problem),
        }
    }
}

/// What a team did.
pub(super) struct Run {
    pub(super) variant: Variant,
    pub(super) engine: &'static str,
    pub(super) techniques: Vec<&'static str>,
    pub(super) address: SocketAddr,
    /// Of each worker that came to its end, in their order.
    pub(super) reports: Vec<Report>,
    /// The first thing that went wrong.
    pub(super) failure: Option<Failure>,
}

/// Asks the others to stop when a worker ends, for whatever reason: a server that has lost one of
/// its workers would leave the connections of that listener waiting for ever.
struct StopTogether(Stop);

impl Drop for StopTogether {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl Team {
    /// Starts as many workers as the configuration says, all of them on `variant`, or none.
    pub(super) fn start(plan: &Arc<WorkerPlan>, variant: Variant) -> Result<Self, StartError> {
        let address = plan.config.server.listen;
        let mut team = Self {
            variant,
            engine: "",
            techniques: Vec::new(),
            address,
            on_this_thread: None,
            on_threads: Vec::new(),
        };
        let workers = plan.config.server.workers;
        if workers == 1 {
            let ready = plan.prepare(0, variant, address)?;
            (team.engine, team.address) = (ready.engine(), ready.address);
            team.techniques = ready.techniques();
            team.on_this_thread = Some(ready);
            return Ok(team);
        }
        // A port that the kernel chooses is nobody else's.
        if address.port() != 0 {
            plan.check_that_nobody_listens(address)?;
        }
        match (0..workers).try_for_each(|index| team.add(plan, index)) {
            Ok(()) => Ok(team),
            Err(error) => {
                team.dismiss();
                Err(error)
            }
        }
    }

    /// Starts one more worker, on the address of those before it, and waits until it is ready.
    fn add(&mut self, plan: &Arc<WorkerPlan>, index: usize) -> Result<(), StartError> {
        let (go, word) = channel();
        let (tell, told) = channel();
        let (variant, address, plan) = (self.variant, self.address, Arc::clone(plan));
        let work = move || {
            let ready = match plan.prepare(index, variant, address) {
                Ok(ready) => ready,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return None;
                }
            };
            tell.send(Ok((ready.engine(), ready.techniques(), ready.address))).ok()?;
            word.recv().ok()?;
            let _stop_together = StopTogether(plan.stop.clone());
            Some(ready.run())
        };
        let thread = thread::Builder::new()
            .name(format!("worker {index}"))
            .spawn(work)
            .map_err(|error| StartError::Thread(format!("ringpoll: worker {index}: {error}")))?;
        self.on_threads.push(Started { go, thread });
        match told.recv() {
            Ok(ready) => {
                (self.engine, self.techniques, self.address) = ready?;
                Ok(())
            }
            Err(_) => Err(StartError::Thread(panicked(index))),
        }
    }

    /// Ends the workers that are ready, and waits until their listeners are closed.
    fn dismiss(self) {
        for Started { go, thread } in self.on_threads {
            drop(go);
            let _ = thread.join();
        }
    }

    /// How the start line names the engine.
    pub(super) fn engine(&self) -> &'static str {
        self.engine
    }

    /// Which engine they run.
    pub(super) fn variant(&self) -> Variant {
        self.variant
    }

    /// The techniques in force, the same for all of them.
    pub(super) fn techniques(&self) -> &[&'static str] {
        &self.techniques
    }

    /// Where they listen; the port is the real one.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets them serve, and waits until all have come to their end.
    pub(super) fn run(self) -> Run {
        let Self { variant, engine, techniques, address, on_this_thread, on_threads } = self;
        for started in &on_threads {
            let _ = started.go.send(());
        }
        let mut run =
            Run { variant, engine, techniques, address, reports: Vec::new(), failure: None };
        if let Some(ready) = on_this_thread {
            run.add(ready.run());
        }
        for (index, started) in on_threads.into_iter().enumerate() {
            match started.thread.join() {
                Ok(Some(result)) => run.add(result),
                Ok(None) | Err(_) => run.fail(Failure::Run(panicked(index))),
            }
        }
        run
    }
}

impl Run {
    fn add(&mut self, result: Result<Report, BackendError>) {
        match result {
            Ok(report) => self.reports.push(report),
            Err(error) => {
                self.fail(Failure::Run(format!("ringpoll: serving {}: {error}", self.address)));
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

fn panicked(index: usize) -> String {
    format!("ringpoll: worker {index} panicked; this is a fault of the program")
}
