//! Histories of the engines on the simulated kernel.

use std::sync::Once;

use ringpoll_backends::Variant;
use ringpoll_backends::simulation::run_history;

/// The first byte names the engine, the others decide what happens.
pub fn histories(bytes: &[u8]) {
    static ONCE: Once = Once::new();
    // Rust's runtime does so before `main`, but libFuzzer has a `main` of its own.
    ONCE.call_once(|| {
        // SAFETY: a signal that is ignored runs no code of ours.
        let _ = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    });
    let Some((&first, history)) = bytes.split_first() else { return };
    let variant = Variant::ALL[usize::from(first) % Variant::ALL.len()];
    run_history(variant, history);
}
