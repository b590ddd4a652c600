//! SIGINT and SIGTERM: the first requests a graceful stop, the second kills the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use ringpoll_backends::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::console::eprint_line;

const STOP_SIGNALS: [i32; 2] = [SIGINT, SIGTERM];

/// Handles the signals from now on, on a separate thread. SIGHUP is unchanged.
///
/// # Errors
/// The process is out of descriptors or threads.
pub(super) fn stop_on_signal(stop: Stop, drain_timeout_ms: u64) -> io::Result<()> {
    let once = Arc::new(AtomicBool::new(false));
    for signal in STOP_SIGNALS {
        // Handlers run in this order: the first signal finds the flag false and sets it; the
        // second finds it true and kills the process in the handler, whatever the threads do.
        flag::register_conditional_default(signal, Arc::clone(&once))?;
        flag::register(signal, Arc::clone(&once))?;
    }
    let mut signals = Signals::new(STOP_SIGNALS)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            stop.request();
            eprint_line(format_args!(
                "stopping within {drain_timeout_ms} ms; a second signal stops immediately"
            ));
        }
    })?;
    Ok(())
}
