//! How far an experiment is, for whoever waits for it: on standard error, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line that is drawn between rounds. Nothing draws while a round is measured: that would be a
/// thread of ours on the client's processor.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// For one experiment. `name` stands before its line.
    pub fn new(name: &str) -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{prefix}{bar:24} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Self { bar }
    }

    /// Nobody sees it.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// So many rounds will be run.
    pub fn expect(&self, rounds: usize) {
        self.bar.set_length(rounds as u64);
    }

    /// What is done now.
    pub fn say(&self, message: String) {
        self.bar.set_message(message);
        self.bar.tick();
    }

    /// So many rounds are done; so much time is left at most.
    pub fn rounds_done(&self, rounds: usize, block: usize, blocks: usize, left: Duration) {
        self.bar.inc(rounds as u64);
        let seconds = left.as_secs();
        self.say(format!("block {block} of {blocks} at most, {seconds} s left"));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
