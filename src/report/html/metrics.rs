//! Table of the metrics of an arm compared with the first, with plots of the ratios.

use maud::{Markup, html};

use super::numbers::{self, JsonPath};
use super::ratio::{RatioAxis, verdict_class};
use crate::compare::explanation::{at_load_level, format_percentage};
use crate::report::labels::{verdict_label, verdict_sign};
use crate::result::{Comparison, ComparisonResult, Experiment, LoadLevel, MetricResult, Verdict};

/// Returns the table and its legend.
pub(super) fn table(
    result: &ComparisonResult,
    experiment: &Experiment,
    at: usize,
    json: &JsonPath,
) -> Markup {
    let comparison = &experiment.comparisons[at];
    let axis = RatioAxis::over(comparison.metrics.iter(), result.method.negligible);
    let json = json.at("comparisons").at(at).at("metrics");
    html! {
        div.scroll {
            table.metrics {
                (head(result, comparison, &axis))
                @for load_level in load_levels(comparison) {
                    @let shared = shared_reason(comparison, load_level);
                    tbody {
                        tr.load-level {
                            th colspan="7" scope="rowgroup" {
                                (at_load_level(load_level, &experiment.load_levels))
                                @if let Some(reason) = shared {
                                    span.reason { " – not compared: " (reason) }
                                }
                            }
                        }
                        @for (index, metric) in comparison.metrics.iter().enumerate() {
                            @if metric.load_level == load_level {
                                (row(experiment, metric, &json.at(index), &axis, shared.is_none()))
                            }
                        }
                    }
                }
            }
        }
        (legend(result))
    }
}

fn load_levels(comparison: &Comparison) -> Vec<LoadLevel> {
    let mut load_levels: Vec<LoadLevel> =
        comparison.metrics.iter().map(|it| it.load_level).collect();
    load_levels.dedup();
    load_levels
}

/// Returns the reason for which no metric of a load level was compared, if it is the same for all.
fn shared_reason(comparison: &Comparison, load_level: LoadLevel) -> Option<&str> {
    let mut metrics = comparison.metrics.iter().filter(|it| it.load_level == load_level);
    let none = |it: &MetricResult| it.verdict == Verdict::NotCompared;
    let first = metrics.next().filter(|it| none(it))?.reason.as_deref()?;
    metrics.all(|it| none(it) && it.reason.as_deref() == Some(first)).then_some(first)
}

fn head(result: &ComparisonResult, comparison: &Comparison, axis: &RatioAxis) -> Markup {
    let label = |arm: usize| &result.arms[arm].label;
    let (first, other) = (label(comparison.baseline), label(comparison.candidate));
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
    json: &JsonPath,
    axis: &RatioAxis,
    with_reason: bool,
) -> Markup {
    let noise = experiment.control.metric(metric.at());
    let unit = metric.metric.unit();
    // The gates directly above the table already show it.
    let is_shown = experiment.gates.iter().any(|gate| Some(&gate.reason) == metric.reason.as_ref());
    html! {
        tr.primary[metric.is_primary] {
            th scope="row" {
                (metric.metric.label())
                @if !unit.is_empty() { span.unit { ", " (unit) } }
                @if metric.is_primary { " " span.tag { "primary" } }
            }
            td.number { (numbers::of_metric(&json.at("baseline"), metric.metric, metric.baseline)) }
            td.number { (numbers::of_metric(&json.at("candidate"), metric.metric, metric.candidate)) }
            td.picture { (axis.mark(json, metric, noise)) }
            td.number { (numbers::ratio(&json.at("ratio"), metric.ratio)) }
            td.number { (interval(json, metric)) }
            td { (verdict(metric)) @if with_reason && !is_shown { (reason(metric)) } }
        }
    }
}

/// Returns for example `0.851 – 0.885`.
pub(super) fn interval(json: &JsonPath, metric: &MetricResult) -> Markup {
    if metric.low.is_none() || metric.high.is_none() {
        return numbers::no_value();
    }
    html! {
        (numbers::ratio(&json.at("low"), metric.low)) " – "
        (numbers::ratio(&json.at("high"), metric.high))
    }
}

/// Returns the verdict with its sign.
pub(super) fn verdict(metric: &MetricResult) -> Markup {
    html! {
        span class={ "verdict-label " (verdict_class(metric.verdict)) } {
            span.sign aria-hidden="true" { (verdict_sign(metric.verdict)) }
            " " (verdict_label(metric))
        }
    }
}

/// Returns the reason for which the metric was not compared.
pub(super) fn reason(metric: &MetricResult) -> Markup {
    html! {
        @if metric.verdict == Verdict::NotCompared {
            @if let Some(reason) = &metric.reason { div.reason { (reason) } }
        }
    }
}

fn legend(result: &ComparisonResult) -> Markup {
    html! {
        p.key {
            span.swatch.band aria-hidden="true" {} " no difference: within "
            (format_percentage(result.method.negligible)) ". "
            span.swatch.noise aria-hidden="true" {}
            " noise: the first arm compared with itself. Marks: ● better or, hollow, inconclusive; "
            "◆ worse; ■ no difference; ✚ not compared; ◀ ▶ beyond the axis. All intervals together "
            "have a confidence of " (format_percentage(result.method.confidence)) "."
        }
    }
}
