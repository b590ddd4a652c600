//! SIGINT and SIGTERM: the first asks for the stop, the second is the end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use ringpoll_backends::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::console::say;

const STOPPING: [i32; 2] = [SIGINT, SIGTERM];

/// Watches from now on, on a thread of its own. SIGHUP is left as it was.
///
/// # Errors
/// When the process is out of descriptors or threads.
pub(super) fn watch(stop: Stop, drain_timeout_ms: u64) -> io::Result<()> {
    let once = Arc::new(AtomicBool::new(false));
    for signal in STOPPING {
        // In this order: the first signal finds the flag down and raises it, the second finds it
        // up and ends the process right in the handler, whatever the threads are doing.
        flag::register_conditional_default(signal, Arc::clone(&once))?;
        flag::register(signal, Arc::clone(&once))?;
    }
    let mut signals = Signals::new(STOPPING)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if signals.forever().next().is_some() {
            stop.request();
            say(format_args!(
                "stopping, after {drain_timeout_ms} ms at the latest; a second signal ends it now"
            ));
        }
    })?;
    Ok(())
}
