//! Every round, in the order of time: drifts and outliers can be seen here.

use maud::{Markup, html};

use super::arms;
use super::plot::{Plot, line};
use super::scale::{Scale, tick_text};
use crate::compare::metrics::{median_of, value};
use crate::compare::words::at_point;
use crate::report::result::{ComparisonResult, Experiment, Metric, MetricAt, Point, Round};

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;

/// The plot of a working point: what it is there to judge.
pub(super) fn figure(
    result: &ComparisonResult,
    experiment: &Experiment,
    point: Point,
) -> Option<Markup> {
    let metric = match point {
        Point::FixedRate => Metric::CpuPerRequest,
        Point::Saturated => Metric::Throughput,
    };
    let rounds: Vec<(&Round, f64)> = experiment
        .rounds
        .iter()
        .filter(|round| round.point == point)
        .filter_map(|round| Some((round, value(round, metric)?)))
        .collect();
    let least = rounds.iter().map(|it| it.1).reduce(f64::min)?;
    let greatest = rounds.iter().map(|it| it.1).reduce(f64::max)?;
    let ends = rounds.iter().map(|it| it.0.started_at_seconds).reduce(f64::max)?;
    let room = ((greatest - least) * 0.08).max(greatest.abs() * 0.005).max(1e-9);
    let x = Scale::linear((0.0, ends.max(1.0) * 1.02), (62.0, WIDTH - 16.0));
    let y = Scale::linear((least - room, greatest + room), (HEIGHT - 46.0, 34.0));
    let place = at_point(point, &experiment.working_points);
    let title = format!("{} of each round {place}, over time", metric.words());
    let plot = Plot {
        title: &title,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
        x_label: "seconds since the experiment began",
        y_label: &format!("{}, {}", metric.words(), metric.unit()),
    };
    let at = MetricAt { metric, point };
    let content = html! {
        @for arm in 0..result.arms.len() {
            @if let Some(median) = median_of(&experiment.rounds, arm, at) {
                g class=(arms::class(arm)) {
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
            figcaption { (metric.words()) " of each round, " (place) }
            (plot.draw(&ticks(&x), &ticks(&y), &content))
        }
    })
}

fn mark(round: &Round, value: f64, x: &Scale, y: &Scale) -> Markup {
    let (across, up) = (x.at(round.started_at_seconds), y.at(value));
    let class = arms::class(round.arm);
    html! {
        g.(class).control[round.control] {
            path.mark d=(arms::shape(round.arm, across, up, 4.0)) {
                title { "block " (round.block + 1) ": " (tick_text(value)) }
            }
        }
    }
}
