//! The two engines of the documents, and the choice between them.

mod edge;
mod level;
mod syscalls;

use crate::backend::{Backend, EngineOptions, Report, Worker};
use crate::error::BackendError;

/// What epoll reports: a state, for as long as it lasts, or a change, once.
#[derive(Clone, Copy)]
pub(crate) enum Trigger {
    Level,
    Edge,
}

pub(crate) struct EpollBackend {
    trigger: Trigger,
    options: EngineOptions,
}

impl EpollBackend {
    pub(crate) fn new(trigger: Trigger, options: &EngineOptions) -> Self {
        Self { trigger, options: options.clone() }
    }
}

impl Backend for EpollBackend {
    fn name(&self) -> &'static str {
        match self.trigger {
            Trigger::Level => "epoll, level triggered",
            Trigger::Edge => "epoll, edge triggered",
        }
    }

    fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
        worker.check()?;
        match self.trigger {
            Trigger::Level => level::Level::new(worker, &self.options)?.run(),
            Trigger::Edge => edge::Edge::new(worker, &self.options)?.run(),
        }
    }
}
