//! Plot of all rounds over time, which shows drift and outliers.

use maud::{Markup, html};

use super::arm_marks;
use super::plot::{Plot, line};
use super::scale::{Scale, tick_text};
use crate::compare::explanation::at_load_level;
use crate::compare::metrics::{arm_median, value};
use crate::result::{ComparisonResult, Experiment, LoadLevel, Metric, MetricAt, Round};

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;

/// Returns the plot of a load level: CPU time at a fixed rate, throughput at saturation.
pub(super) fn figure(
    result: &ComparisonResult,
    experiment: &Experiment,
    load_level: LoadLevel,
) -> Option<Markup> {
    let metric = match load_level {
        LoadLevel::FixedRate => Metric::CpuPerRequest,
        LoadLevel::Saturation if experiment.rounds.iter().any(|it| it.bytes.is_some()) => {
            Metric::BytesThroughput
        }
        LoadLevel::Saturation => Metric::Throughput,
    };
    let rounds: Vec<(&Round, f64)> = experiment
        .rounds
        .iter()
        .filter(|round| round.load_level == load_level)
        .filter_map(|round| Some((round, value(round, metric)?)))
        .collect();
    let least = rounds.iter().map(|it| it.1).reduce(f64::min)?;
    let greatest = rounds.iter().map(|it| it.1).reduce(f64::max)?;
    let ends = rounds.iter().map(|it| it.0.started_at_seconds).reduce(f64::max)?;
    let room = ((greatest - least) * 0.08).max(greatest.abs() * 0.005).max(1e-9);
    let x = Scale::linear((0.0, ends.max(1.0) * 1.02), (62.0, WIDTH - 16.0));
    let y = Scale::linear((least - room, greatest + room), (HEIGHT - 46.0, 34.0));
    let level = at_load_level(load_level, &experiment.load_levels);
    let title = format!("{} of each round {level}, over time", metric.label());
    let plot = Plot {
        title: &title,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
        x_label: "seconds since the start of the experiment",
        y_label: &format!("{}, {}", metric.label(), metric.unit()),
    };
    let at = MetricAt { metric, load_level };
    let content = html! {
        @for arm in 0..result.arms.len() {
            @if let Some(median) = arm_median(&experiment.rounds, arm, at) {
                g class=(arm_marks::class(arm)) {
                    path.median d=(line([(x.ends.0, y.at(median)), (x.ends.1, y.at(median))])) {}
                }
            }
        }
        @for (round, value) in &rounds { (mark(round, *value, &x, &y)) }
    };
    let ticks = |scale: &Scale| -> Vec<(f64, String)> {
        scale.ticks(5).into_iter().map(|it| (it, tick_text(it))).collect()
    };
    Some(html! {
        figure {
            figcaption { (metric.label()) " of each round, " (level) }
            (plot.draw(&ticks(&x), &ticks(&y), &content))
        }
    })
}

fn mark(round: &Round, value: f64, x: &Scale, y: &Scale) -> Markup {
    let (across, up) = (x.at(round.started_at_seconds), y.at(value));
    let class = arm_marks::class(round.arm);
    html! {
        g.(class).control[round.control] {
            path.mark d=(arm_marks::shape(round.arm, across, up, 4.0)) {
                title { "block " (round.block + 1) ": " (tick_text(value)) }
            }
        }
    }
}
