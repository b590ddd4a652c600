//! The io_uring backend: submit an operation, and handle its completion.

mod descriptor;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod faults;
#[cfg(debug_assertions)]
mod guarded_buffers;
mod recv_slab;
mod restriction;
pub(crate) mod ring;
mod single_shot;
mod teardown;
mod techniques;
mod tuned;

use crate::backend::{Backend, EngineOptions};
use crate::clock::coarse_clock_ms;
use crate::error::BackendError;
use crate::protocol::Protocol;
use crate::worker::{Report, Worker, WorkerOptions};
use ring::Ring;
pub use techniques::{Technique, TechniqueValues, Techniques};

#[derive(Clone, Copy)]
enum IoUringEngine {
    SingleShot,
    Tuned,
}

pub(crate) struct IoUringBackend {
    engine: IoUringEngine,
    /// The requested options without what this kernel does not support.
    options: EngineOptions,
    name: &'static str,
    /// Set up when the backend is opened, so that a refusal is reported first. The first run takes
    /// it.
    ring: Option<Ring>,
}

impl IoUringBackend {
    pub(crate) fn single_shot(options: &EngineOptions) -> Result<Self, BackendError> {
        let ring = Ring::new(options)?;
        Ok(Self::with(IoUringEngine::SingleShot, options.clone(), ring))
    }

    pub(crate) fn tuned(options: &EngineOptions) -> Result<Self, BackendError> {
        let (ring, options) = techniques::set_up(options)?;
        Ok(Self::with(IoUringEngine::Tuned, options, ring))
    }

    /// Runs an engine on a given ring, such as a simulated one.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn on_ring(ring: Ring, is_tuned: bool, options: &EngineOptions) -> Self {
        let engine = if is_tuned { IoUringEngine::Tuned } else { IoUringEngine::SingleShot };
        Self::with(engine, options.clone(), ring)
    }

    fn with(engine: IoUringEngine, options: EngineOptions, ring: Ring) -> Self {
        let name = name_of(engine, &ring);
        Self { engine, options, name, ring: Some(ring) }
    }

    fn take_ring(&mut self) -> Result<Ring, BackendError> {
        match (self.ring.take(), self.engine) {
            (Some(ring), _) => Ok(ring),
            (None, IoUringEngine::SingleShot) => Ring::new(&self.options),
            (None, IoUringEngine::Tuned) => Ok(techniques::set_up(&self.options)?.0),
        }
    }
}

/// Returns the start-line name, which mentions what an older kernel makes the engine do otherwise.
fn name_of(engine: IoUringEngine, ring: &Ring) -> &'static str {
    match (engine, ring.shutdown_by_call()) {
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

impl Backend for IoUringBackend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn techniques(&self) -> Vec<&'static str> {
        match self.engine {
            IoUringEngine::SingleShot => Vec::new(),
            IoUringEngine::Tuned => self.options.techniques.names(),
        }
    }

    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError> {
        let worker = Worker::new(options, protocol, coarse_clock_ms());
        let ring = self.take_ring()?;
        match self.engine {
            IoUringEngine::SingleShot => single_shot::SingleShot::new(worker, ring)?.run(),
            IoUringEngine::Tuned => tuned::Tuned::new(worker, ring, &self.options)?.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use ::io_uring::opcode;

    use super::*;
    use crate::io_uring::faults::{Plan, set_plan};

    #[test]
    fn fallback_to_shutdown_call_is_in_the_name() {
        let test = "io_uring::tests::fallback_to_shutdown_call_is_in_the_name";
        if faults::tests::skip_if_refused(test) {
            return;
        }
        set_plan(Plan { missing: vec![opcode::Shutdown::CODE], ..Plan::default() });
        let backend = IoUringBackend::single_shot(&EngineOptions::default()).unwrap();
        assert!(backend.name().ends_with("shutdown(2) instead of IORING_OP_SHUTDOWN"));
        // The backend is refused for an operation that no system call replaces.
        set_plan(Plan { missing: vec![opcode::Send::CODE], ..Plan::default() });
        let refused =
            IoUringBackend::single_shot(&EngineOptions::default()).err().unwrap().to_string();
        assert!(refused.contains("IORING_OP_SEND") && refused.contains("5.10"), "{refused}");
        set_plan(Plan::default());
    }
}
