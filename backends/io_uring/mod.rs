//! The io_uring backend: submit an operation, and handle its completion.

mod recv_slab;
mod restriction;
pub(crate) mod ring;
mod single_shot;
mod teardown;
mod techniques;
mod tuned;

use crate::backend::Backend;
use crate::engine_options::{EngineOptions, ShutdownBy};
use crate::error::BackendError;
use crate::kernel::Kernel;
use crate::protocol::Protocol;
use crate::techniques::Techniques;
use crate::worker::{Report, Worker, WorkerOptions};
use ring::Ring;
pub(crate) use techniques::set_up;

#[derive(Clone, Copy)]
pub(crate) enum IoUringEngine {
    SingleShot,
    Tuned,
}

/// Returns the options of `io_uring:single_shot`, which has no techniques.
pub(crate) fn single_shot_options(requested: &EngineOptions) -> EngineOptions {
    EngineOptions {
        busy_poll_us: 0,
        shutdown: ShutdownBy::Ring,
        techniques: Techniques::NONE,
        ..requested.clone()
    }
}

pub(crate) struct IoUringBackend<K: Kernel> {
    engine: IoUringEngine,
    /// The requested options without what this kernel does not support.
    options: EngineOptions,
    name: &'static str,
    /// Set up when the backend is opened, so that a refusal is reported first. The first run takes
    /// it.
    ring: Option<Ring<K>>,
}

impl<K: Kernel> IoUringBackend<K> {
    pub(crate) fn open(
        engine: IoUringEngine,
        requested: &EngineOptions,
    ) -> Result<Self, BackendError> {
        let (ring, options) = match engine {
            IoUringEngine::SingleShot => Ring::open(&single_shot_options(requested))?,
            IoUringEngine::Tuned => Ring::open(requested)?,
        };
        let name = name_of(engine, ring.shutdown_by_call());
        Ok(Self { engine, options, name, ring: Some(ring) })
    }
}

/// Returns the start-line name, which mentions what an older kernel makes the engine do otherwise.
fn name_of(engine: IoUringEngine, shutdown_by_call: bool) -> &'static str {
    match (engine, shutdown_by_call) {
        (IoUringEngine::SingleShot, false) => "io_uring, single shot",
        (IoUringEngine::SingleShot, true) => {
            "io_uring, single shot, shutdown(2) instead of IORING_OP_SHUTDOWN"
        }
        (IoUringEngine::Tuned, false) => "io_uring, tuned",
        (IoUringEngine::Tuned, true) => {
            "io_uring, tuned, shutdown(2) instead of IORING_OP_SHUTDOWN"
        }
    }
}

impl<K: Kernel> Backend for IoUringBackend<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn techniques(&self) -> Vec<&'static str> {
        self.options.techniques.names()
    }

    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError> {
        let worker = Worker::new(options, protocol, K::coarse_clock_ms());
        let ring = match self.ring.take() {
            Some(ring) => ring,
            None => Ring::open(&self.options)?.0,
        };
        match self.engine {
            IoUringEngine::SingleShot => single_shot::SingleShot::new(worker, ring)?.run(),
            IoUringEngine::Tuned => tuned::Tuned::new(worker, ring, &self.options)?.run(),
        }
    }
}
