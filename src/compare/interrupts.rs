//! What asks for an early end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::Failure;

/// Ctrl-C and SIGTERM: what has been measured so far is judged.
pub(super) struct Interrupts {
    /// Set once somebody has asked for the end.
    pub(super) flag: Arc<AtomicBool>,
    registered: Vec<signal_hook::SigId>,
}

impl Interrupts {
    /// Watches until it is dropped.
    ///
    /// # Errors
    /// When the signals cannot be watched.
    pub(super) fn watch() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let mut registered = Vec::new();
        for signal in [SIGINT, SIGTERM] {
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
