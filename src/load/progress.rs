//! A progress bar on standard error, if that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::control::Control;
use super::plan::Plan;
use super::units::count;

/// Interval of updates. It is long because drawing may use the client's CPU.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);

const TEMPLATE: &str = "{prefix} [{bar:30}] {msg}";

pub(super) struct Progress<'run> {
    plan: &'run Plan,
    control: &'run Control,
    bar: ProgressBar,
    measuring_since: Option<Instant>,
}

impl<'run> Progress<'run> {
    pub(super) fn new(plan: &'run Plan, control: &'run Control) -> Self {
        let style = ProgressStyle::with_template(TEMPLATE).expect("a valid template");
        let bar = ProgressBar::new(1000).with_style(style.progress_chars("=> "));
        bar.set_prefix("warm-up");
        Self { plan, control, bar, measuring_since: None }
    }

    pub(super) fn draw(&mut self) {
        if !self.control.is_measuring() {
            return self.bar.tick();
        }
        let elapsed = self.measuring_since.get_or_insert_with(Instant::now).elapsed();
        let (completed, failed) = (self.control.completed(), self.control.failed());
        let fraction = completed_fraction(self.plan, elapsed, completed + failed);
        self.bar.set_prefix("load");
        self.bar.set_position((fraction * 1000.0) as u64);
        self.bar.set_message(format!("{} requests · {} failed", count(completed), count(failed)));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the part that is done, from 0 to 1, by time or by requests, whichever is larger.
fn completed_fraction(plan: &Plan, elapsed: Duration, requests: u64) -> f64 {
    let by_time = elapsed.as_secs_f64() / plan.max_duration().as_secs_f64();
    let by_requests = plan.requests.map_or(0.0, |all| requests as f64 / all as f64);
    by_time.max(by_requests).min(1.0)
}
