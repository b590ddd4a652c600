//! The signals that stop a measurement. It then writes its output, or removes the empty file.

use std::fs;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Returns the signals. SIGHUP is one of them unless it is ignored, as under nohup(1).
pub fn stop_signals() -> impl Iterator<Item = i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let ignores_hangup = ignored >> (SIGHUP - 1) & 1 == 1;
    let signals = [SIGINT, SIGTERM, SIGQUIT, SIGHUP].into_iter();
    signals.filter(move |&signal| !(signal == SIGHUP && ignores_hangup))
}
