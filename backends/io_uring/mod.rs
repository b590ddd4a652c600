//! The same life on io_uring.

pub mod capabilities;
mod drain;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod faults;
#[cfg(debug_assertions)]
mod guarded_buffers;
mod recv_slab;
pub(crate) mod ring;
mod single_shot;
mod techniques;
mod tuned;

use crate::backend::{Backend, EngineOptions, Report, Worker};
use crate::error::BackendError;
use ring::Ring;
pub use techniques::Techniques;

/// Which of the engines.
#[derive(Clone, Copy)]
enum Style {
    SingleShot,
    Tuned,
}

pub(crate) struct IoUringBackend {
    style: Style,
    /// Those in force: what was asked for less what the kernel does not have.
    options: EngineOptions,
    /// Made when the backend is opened, so that a refusal comes before anything else; taken
    /// by the first run.
    ring: Option<Ring>,
}

impl IoUringBackend {
    pub(crate) fn single_shot(options: &EngineOptions) -> Result<Self, BackendError> {
        let ring = Some(Ring::new(options)?);
        Ok(Self { style: Style::SingleShot, options: options.clone(), ring })
    }

    pub(crate) fn tuned(options: &EngineOptions) -> Result<Self, BackendError> {
        let (ring, options) = techniques::set_up(options)?;
        Ok(Self { style: Style::Tuned, options, ring: Some(ring) })
    }

    /// The same over a ring that is not the kernel's.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(ring: Ring, is_tuned: bool, options: &EngineOptions) -> Self {
        let style = if is_tuned { Style::Tuned } else { Style::SingleShot };
        Self { style, options: options.clone(), ring: Some(ring) }
    }

    fn next_ring(&mut self) -> Result<Ring, BackendError> {
        match (self.ring.take(), self.style) {
            (Some(ring), _) => Ok(ring),
            (None, Style::SingleShot) => Ring::new(&self.options),
            (None, Style::Tuned) => Ok(techniques::set_up(&self.options)?.0),
        }
    }
}

impl Backend for IoUringBackend {
    fn name(&self) -> &'static str {
        match self.style {
            Style::SingleShot => "io_uring, single shot",
            Style::Tuned => "io_uring, tuned",
        }
    }

    fn techniques(&self) -> Vec<&'static str> {
        match self.style {
            Style::SingleShot => Vec::new(),
            Style::Tuned => self.options.techniques.names(),
        }
    }

    fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
        worker.check()?;
        let ring = self.next_ring()?;
        match self.style {
            Style::SingleShot => single_shot::SingleShot::new(worker, ring)?.run(),
            Style::Tuned => tuned::Tuned::new(worker, ring, &self.options)?.run(),
        }
    }
}
