//! Plot of a ratio and its interval in a table row. All rows of a table share one axis.

use maud::{Markup, html};

use super::numbers::{JsonPath, ratio_text};
use super::plot::pixels;
use super::scale::{Scale, ratio_ticks, tick_text};
use crate::report::labels::verdict_label;
use crate::result::{Metric, MetricResult, Verdict};

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 34.0;
const HEADER_HEIGHT: f64 = 40.0;
/// Space for the arrow of a value beyond the axis.
const MARGIN: f64 = 14.0;
/// Smallest and largest end of the axis. Values beyond it are drawn as arrows.
const REACH: (f64, f64) = (1.03, 3.0);

/// Axis of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct RatioAxis {
    scale: Scale,
    negligible: f64,
}

impl RatioAxis {
    /// Chooses an axis for the intervals of CPU time and throughput, and of other metrics that are
    /// not much wider. Tail latencies and counts with large ratios or intervals get arrows, so that
    /// small differences of the cost stay visible.
    pub(super) fn over<'results>(
        results: impl Iterator<Item = &'results MetricResult> + Clone,
        negligible: f64,
    ) -> Self {
        let reach_of = |result: &MetricResult| {
            let ends = [result.low, result.high].into_iter().flatten();
            ends.map(|end| end.max(1.0 / end)).fold(1.0, f64::max)
        };
        use Metric::{BytesThroughput, CpuPerGib, CpuPerRequest, Throughput};
        let costs = |it: &&MetricResult| {
            matches!(it.metric, CpuPerRequest | Throughput | CpuPerGib | BytesThroughput)
        };
        let reach = match results.clone().filter(costs).map(reach_of).reduce(f64::max) {
            Some(costs) => {
                let most = costs.powi(2).max(1.1);
                results.map(reach_of).filter(|it| *it <= most).fold(costs, f64::max)
            }
            None => results.map(reach_of).fold(1.0, f64::max),
        };
        let reach = (reach * 1.02).max(1.0 + 3.0 * negligible).clamp(REACH.0, REACH.1);
        let scale = Scale::logarithmic((1.0 / reach, reach), (MARGIN, WIDTH - MARGIN));
        Self { scale, negligible }
    }

    /// Draws the axis for the table header.
    pub(super) fn header(&self, less: &str, more: &str) -> Markup {
        let bottom = HEADER_HEIGHT;
        html! {
            svg.ratio width=(WIDTH) height=(HEADER_HEIGHT) role="img" aria-label="Axis of the ratios" {
                (self.band(bottom - 6.0, 6.0))
                text.name x=(MARGIN) y="12" { "← " (less) }
                text.name.end x=(WIDTH - MARGIN) y="12" { (more) " →" }
                g.ticks {
                    @for tick in ratio_ticks(&self.scale, 34.0) {
                        @let x = pixels(self.scale.at(tick));
                        path.tick d={ "M" (x) " " (bottom - 6.0) "V" (bottom) } {}
                        text.middle x=(x) y=(bottom - 9.0) { (tick_text(tick)) }
                    }
                }
            }
        }
    }

    fn band(&self, top: f64, height: f64) -> Markup {
        let from = self.scale.at(1.0 / (1.0 + self.negligible));
        let to = self.scale.at(1.0 + self.negligible);
        html! {
            rect.band x=(pixels(from)) y=(top) width=(pixels(to - from)) height=(height) {}
        }
    }

    /// Draws the mark of one row. `noise` is the same metric of the control.
    pub(super) fn mark(
        &self,
        json: &JsonPath,
        result: &MetricResult,
        noise: Option<&MetricResult>,
    ) -> Markup {
        let one = pixels(self.scale.at(1.0));
        html! {
            svg.ratio width=(WIDTH) height=(HEIGHT) role="img" aria-label=(description(result)) {
                title { (description(result)) }
                (self.band(0.0, HEIGHT))
                path.one d={ "M" (one) " 0V" (HEIGHT) } {}
                @if let Some((low, high)) = noise.and_then(|it| it.low.zip(it.high)) {
                    @let (from, to) = (self.scale.at(low), self.scale.at(high));
                    rect.noise x=(pixels(from)) y=(HEIGHT - 8.0) width=(pixels(to - from)) height="3" {}
                }
                @let interval = result.low.zip(result.high);
                @if let (Some(ratio), Some((low, high))) = (result.ratio, interval) {
                    g class=(verdict_class(result.verdict)) {
                        (self.interval(ratio, low, high))
                        (self.point(json, result.verdict, ratio))
                    }
                }
            }
        }
    }

    fn interval(&self, ratio: f64, low: f64, high: f64) -> Markup {
        let (from, to) = (self.scale.at(low), self.scale.at(high));
        let middle = HEIGHT / 2.0 - 2.0;
        // An interval that continues beyond the axis ends with an arrow, unless the mark is one.
        let cap = |value: f64, x: f64| {
            let (x, back) = (pixels(x), if value < 1.0 { 5 } else { -5 });
            html! {
                @if self.scale.holds(value) {
                    path.interval d={ "M" (x) " " (middle - 4.0) "v8" } {}
                } @else if self.scale.holds(ratio) {
                    path.interval d={ "M" (x) " " (middle) "m" (back) " -4l" (-back) " 4l" (back) " 4" } {}
                }
            }
        };
        html! {
            path.interval d={ "M" (pixels(from)) " " (middle) "H" (pixels(to)) } {}
            (cap(low, from)) (cap(high, to))
        }
    }

    fn point(&self, json: &JsonPath, verdict: Verdict, ratio: f64) -> Markup {
        let (x, y) = (self.scale.at(ratio), HEIGHT / 2.0 - 2.0);
        let path = if self.scale.holds(ratio) {
            verdict_shape(verdict, x, y)
        } else {
            let back = if ratio < 1.0 { 8.0 } else { -8.0 };
            let tip = x - back * 1.2;
            format!("M{tip:.2} {y:.2}l{back} -5v10z")
        };
        html! {
            path.point data-value=(ratio) data-from=(json.at("ratio")) data-x=(pixels(x)) d=(path) {}
        }
    }
}

/// Returns the shape of a verdict: circle, diamond, square, hollow circle or cross.
fn verdict_shape(verdict: Verdict, x: f64, y: f64) -> String {
    let arm = match verdict {
        Verdict::Better => 0,
        Verdict::Worse => 3,
        Verdict::NoDifference => 1,
        Verdict::Inconclusive => 0,
        Verdict::NotCompared => 4,
    };
    super::arm_marks::shape(arm, x, y, 5.0)
}

/// Returns the CSS class of the colour of a verdict.
pub(super) const fn verdict_class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::NoDifference => "same",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotCompared => "not-compared",
    }
}

fn description(result: &MetricResult) -> String {
    let verdict = verdict_label(result);
    match (result.ratio, result.low, result.high) {
        (Some(ratio), Some(low), Some(high)) => format!(
            "{}: ratio {}, between {} and {}: {verdict}",
            result.metric.label(),
            ratio_text(ratio),
            ratio_text(low),
            ratio_text(high),
        ),
        _ => format!("{}: {verdict}", result.metric.label()),
    }
}
