//! The epoll engines: the two reference programs, and a tuned one.

mod edge;
mod level;
mod syscalls;
mod tuned;

use crate::backend::{Backend, EngineOptions};
use crate::clock::coarse_clock_ms;
use crate::error::BackendError;
use crate::protocol::Protocol;
use crate::worker::{Report, Worker, WorkerOptions};

/// An epoll engine.
#[derive(Clone, Copy)]
pub(crate) enum EpollEngine {
    /// Level-triggered: readiness is reported on every wait.
    Level,
    /// Edge-triggered: readiness is reported when it changes (EPOLLET).
    Edge,
    /// Tries each system call first, and waits only after EAGAIN.
    Tuned,
}

pub(crate) struct EpollBackend {
    engine: EpollEngine,
    options: EngineOptions,
}

impl EpollBackend {
    pub(crate) fn new(engine: EpollEngine, options: &EngineOptions) -> Self {
        Self { engine, options: options.clone() }
    }
}

impl Backend for EpollBackend {
    fn name(&self) -> &'static str {
        match self.engine {
            EpollEngine::Level => "epoll, level-triggered",
            EpollEngine::Edge => "epoll, edge-triggered",
            EpollEngine::Tuned => "epoll, tuned",
        }
    }

    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError> {
        let worker = Worker::new(options, protocol, coarse_clock_ms());
        match self.engine {
            EpollEngine::Level => level::Level::new(worker, &self.options)?.run(),
            EpollEngine::Edge => edge::Edge::new(worker, &self.options)?.run(),
            EpollEngine::Tuned => tuned::Tuned::new(worker, &self.options)?.run(),
        }
    }
}
