//! The same life on io_uring.

pub mod capabilities;
mod completion;
mod drain;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod faults;
#[cfg(debug_assertions)]
mod guarded_buffers;
mod recv_slab;
mod restriction;
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
    name: &'static str,
    /// Made when the backend is opened, so that a refusal comes before anything else; taken
    /// by the first run.
    ring: Option<Ring>,
}

impl IoUringBackend {
    pub(crate) fn single_shot(options: &EngineOptions) -> Result<Self, BackendError> {
        let ring = Ring::new(options)?;
        Ok(Self::with(Style::SingleShot, options.clone(), ring))
    }

    pub(crate) fn tuned(options: &EngineOptions) -> Result<Self, BackendError> {
        let (ring, options) = techniques::set_up(options)?;
        Ok(Self::with(Style::Tuned, options, ring))
    }

    /// The same over a ring that is not the kernel's.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn over(ring: Ring, is_tuned: bool, options: &EngineOptions) -> Self {
        let style = if is_tuned { Style::Tuned } else { Style::SingleShot };
        Self::with(style, options.clone(), ring)
    }

    fn with(style: Style, options: EngineOptions, ring: Ring) -> Self {
        let name = name_of(style, &ring);
        Self { style, options, name, ring: Some(ring) }
    }

    fn next_ring(&mut self) -> Result<Ring, BackendError> {
        match (self.ring.take(), self.style) {
            (Some(ring), _) => Ok(ring),
            (None, Style::SingleShot) => Ring::new(&self.options),
            (None, Style::Tuned) => Ok(techniques::set_up(&self.options)?.0),
        }
    }
}

/// What it is called, with what it does in another way on an older kernel.
fn name_of(style: Style, ring: &Ring) -> &'static str {
    match (style, ring.shuts_by_call()) {
        (Style::SingleShot, false) => "io_uring, single shot",
        (Style::SingleShot, true) => {
            "io_uring, single shot, shutdown(2) in place of IORING_OP_SHUTDOWN"
        }
        (Style::Tuned, false) => "io_uring, tuned",
        (Style::Tuned, true) => "io_uring, tuned, shutdown(2) in place of IORING_OP_SHUTDOWN",
    }
}

impl Backend for IoUringBackend {
    fn name(&self) -> &'static str {
        self.name
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
        let reduced = IoUringBackend::single_shot(&EngineOptions::default()).unwrap();
        assert!(reduced.name().ends_with("shutdown(2) in place of IORING_OP_SHUTDOWN"));
        // What no call can do in its place is a reason to refuse, and is named.
        set_plan(Plan { missing: vec![opcode::Send::CODE], ..Plan::default() });
        let refused =
            IoUringBackend::single_shot(&EngineOptions::default()).err().unwrap().to_string();
        assert!(refused.contains("IORING_OP_SEND") && refused.contains("5.10"), "{refused}");
        set_plan(Plan::default());
    }
}
