//! The table of an arm against the first: metric by metric, with its ratio drawn beside it.

use maud::{Markup, html};

use super::figure::{self, Place};
use super::ratio::{RatioAxis, verdict_class};
use crate::compare::words::{at_point, percentage};
use crate::report::result::{
    Comparison, ComparisonResult, Experiment, MetricResult, Point, Verdict,
};
use crate::report::verdict_words::{verdict_sign, verdict_words};

/// The whole table with what explains its signs.
pub(super) fn table(
    result: &ComparisonResult,
    experiment: &Experiment,
    at: usize,
    place: &Place,
) -> Markup {
    let comparison = &experiment.comparisons[at];
    let axis = RatioAxis::over(comparison.metrics.iter(), result.method.negligible);
    let place = place.at("comparisons").at(at).at("metrics");
    html! {
        div.scroll {
            table.metrics {
                (head(result, comparison, &axis))
                @for point in points(comparison) {
                    @let shared = shared_reason(comparison, point);
                    tbody {
                        tr.point {
                            th colspan="7" scope="rowgroup" {
                                (at_point(point, &experiment.working_points))
                                @if let Some(reason) = shared {
                                    span.reason { " – not judged: " (reason) }
                                }
                            }
                        }
                        @for (index, metric) in comparison.metrics.iter().enumerate() {
                            @if metric.point == point {
                                (row(experiment, metric, &place.at(index), &axis, shared.is_none()))
                            }
                        }
                    }
                }
            }
        }
        (key(result))
    }
}

fn points(comparison: &Comparison) -> Vec<Point> {
    let mut points: Vec<Point> = comparison.metrics.iter().map(|it| it.point).collect();
    points.dedup();
    points
}

/// The reason for which nothing at a point can be judged, if there is one for all.
fn shared_reason(comparison: &Comparison, point: Point) -> Option<&str> {
    let mut metrics = comparison.metrics.iter().filter(|it| it.point == point);
    let none = |it: &MetricResult| it.verdict == Verdict::NotJudgeable;
    let first = metrics.next().filter(|it| none(it))?.reason.as_deref()?;
    metrics.all(|it| none(it) && it.reason.as_deref() == Some(first)).then_some(first)
}

fn head(result: &ComparisonResult, comparison: &Comparison, axis: &RatioAxis) -> Markup {
    let label = |arm: usize| &result.arms[arm].label;
    let (first, other) = (label(comparison.baseline), label(comparison.contender));
    html! {
        caption { (other) " over " (first) }
        thead {
            tr {
                th scope="col" { "metric" }
                th.number scope="col" { (first) }
                th.number scope="col" { (other) }
                th.picture scope="col" { (axis.header("less", "more")) }
                th.number scope="col" { "ratio" }
                th.number scope="col" { "interval" }
                th scope="col" { "verdict" }
            }
        }
    }
}

fn row(
    experiment: &Experiment,
    metric: &MetricResult,
    place: &Place,
    axis: &RatioAxis,
    with_reason: bool,
) -> Markup {
    let same = |it: &&MetricResult| (it.metric, it.point) == (metric.metric, metric.point);
    let noise = experiment.control.metrics.iter().find(same);
    let unit = metric.metric.unit();
    // Among the gates, right above the table.
    let told = experiment.gates.iter().any(|gate| Some(&gate.reason) == metric.reason.as_ref());
    html! {
        tr.decides[metric.decides] {
            th scope="row" {
                (metric.metric.words())
                @if !unit.is_empty() { span.unit { ", " (unit) } }
                @if metric.decides { " " span.tag { "decides" } }
            }
            td.number { (figure::of_metric(&place.at("baseline"), metric.metric, metric.baseline)) }
            td.number { (figure::of_metric(&place.at("contender"), metric.metric, metric.contender)) }
            td.picture { (axis.mark(place, metric, noise)) }
            td.number { (figure::ratio(&place.at("ratio"), metric.ratio)) }
            td.number { (interval(place, metric)) }
            td { (verdict(metric)) @if with_reason && !told { (reason(metric)) } }
        }
    }
}

/// `0.851 – 0.885`.
pub(super) fn interval(place: &Place, metric: &MetricResult) -> Markup {
    if metric.low.is_none() || metric.high.is_none() {
        return figure::nothing();
    }
    html! {
        (figure::ratio(&place.at("low"), metric.low)) " – "
        (figure::ratio(&place.at("high"), metric.high))
    }
}

/// The verdict with its sign.
pub(super) fn verdict(metric: &MetricResult) -> Markup {
    html! {
        span class={ "says " (verdict_class(metric.verdict)) } {
            span.sign aria-hidden="true" { (verdict_sign(metric.verdict)) }
            " " (verdict_words(metric))
        }
    }
}

/// Why there is no verdict.
pub(super) fn reason(metric: &MetricResult) -> Markup {
    html! {
        @if metric.verdict == Verdict::NotJudgeable {
            @if let Some(reason) = &metric.reason { div.reason { (reason) } }
        }
    }
}

fn key(result: &ComparisonResult) -> Markup {
    html! {
        p.key {
            span.swatch.band aria-hidden="true" {} " a difference within "
            (percentage(result.method.negligible)) " is none. "
            span.swatch.noise aria-hidden="true" {}
            " the first arm against itself: the noise. Marks: ● better or, hollow, inconclusive; "
            "◆ worse; ■ no difference; ✚ not judged; ◀ ▶ beyond the axis. All intervals hold "
            "together, "
            (percentage(result.method.confidence)) " sure."
        }
    }
}
