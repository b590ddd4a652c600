//! The live view of an experiment. It is drawn between slices, when nothing is measured: a thread
//! of its own would use the client's CPU.

use std::time::{Duration, Instant};

use super::arm::PreparedArm;
use super::client::LoadModel;
use super::explanation::{format_change, format_thousands};
use crate::console::{LiveView, PLAIN_INTERVAL, REDRAW_INTERVAL};
use crate::result::MetricResult;

/// The live view of one experiment.
pub struct Progress {
    view: LiveView,
    /// The load or the swept value, if the comparison has several.
    title: Option<String>,
    /// The end of the budget.
    end: Instant,
    phase: String,
    /// The groups of fields of the intervals so far.
    intervals: Vec<Vec<String>>,
    intervals_at: Option<Instant>,
}

impl Progress {
    /// Creates the view of an experiment that starts now.
    pub fn new(title: Option<String>, budget: Duration) -> Self {
        Self {
            view: LiveView::new("ringpoll compare", PLAIN_INTERVAL),
            title,
            end: Instant::now() + budget,
            phase: "calibrating".to_owned(),
            intervals: Vec::new(),
            intervals_at: None,
        }
    }

    /// Sets the phase to this block.
    pub fn set_block(&mut self, block: usize, planned_blocks: usize) {
        self.phase = format!("block {block} of {planned_blocks}");
    }

    /// Returns true if the intervals are older than an update: computing them takes time.
    pub fn needs_intervals(&self) -> bool {
        let interval = if self.view.is_terminal() { REDRAW_INTERVAL } else { PLAIN_INTERVAL };
        self.intervals_at.is_none_or(|at| at.elapsed() >= interval)
    }

    /// Sets the intervals of the primary metric, each with the labels of candidate and baseline.
    pub fn set_intervals(&mut self, results: &[(&str, &str, MetricResult)]) {
        self.intervals_at = Some(Instant::now());
        self.intervals = results.iter().filter_map(interval_fields).collect();
        if let Some((.., result)) = results.first().filter(|_| !self.intervals.is_empty()) {
            let header = [result.metric.label(), "so far", "not yet a verdict"];
            self.intervals.insert(0, header.map(str::to_owned).into());
        }
    }

    /// Draws the view if that is due; `activity` is what happens to the server of this arm.
    pub fn update(&mut self, activity: &str, arm: &PreparedArm, model: LoadModel) {
        if !self.view.is_due_within(Duration::ZERO) {
            return;
        }
        let left = self.end.saturating_duration_since(Instant::now()).as_secs();
        let phase = [self.phase.clone(), format!("{} s left", format_thousands(left as f64))];
        let level = match model {
            LoadModel::OpenLoop(rate) => format!("{} requests/s", format_thousands(rate)),
            LoadModel::ClosedLoop => "saturation".to_owned(),
        };
        let mut groups = vec![self.title.iter().cloned().chain(phase).collect()];
        groups.push(vec![format!("{activity} {}", arm.description.label), level]);
        groups.extend(self.intervals.iter().cloned());
        self.view.draw(&groups);
    }
}

/// Returns for example `io_uring:tuned over epoll:tuned`, `−12.3%`, `[−15.1%, −9.4%]`.
fn interval_fields(
    (candidate, baseline, result): &(&str, &str, MetricResult),
) -> Option<Vec<String>> {
    let change = |ratio: Option<f64>| ratio.map(|it| format!("{}%", format_change(it)));
    let interval = format!("[{}, {}]", change(result.low)?, change(result.high)?);
    Some(vec![format!("{candidate} over {baseline}"), change(result.ratio)?, interval])
}
