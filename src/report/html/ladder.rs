//! A ladder: what each rung costs beside the first, and what its technique gains.

use maud::{Markup, html};

use super::figure::{self, Place, ratio_text};
use super::metrics::interval;
use super::plot::pixels;
use super::ratio::verdict_class;
use super::scale::{Scale, tick_text};
use crate::compare::ladder::table::words;
use crate::compare::words::at_point;
use crate::report::result::{ComparisonResult, Experiment, Ladder, MetricResult, Rung, Verdict};
use crate::report::verdict_words::verdict_sign;

const WIDTH: f64 = 1080.0;
const ROW: f64 = 28.0;
/// The first row, below the names of the columns and the axis.
const TOP: f64 = 50.0;
const BOTTOM: f64 = 10.0;
/// Where the bars begin and end.
const LEFT: f64 = 220.0;
const RIGHT: f64 = 790.0;
/// Where the columns of figures begin.
const TO_FIRST: f64 = 858.0;
const STEP: f64 = 880.0;

/// The picture and its figures.
pub(super) fn section(
    result: &ComparisonResult,
    experiment: &Experiment,
    ladder: &Ladder,
    place: &Place,
) -> Markup {
    let place = place.at("ladder").at("rungs");
    let what = ladder.metric.metric.words();
    let at = at_point(ladder.metric.point, &experiment.working_points);
    let title = format!("{what} of each rung of {}, {at}, relative to the first rung", ladder.name);
    html! {
        figure.wide {
            figcaption { (title) "; less is better" }
            (picture(result, ladder, &place, &title))
        }
        p.key {
            "Bars: the ratio to the first rung, with its interval; the first rung's is the noise. "
            "Their sign and colour tell of the step from the rung below: ✓ it gains; ✗ it costs; "
            "= no difference; ? not decided; – not judged."
        }
        (table(result, ladder, &place))
    }
}

fn picture(result: &ComparisonResult, ladder: &Ladder, place: &Place, title: &str) -> Markup {
    let height = TOP + ROW * ladder.rungs.len() as f64 + BOTTOM;
    let ends = ladder.rungs.iter().filter_map(|rung| rung.to_first.as_ref()?.high);
    let scale = Scale::linear((0.0, ends.fold(1.0, f64::max).min(4.0) * 1.02), (LEFT, RIGHT));
    let bottom = height - BOTTOM;
    html! {
        svg.plot.ladder viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
            title { (title) }
            text.name x="4" y="18" { "rung" }
            text.name.end x=(TO_FIRST) y="18" { "to the first" }
            text.name x=(STEP) y="18" { "this step alone" }
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
            @for (index, rung) in ladder.rungs.iter().enumerate() {
                (row(result, rung, index, &scale, &place.at(index)))
            }
            path.axis d={ "M" (LEFT) " " (TOP) "V" (bottom) } {}
            path.one d={ "M" (pixels(scale.at(1.0))) " " (TOP) "V" (bottom) } {}
        }
    }
}

fn row(
    result: &ComparisonResult,
    rung: &Rung,
    index: usize,
    scale: &Scale,
    place: &Place,
) -> Markup {
    let middle = TOP + ROW * (index as f64 + 0.5);
    let label = &result.arms[rung.arm].label;
    let verdict = rung.to_below.as_ref().map(|it| it.verdict);
    let class = verdict.map_or("first", verdict_class);
    let base = pixels(middle + 4.0);
    html! {
        g class=(class) {
            title { (label) ": " (rung.adds) }
            text.label x="4" y=(base) { (label) }
            @if rung.not_in_force.is_some() {
                text.absent x=(LEFT + 8.0) y=(base) { "not in force here" }
            } @else if let Some(to_first) = &rung.to_first {
                (bar(to_first, rung.below.is_none(), middle, scale, &place.at("to_first")))
                @if rung.below.is_some() {
                    text.value.end x=(TO_FIRST) y=(base) { (shown(to_first)) }
                }
            }
            @if let Some(step) = &rung.to_below { text.step x=(STEP) y=(base) { (change(step)) } }
        }
    }
}

fn shown(result: &MetricResult) -> String {
    result.ratio.map_or_else(|| "–".to_owned(), ratio_text)
}

