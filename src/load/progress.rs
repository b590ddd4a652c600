//! The live view of a load.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::control::{Control, Snapshot};
use super::plan::Plan;
use super::units::{count, time};
use crate::console::{LiveView, PLAIN_INTERVAL, REDRAW_INTERVAL};

/// The time over which the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(1);

pub(super) struct Progress<'run> {
    plan: &'run Plan,
    control: &'run Control,
    view: LiveView,
    measuring_since: Option<Instant>,
    /// Completed requests at earlier updates: the first is the start of the rate's window.
    completed: VecDeque<(Instant, u64)>,
    snapshot: Option<Snapshot>,
}

impl<'run> Progress<'run> {
    pub(super) fn new(plan: &'run Plan, control: &'run Control) -> Self {
        Self {
            plan,
            control,
            view: LiveView::new("ringpoll load", PLAIN_INTERVAL),
            measuring_since: None,
            completed: VecDeque::new(),
            snapshot: None,
        }
    }

    /// Draws the view if that is due. To be called at [`REDRAW_INTERVAL`].
    pub(super) fn update(&mut self) {
        let is_due = self.view.is_due_within(Duration::ZERO);
        if !self.control.is_measuring() {
            if is_due && self.view.is_terminal() {
                self.view.draw(&[vec!["load".to_owned(), "warm-up".to_owned()]]);
            }
            return;
        }
        let now = Instant::now();
        let since = *self.measuring_since.get_or_insert(now);
        let completed = self.control.completed();
        self.completed.push_back((now, completed));
        while self.completed.get(1).is_some_and(|it| now.duration_since(it.0) >= RATE_WINDOW) {
            self.completed.pop_front();
        }
        // A thread that has ended adds nothing: then the snapshot before it is shown.
        let snapshot = self.control.take_snapshot();
        let is_whole = |it: &Snapshot| it.threads == self.plan.threads;
        self.snapshot = snapshot.filter(is_whole).or(self.snapshot.take());
        if is_due {
            self.view.draw(&self.fields(now.duration_since(since), completed));
        }
        // Only for the next update: each snapshot is work for the load threads.
        if self.view.is_due_within(REDRAW_INTERVAL) {
            self.control.request_snapshot();
        }
    }

    fn fields(&self, elapsed: Duration, completed: u64) -> Vec<Vec<String>> {
        let unit =
            if self.plan.request.message_bytes().is_some() { "messages" } else { "requests" };
        let failed = self.control.failed();
        let rate = self.requests_per_second();
        let mut progress = vec!["load".to_owned(), format!("{} {unit}", count(completed))];
        progress.extend(time_left(self.plan, elapsed, completed + failed, rate));
        let mut current = vec![rate.map_or_else(
            || format!("– {unit}/s"),
            |rate| format!("{} {unit}/s", count(rate.round() as u64)),
        )];
        current.extend(self.snapshot.as_ref().map(|it| format!("{} in flight", it.in_flight)));
        current.push(format!("{} failed", count(failed)));
        let mut groups = vec![progress, current];
        let latencies = self.snapshot.as_ref().map(|it| &it.latencies);
        groups.extend(latencies.filter(|it| !it.is_empty()).map(|it| {
            let percentile = |quantile| time(it.value_at_quantile(quantile));
            let percentiles = [("p50", percentile(0.5)), ("p99", percentile(0.99))];
            let percentiles = percentiles.map(|(name, time)| format!("{name} {time}"));
            ["latency so far".to_owned()].into_iter().chain(percentiles).collect()
        }));
        groups
    }

    fn requests_per_second(&self) -> Option<f64> {
        let (first, last) = (self.completed.front()?, self.completed.back()?);
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        (seconds > 0.0).then(|| (last.1 - first.1) as f64 / seconds)
    }
}

/// Returns the time that is left of the plan; without a duration an estimate from the rate.
fn time_left(plan: &Plan, elapsed: Duration, requests: u64, rate: Option<f64>) -> Option<String> {
    let by_time = plan.duration.map(|all| all.saturating_sub(elapsed).as_secs_f64());
    let by_requests = plan.requests.zip(rate.filter(|&rate| rate > 0.0));
    let by_requests = by_requests.map(|(all, rate)| all.saturating_sub(requests) as f64 / rate);
    let left = by_time.into_iter().chain(by_requests).min_by(f64::total_cmp)?;
    Some(format!("{} s left", count(left.ceil() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Request;

    #[test]
    fn time_left_is_that_of_the_duration_or_of_the_requests() {
        let request = Request::get("/", "a", &[]).unwrap();
        let plan = Plan::new(([127, 0, 0, 1], 80).into(), request);
        let left = |plan: &Plan, rate| time_left(plan, Duration::from_millis(2500), 400, rate);
        assert_eq!(left(&plan, None).unwrap(), "8 s left");
        let both = Plan { requests: Some(1000), ..plan };
        assert_eq!(left(&both, Some(100.0)).unwrap(), "6 s left");
        assert_eq!(left(&both, Some(10.0)).unwrap(), "8 s left");
        let requests = Plan { duration: None, ..both };
        assert_eq!(left(&requests, Some(0.5)).unwrap(), "1,200 s left");
        assert_eq!(left(&requests, Some(0.0)), None);
    }
}
