//! The two engines of the documents, the one that leaves out what they do in vain, and the choice
//! between them.

mod edge;
mod level;
mod syscalls;
mod tuned;

use crate::backend::{Backend, EngineOptions, Report, Worker};
use crate::error::BackendError;

/// Which of them.
#[derive(Clone, Copy)]
pub(crate) enum Style {
    /// epoll reports a state, for as long as it lasts.
    Level,
    /// epoll reports a change, once.
    Edge,
    /// epoll is asked only when a step could not be taken.
    Tuned,
}

pub(crate) struct EpollBackend {
    style: Style,
    options: EngineOptions,
}

impl EpollBackend {
    pub(crate) fn new(style: Style, options: &EngineOptions) -> Self {
        Self { style, options: options.clone() }
    }
}

impl Backend for EpollBackend {
    fn name(&self) -> &'static str {
        match self.style {
            Style::Level => "epoll, level triggered",
            Style::Edge => "epoll, edge triggered",
            Style::Tuned => "epoll, tuned",
        }
    }

    fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
        worker.check()?;
        match self.style {
            Style::Level => level::Level::new(worker, &self.options)?.run(),
            Style::Edge => edge::Edge::new(worker, &self.options)?.run(),
            Style::Tuned => tuned::Tuned::new(worker, &self.options)?.run(),
        }
    }
}
