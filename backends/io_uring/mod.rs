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
    name: &'static str,
    /// Made when the backend is opened, so that a refusal comes before anything else; taken
    /// by the first run.
    ring: Option<Ring>,
}

impl IoUringBackend {
    pub(crate) fn new(options: &EngineOptions) -> Result<Self, BackendError> {
        let ring = Ring::new(options)?;
        Ok(Self { options: options.clone(), name: name_of(&ring), ring: Some(ring) })
    }

    /// The same over a ring that is not the kernel's.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(ring: Ring) -> Self {
        Self { options: EngineOptions::default(), name: name_of(&ring), ring: Some(ring) }
    }
}

/// What it is called, with what it does in another way on an older kernel.
fn name_of(ring: &Ring) -> &'static str {
    if ring.shuts_by_call() {
        "io_uring, single shot, shutdown(2) in place of IORING_OP_SHUTDOWN"
    } else {
        "io_uring, single shot"
    }
}

impl Backend for IoUringBackend {
    fn name(&self) -> &'static str {
        self.name
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

#[cfg(test)]
mod tests {
    use ::io_uring::opcode;

    use super::*;
    use crate::io_uring::faults::{Plan, set_plan};

    #[test]
    fn what_it_does_in_another_way_is_in_its_name() {
        let test = "io_uring::tests::what_it_does_in_another_way_is_in_its_name";
        if faults::tests::is_refused(test) {
            return;
        }
        set_plan(Plan { missing: vec![opcode::Shutdown::CODE], ..Plan::default() });
        let reduced = IoUringBackend::new(&EngineOptions::default()).unwrap();
        assert!(reduced.name().ends_with("shutdown(2) in place of IORING_OP_SHUTDOWN"));
        // What no call can do in its place is a reason to refuse, and is named.
        set_plan(Plan { missing: vec![opcode::Send::CODE], ..Plan::default() });
        let refused = IoUringBackend::new(&EngineOptions::default()).err().unwrap().to_string();
        assert!(refused.contains("IORING_OP_SEND") && refused.contains("5.10"), "{refused}");
        set_plan(Plan::default());
    }
}
