//! The epoll engines: the two reference programs, and a tuned one.

mod edge;
mod level;
mod syscalls;
mod tuned;

use std::marker::PhantomData;

use crate::backend::Backend;
use crate::engine_options::EngineOptions;
use crate::error::BackendError;
use crate::kernel::Kernel;
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

pub(crate) struct EpollBackend<K: Kernel> {
    _kernel: PhantomData<K>,
    engine: EpollEngine,
    options: EngineOptions,
}

impl<K: Kernel> EpollBackend<K> {
    pub(crate) fn new(engine: EpollEngine, options: &EngineOptions) -> Self {
        Self { engine, options: options.clone(), _kernel: PhantomData }
    }
}

impl<K: Kernel> Backend for EpollBackend<K> {
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
        let worker = Worker::new(options, protocol, K::coarse_clock_ms());
        match self.engine {
            EpollEngine::Level => level::Level::<K, P>::new(worker, &self.options)?.run(),
            EpollEngine::Edge => edge::Edge::<K, P>::new(worker, &self.options)?.run(),
            EpollEngine::Tuned => tuned::Tuned::<K, P>::new(worker, &self.options)?.run(),
        }
    }
}
