//! The progress bar of an experiment: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar. It is drawn between rounds only: a steady tick would need a thread on the
/// client's CPU.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Creates the bar of one experiment, with `name` as its prefix.
    pub fn new(name: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix}{bar:24} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self { bar }
    }

    /// Sets the expected number of rounds.
    pub fn set_total_rounds(&self, rounds: usize) {
        self.bar.set_length(rounds as u64);
    }

    /// Sets the message and redraws.
    pub fn set_message(&self, message: String) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// Adds completed rounds, and shows the block and the remaining budget.
    pub fn add_rounds(&self, rounds: usize, block: usize, blocks: usize, left: Duration) {
        self.bar.inc(rounds as u64);
        let seconds = left.as_secs();
        self.set_message(format!("block {block} of at most {blocks}, {seconds} s left"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
