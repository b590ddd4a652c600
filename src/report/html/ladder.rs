//! Ladder: the cost of each step relative to the first, and the gain of its technique.

use maud::{Markup, html};

use super::metrics::interval;
use super::numbers::{self, JsonPath, ratio_text};
use super::plot::pixels;
use super::ratio::verdict_class;
use super::scale::{Scale, tick_text};
use crate::compare::explanation::{at_load_level, format_change};
use crate::report::labels::verdict_sign;
use crate::report::ladder_table::verdict_text;
use crate::result::{
    ComparisonResult, Experiment, LadderResult, LadderStepResult, MetricResult, Verdict,
};

const WIDTH: f64 = 1080.0;
const ROW: f64 = 28.0;
/// Top of the first row, below column names and axis.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 10.0;
/// Left and right ends of the bars.
const LEFT: f64 = 220.0;
const RIGHT: f64 = 790.0;
/// Left edges of the columns of numbers.
const TO_FIRST: f64 = 858.0;
const STEP: f64 = 880.0;

/// Returns the plot and the table.
pub(super) fn section(
    result: &ComparisonResult,
    experiment: &Experiment,
    ladder: &LadderResult,
    json: &JsonPath,
) -> Markup {
    let json = json.at("ladder").at("steps");
    let metric = ladder.metric.metric.label();
    let at = at_load_level(ladder.metric.load_level, &experiment.load_levels);
    let title =
        format!("{metric} of each step of {}, {at}, relative to the first step", ladder.name);
    html! {
        figure.wide {
            figcaption { (title) "; less is better" }
            (picture(result, ladder, &json, &title))
        }
        p.key {
            "Bars: ratio to the first step, with its interval; for the first step, the noise. "
            "Sign and colour: verdict on the technique of the step: ✓ better; ✗ worse; "
            "= no difference; ? inconclusive; – not compared."
        }
        (table(result, ladder, &json))
    }
}

fn picture(
    result: &ComparisonResult,
    ladder: &LadderResult,
    json: &JsonPath,
    title: &str,
) -> Markup {
    let height = TOP + ROW * ladder.steps.len() as f64 + BOTTOM;
    let ends = ladder.steps.iter().filter_map(|step| step.to_first.as_ref()?.high);
    let scale = Scale::linear((0.0, ends.fold(1.0, f64::max).min(4.0) * 1.02), (LEFT, RIGHT));
    let bottom = height - BOTTOM;
    html! {
        svg.plot.ladder viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            title { (title) }
            text.name x="4" y="18" { "step" }
            text.name.end x=(TO_FIRST) y="18" { "to first" }
            text.name x=(STEP) y="18" { "to previous" }
            g.grid {
                @for tick in scale.ticks(6) {
                    path d={ "M" (pixels(scale.at(tick))) " " (TOP) "V" (bottom) } {}
                }
            }
            g.ticks {
                @for tick in scale.ticks(6) {
                    text.middle x=(pixels(scale.at(tick))) y=(TOP - 8.0) { (tick_text(tick)) }
                }
            }
            @for (index, step) in ladder.steps.iter().enumerate() {
                (row(result, step, index, &scale, &json.at(index)))
            }
            path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) } {}
            path.one d={ "M" (pixels(scale.at(1.0))) " " (TOP) "V" (bottom) } {}
        }
    }
}

fn row(
    result: &ComparisonResult,
    step: &LadderStepResult,
    index: usize,
    scale: &Scale,
    json: &JsonPath,
) -> Markup {
    let middle = TOP + ROW * (index as f64 + 0.5);
    let label = &result.arms[step.arm].label;
    let verdict = step.to_previous.as_ref().map(|it| it.verdict);
    let class = verdict.map_or("first", verdict_class);
    let base = pixels(middle + 4.0);
    html! {
        g class=(class) {
            title { (label) ": " (step.adds) }
            text.label x="4" y=(base) { (label) }
            @if step.unused_reason.is_some() {
                text.absent x=(LEFT + 8.0) y=(base) { "not in force" }
            } @else if let Some(to_first) = &step.to_first {
                (bar(to_first, step.previous.is_none(), middle, scale, &json.at("to_first")))
                @if step.previous.is_some() {
                    text.value.end x=(TO_FIRST) y=(base) { (shown(to_first)) }
                }
            }
            @if let Some(gain) = &step.to_previous {
                text.step x=(STEP) y=(base) { (change(gain)) }
            }
        }
    }
}

