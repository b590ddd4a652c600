//! Engines on the simulated kernel.

use std::sync::Once;

use ringpoll_backends::Variant;
use simulation::run_history;

/// Runs a history. The first byte selects the engine, the others are the history.
pub fn histories(bytes: &[u8]) {
    static ONCE: Once = Once::new();
    // Rust's runtime ignores SIGPIPE before `main`, but libFuzzer defines its own `main`.
    ONCE.call_once(|| {
        // SAFETY: an ignored signal runs no handler.
        let _ = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    });
    let Some((&first, history)) = bytes.split_first() else { return };
    let variant = Variant::ALL[usize::from(first) % Variant::ALL.len()];
    run_history(variant, history);
}
