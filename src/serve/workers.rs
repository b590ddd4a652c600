//! Starts all workers or none, and runs them until the stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use ringpoll_backends::{BackendError, ErrorKind, Report, Stop, Variant};

use super::worker_plan::{RunWorker, WorkerPlan};
use crate::failure::Failure;

/// The engine of all workers of a run.
pub(super) struct RunningEngine {
    pub(super) variant: Variant,
    /// Its name for the start line.
    pub(super) name: &'static str,
    /// The techniques in force.
    pub(super) techniques: Vec<&'static str>,
    /// The address of the listeners, with the port that the kernel chose.
    pub(super) address: SocketAddr,
}

/// All workers: they listen and have their engines, but do not serve yet.
pub(super) struct WorkerPool {
    pub(super) engine: RunningEngine,
    /// A single worker runs on the main thread, as in the reference programs, so that a tracer of
    /// the main thread sees its system calls.
    on_this_thread: Option<RunWorker>,
    on_threads: Vec<WorkerThread>,
}

/// A worker thread that waits for the message to serve.
struct WorkerThread {
    /// Starts the worker; ends the thread if it is dropped without a message.
    start: Sender<()>,
    thread: JoinHandle<Option<Result<Report, BackendError>>>,
}

/// The result of a run.
pub(super) struct PoolOutcome {
    pub(super) engine: RunningEngine,
    /// The reports of the workers that ended without an error, in their order.
    pub(super) reports: Vec<Report>,
    /// The first error.
    pub(super) failure: Option<Failure>,
}

/// Requests the stop of all workers when one ends or panics: otherwise connections that the kernel
/// assigns to its listener would never be accepted.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.request();
    }
}

impl WorkerPool {
    /// Starts the configured number of workers on `variant`, or none.
    pub(super) fn start(plan: &Arc<WorkerPlan>, variant: Variant) -> Result<Self, BackendError> {
        let address = plan.config.server.listen;
        let workers = plan.config.server.workers;
        if workers == 1 {
            let ready = plan.prepare(0, variant, address)?;
            let on_this_thread = Some(ready.run);
            return Ok(Self { engine: ready.engine, on_this_thread, on_threads: Vec::new() });
        }
        // A port that the kernel chooses is free.
        if address.port() != 0 {
            plan.check_address_is_free(address)?;
        }
        let engine = RunningEngine { variant, name: "", techniques: Vec::new(), address };
        let mut pool = Self { engine, on_this_thread: None, on_threads: Vec::new() };
        match (0..workers).try_for_each(|index| pool.add(plan, index)) {
            Ok(()) => Ok(pool),
            Err(error) => {
                pool.abort();
                Err(error)
            }
        }
    }

    /// Starts one more worker on the same address, and waits until it is ready.
    fn add(&mut self, plan: &Arc<WorkerPlan>, index: usize) -> Result<(), BackendError> {
        let (start, on_start) = channel();
        let (ready_sender, on_ready) = channel();
        let (variant, address, plan) = (self.engine.variant, self.engine.address, Arc::clone(plan));
        let work = move || {
            let ready = match plan.prepare(index, variant, address) {
                Ok(ready) => ready,
                Err(error) => {
                    let _ = ready_sender.send(Err(error));
                    return None;
                }
            };
            ready_sender.send(Ok(ready.engine)).ok()?;
            on_start.recv().ok()?;
            let _stop_on_drop = StopOnDrop(plan.stop.clone());
            Some((ready.run)())
        };
        let spawned = thread::Builder::new().name(format!("worker {index}")).spawn(work);
        let thread = spawned.map_err(|error| no_thread(index, error))?;
        self.on_threads.push(WorkerThread { start, thread });
        match on_ready.recv() {
            Ok(ready) => {
                self.engine = ready?;
                Ok(())
            }
            Err(_) => Err(panicked(index)),
        }
    }

    /// Ends the workers that are ready, and waits until their listeners are closed.
    fn abort(self) {
        for WorkerThread { start, thread } in self.on_threads {
            drop(start);
            let _ = thread.join();
        }
    }

    /// Serves, and waits until all workers have ended.
    pub(super) fn run(self) -> PoolOutcome {
        let Self { engine, on_this_thread, on_threads } = self;
        for started in &on_threads {
            let _ = started.start.send(());
        }
        let mut run = PoolOutcome { engine, reports: Vec::new(), failure: None };
        if let Some(run_worker) = on_this_thread {
            run.add(run_worker());
        }
        for (index, started) in on_threads.into_iter().enumerate() {
            match started.thread.join() {
                Ok(Some(result)) => run.add(result),
                Ok(None) | Err(_) => run.fail(panicked(index).into()),
            }
        }
        run
    }
}

impl PoolOutcome {
    fn add(&mut self, result: Result<Report, BackendError>) {
        match result {
            Ok(report) => self.reports.push(report),
            Err(error) => {
                let address = self.engine.address;
                self.fail(Failure::Run(format!("ringpoll: serving {address}: {error:#}")));
            }
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }
}

fn no_thread(index: usize, error: io::Error) -> BackendError {
    let operation = format!("start worker {index}");
    BackendError::new(ErrorKind::Resources, operation, "a limit of threads is reached")
        .with_source(error)
        .with_remedy("raise `ulimit -u` or pids.max of the cgroup, or lower server.workers")
}

fn panicked(index: usize) -> BackendError {
    BackendError::new(ErrorKind::Unexpected, format!("worker {index}"), "it panicked")
        .with_remedy("this is a bug in ringpoll, please report it")
}
