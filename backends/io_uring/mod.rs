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

use crate::backend::{Backend, EngineOptions, Report, Worker};
use crate::error::BackendError;
use ring::Ring;

pub(crate) struct IoUringBackend {
    options: EngineOptions,
    /// Made when the backend is opened, so that a refusal comes before anything else; taken
    /// by the first run.
    ring: Option<Ring>,
}

impl IoUringBackend {
    pub(crate) fn new(options: &EngineOptions) -> Result<Self, BackendError> {
        Ok(Self { options: options.clone(), ring: Some(Ring::new(options)?) })
    }

    /// The same over a ring that is not the kernel's.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(ring: Ring) -> Self {
        Self { options: EngineOptions::default(), ring: Some(ring) }
    }
}

impl Backend for IoUringBackend {
    fn name(&self) -> &'static str {
        "io_uring, single shot"
    }

    fn run(&mut self, worker: Worker) -> Result<Report, BackendError> {
        worker.check()?;
        let ring = match self.ring.take() {
            Some(ring) => ring,
            None => Ring::new(&self.options)?,
        };
        single_shot::SingleShot::new(worker, ring)?.run()
    }
}