/// The first rung is what the others are held against, so its bar ends at 1; its interval is that
/// of the first against itself.
fn bar(result: &MetricResult, is_first: bool, middle: f64, scale: &Scale, place: &Place) -> Markup {
    let (Some(ratio), Some(low), Some(high)) = (result.ratio, result.low, result.high) else {
        return html! { text.absent x=(LEFT + 8.0) y=(pixels(middle + 4.0)) { "no interval" } };
    };
    let end = scale.at(if is_first { 1.0 } else { ratio });
    let (from, to) = (pixels(scale.at(low)), pixels(scale.at(high)));
    html! {
        rect.bar data-value=(ratio) data-from=(place.at("ratio")) x=(LEFT) y=(pixels(middle - 8.0))
            width=(pixels(end - LEFT)) height="16" {}
        path.whisker d={
            "M" (from) " " (pixels(middle)) "H" (to)
            "M" (from) " " (pixels(middle - 5.0)) "v10M" (to) " " (pixels(middle - 5.0)) "v10"
        } {}
    }
}

/// `✓ −12.3 %, −13.5 to −11.0`.
fn change(step: &MetricResult) -> String {
    let percent = |ratio: f64| {
        let text = format!("{:+.1}", (ratio - 1.0) * 100.0);
        if text == "-0.0" || text == "+0.0" { "0.0".to_owned() } else { text.replace('-', "−") }
    };
    let sign = verdict_sign(step.verdict);
    match (step.ratio, step.low, step.high) {
        (Some(ratio), Some(low), Some(high)) if step.verdict != Verdict::NotJudgeable => {
            format!("{sign} {} %, {} to {}", percent(ratio), percent(low), percent(high))
        }
        _ => format!("{sign} not judged"),
    }
}

fn table(result: &ComparisonResult, ladder: &Ladder, place: &Place) -> Markup {
    let unit = ladder.metric.metric.unit();
    html! {
        div.scroll {
            table.rungs {
                thead {
                    tr {
                        th scope="col" { "rung" }
                        th scope="col" { "what it adds" }
                        th.number scope="col" { (unit) }
                        th.number scope="col" { "system calls" }
                        th.number scope="col" { "to the first" }
                        th.number scope="col" { "interval" }
                        th.number scope="col" { "to the rung below" }
                        th.number scope="col" { "interval" }
                        th scope="col" { "the step" }
                    }
                }
                tbody {
                    @for (index, rung) in ladder.rungs.iter().enumerate() {
                        (table_row(result, ladder, rung, &place.at(index)))
                    }
                }
            }
        }
    }
}

fn table_row(result: &ComparisonResult, ladder: &Ladder, rung: &Rung, place: &Place) -> Markup {
    let (first, below) = (place.at("to_first"), place.at("to_below"));
    let ratio = |place: &Place, result: &Option<MetricResult>| {
        let value = result.as_ref().and_then(|it| it.ratio);
        html! { td.number { (figure::ratio(&place.at("ratio"), value)) } }
    };
    let ends = |place: &Place, result: &Option<MetricResult>| {
        let ends = result.as_ref().map_or_else(figure::nothing, |it| interval(place, it));
        html! { td.number { (ends) } }
    };
    let calls = rung.system_calls_per_request;
    let is_shown = rung.not_in_force.is_none();
    html! {
        tr {
            th scope="row" { (result.arms[rung.arm].label) }
            td {
                (rung.adds)
                @if let Some(remark) = &rung.remark { div.reason { (remark) } }
            }
            td.number {
                @if is_shown {
                    (figure::of_metric(&place.at("value"), ladder.metric.metric, rung.value))
                } @else { (figure::nothing()) }
            }
            td.number {
                @if is_shown {
                    (figure::decimal(&place.at("system_calls_per_request"), calls, 2))
                } @else { (figure::nothing()) }
            }
            (ratio(&first, &rung.to_first)) (ends(&first, &rung.to_first))
            (ratio(&below, &rung.to_below)) (ends(&below, &rung.to_below))
            td { (step(rung)) }
        }
    }
}

fn step(rung: &Rung) -> Markup {
    match (&rung.not_in_force, &rung.to_below) {
        (Some(reason), _) => html! {
            span.says.not-judged { "not in force here" } div.reason { (reason) }
        },
        (None, Some(step)) => html! {
            span class={ "says " (verdict_class(step.verdict)) } {
                span.sign aria-hidden="true" { (verdict_sign(step.verdict)) } " " (words(step))
            }
        },
        (None, None) => html! { span.nothing { "its second copy over its first: the noise" } },
    }
}