fn shown(result: &MetricResult) -> String {
    result.ratio.map_or_else(|| "–".to_owned(), ratio_text)
}

/// Draws a bar with its interval. That of the first step ends at 1 and has the interval of the
/// control.
fn bar(
    result: &MetricResult,
    is_first: bool,
    middle: f64,
    scale: &Scale,
    json: &JsonPath,
) -> Markup {
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        return html! { text.absent x=(LEFT + 8.0) y=(pixels(middle + 4.0)) { "no interval" } };
    };
    let end = scale.at(if is_first { 1.0 } else { ratio });
    let (from, to) = (pixels(scale.at(low)), pixels(scale.at(high)));
    html! {
        rect.bar data-value=(ratio) data-from=(json.at("ratio")) x=(LEFT) y=(pixels(middle - 8.0))
            width=(pixels(end - LEFT)) height="16" {}
        path.whisker d={
            "M" (from) " " (pixels(middle)) "H" (to)
            "M" (from) " " (pixels(middle - 5.0)) "v10M" (to) " " (pixels(middle - 5.0)) "v10"
        } {}
    }
}

/// Returns for example `✓ −12.3%, −13.5 to −11.0`.
fn change(gain: &MetricResult) -> String {
    let sign = verdict_sign(gain.verdict);
    match (gain.ratio, gain.low, gain.high) {
        (Some(ratio), Some(low), Some(high)) if gain.verdict != Verdict::NotCompared => {
            let [ratio, low, high] = [ratio, low, high].map(format_change);
            format!("{sign} {ratio}%, {low} to {high}")
        }
        _ => format!("{sign} not compared"),
    }
}

fn table(result: &ComparisonResult, ladder: &LadderResult, json: &JsonPath) -> Markup {
    let columns = [
        "step",
        "adds",
        ladder.metric.metric.unit(),
        "system calls/request",
        "to first",
        "interval",
        "to previous",
        "interval",
        "verdict",
    ];
    let rows = html! {
        @for (index, step) in ladder.steps.iter().enumerate() {
            (table_row(result, ladder, step, &json.at(index)))
        }
    };
    html! { div.steps { (super::table("", "llrrrrrrl", &columns, &rows)) } }
}

fn table_row(
    result: &ComparisonResult,
    ladder: &LadderResult,
    step: &LadderStepResult,
    json: &JsonPath,
) -> Markup {
    let (first, previous) = (json.at("to_first"), json.at("to_previous"));
    let ratio = |json: &JsonPath, result: &Option<MetricResult>| {
        let value = result.as_ref().and_then(|it| it.ratio);
        html! { td.number { (numbers::ratio(&json.at("ratio"), value)) } }
    };
    let ends = |json: &JsonPath, result: &Option<MetricResult>| {
        let ends = result.as_ref().map_or_else(numbers::no_value, |it| interval(json, it));
        html! { td.number { (ends) } }
    };
    let calls = step.system_calls_per_request;
    let is_shown = step.unused_reason.is_none();
    html! {
        tr {
            th scope="row" { (result.arms[step.arm].label) }
            td { (step.adds) }
            td.number {
                @if is_shown {
                    (numbers::of_metric(&json.at("value"), ladder.metric.metric, step.value))
                } @else { (numbers::no_value()) }
            }
            td.number {
                @if is_shown {
                    (numbers::decimal(&json.at("system_calls_per_request"), calls, 2))
                } @else { (numbers::no_value()) }
            }
            (ratio(&first, &step.to_first)) (ends(&first, &step.to_first))
            (ratio(&previous, &step.to_previous)) (ends(&previous, &step.to_previous))
            td { (step_verdict(step)) }
        }
    }
}

fn step_verdict(step: &LadderStepResult) -> Markup {
    match (&step.unused_reason, &step.to_previous) {
        (Some(reason), _) => html! {
            span.verdict-label.not-compared { "not in force" } div.reason { (reason) }
        },
        (None, Some(gain)) => html! {
            span class={ "verdict-label " (verdict_class(gain.verdict)) } {
                span.sign aria-hidden="true" { (verdict_sign(gain.verdict)) } " " (verdict_text(gain))
            }
        },
        (None, None) => html! { span.nothing { "control: the noise" } },
    }
}
