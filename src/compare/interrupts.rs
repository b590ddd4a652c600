//! Signals that end a comparison early.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::failure::Failure;
use crate::stop_signals::stop_signals;

/// Handlers of the signals. The rounds measured so far are still evaluated.
pub(super) struct Interrupts {
    /// Set by the first signal.
    pub(super) flag: Arc<AtomicBool>,
    registered: Vec<signal_hook::SigId>,
}

impl Interrupts {
    /// Registers the handlers until the value is dropped.
    ///
    /// # Errors
    /// If a handler cannot be registered.
    pub(super) fn watch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let mut registered = Vec::new();
        for signal in stop_signals() {
            let id = signal_hook::flag::register(signal, Arc::clone(&flag))
                .map_err(|error| Failure::Run(format!("ringpoll compare: signals: {error}")))?;
            registered.push(id);
        }
        Ok(Self { flag, registered })
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
