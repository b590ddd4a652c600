//! Latency by percentile, both on logarithmic scales: each further nine is as far as the last.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::arms;
use super::figure::{self, Place};
use super::plot::{Plot, line};
use super::scale::{Scale, time_text};
use crate::compare::summary::histogram_of;
use crate::compare::words::at_point;
use crate::report::result::{Arm, ArmSummary, ComparisonResult, Experiment, Latency, Point};

/// Points on the curve for each further nine.
const STEPS: usize = 24;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 320.0;

/// One curve: an arm, and whether from when its requests were due.
struct Curve {
    arm: usize,
    corrected: bool,
    histogram: Histogram<u64>,
}

impl Curve {
    fn of(summary: &ArmSummary, latency: &Latency, corrected: bool) -> Option<Self> {
        let histogram = histogram_of(latency).filter(|it| !it.is_empty())?;
        Some(Self { arm: summary.arm, corrected, histogram })
    }

    /// One over the share that is slower, and the latency in microseconds.
    fn points(&self) -> Vec<(f64, f64)> {
        let nines = (self.histogram.len() as f64).log10().max(0.5);
        let last = (nines * STEPS as f64).floor() as usize;
        let point = |step: usize| {
            let rarity = 10_f64.powf(step as f64 / STEPS as f64);
            let value = self.histogram.value_at_quantile(1.0 - 1.0 / rarity);
            (rarity, value as f64 / 1000.0)
        };
        (0..=last).map(point).collect()
    }
}

/// The plot of a working point; nothing if there are no histograms.
pub(super) fn figure(
    result: &ComparisonResult,
    experiment: &Experiment,
    point: Point,
) -> Option<Markup> {
    let mut curves = Vec::new();
    for summary in experiment.summaries.iter().filter(|it| it.point == point) {
        let pair = &summary.latency;
        curves.extend(Curve::of(summary, &pair.corrected, true));
        if pair.uncorrected != pair.corrected {
            curves.extend(Curve::of(summary, &pair.uncorrected, false));
        }
    }
    let points: Vec<Vec<(f64, f64)>> = curves.iter().map(Curve::points).collect();
    let all = || points.iter().flatten();
    let greatest = all().map(|it| it.1).reduce(f64::max)?;
    let least = all().map(|it| it.1).filter(|it| *it > 0.0).reduce(f64::min)?;
    let rarest = all().map(|it| it.0).reduce(f64::max)?;
    let x = Scale::logarithmic((1.0, rarest.max(100.0)), (62.0, WIDTH - 16.0));
    let y = Scale::logarithmic((least * 0.9, greatest * 1.1), (HEIGHT - 46.0, 34.0));
    let place = at_point(point, &experiment.working_points);
    let title = format!("Latency by percentile {place}, one line for each arm");
    let plot = Plot {
        title: &title,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
        x_label: "requests that are at least as fast",
        y_label: "latency",
    };
    let content = html! {
        @for (curve, points) in curves.iter().zip(&points) { (drawn(&result.arms, curve, points, &x, &y)) }
    };
    let y_ticks: Vec<_> = y.ticks(5).into_iter().map(|it| (it, time_text(it))).collect();
    Some(html! {
        figure {
            figcaption { "Latency by percentile " (place) }
            (plot.draw(&percentiles(rarest), &y_ticks, &content))
        }
    })
}

fn drawn(arms: &[Arm], curve: &Curve, points: &[(f64, f64)], x: &Scale, y: &Scale) -> Markup {
    let path = line(points.iter().map(|&(rarity, value)| (x.at(rarity), y.at(value))));
    let marked = points.iter().step_by(STEPS).filter(|_| curve.corrected);
    let class = arms::class(curve.arm);
    html! {
        g.(class).uncorrected[!curve.corrected] {
            title {
                (arms[curve.arm].label)
                @if !curve.corrected { ", from when requests were really sent" }
            }
            path.line d=(path) {}
            @for &(rarity, value) in marked {
                path.mark d=(arms::shape(curve.arm, x.at(rarity), y.at(value), 4.0)) {}
            }
        }
    }
}

/// 50 %, 90 %, 99 %…, as far as there are requests for them.
fn percentiles(rarest: f64) -> Vec<(f64, String)> {
    let nines = rarest.max(100.0).log10() as i32;
    let mut ticks = vec![(2.0, "50 %".to_owned())];
    for nine in 1..=nines {
        let digits = (nine - 2).max(0) as usize;
        let rarity = 10_f64.powi(nine);
        ticks.push((rarity, format!("{:.digits$} %", 100.0 - 100.0 / rarity)));
    }
    ticks
}

/// The well-known percentiles as numbers.
pub(super) fn table(result: &ComparisonResult, experiment: &Experiment, place: &Place) -> Markup {
    let summaries = || experiment.summaries.iter().enumerate().filter(|it| it.1.rounds > 0);
    html! {
        div.scroll {
            table {
                caption { "Latency, µs, all rounds of an arm together" }
                thead {
                    tr {
                        th scope="col" { "where" }
                        th scope="col" { "arm" }
                        th scope="col" { "counted from" }
                        @for name in ["requests", "p50", "p90", "p99", "p99.9", "slowest"] {
                            th.number scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    @for (index, summary) in summaries() {
                        @let place = place.at("summaries").at(index).at("latency");
                        @let pair = &summary.latency;
                        @let words = at_point(summary.point, &experiment.working_points);
                        (row(result, &words, summary.arm, "when it was due", &place.at("corrected"), &pair.corrected))
                        @if pair.corrected != pair.uncorrected {
                            (row(result, &words, summary.arm, "when it was sent", &place.at("uncorrected"), &pair.uncorrected))
                        }
                    }
                }
            }
        }
    }
}

fn row(
    result: &ComparisonResult,
    at: &str,
    arm: usize,
    from: &str,
    place: &Place,
    latency: &Latency,
) -> Markup {
    html! {
        tr {
            td { (at) }
            td { (arms::chip(&result.arms, arm)) }
            td { (from) }
            td.number { (figure::count(&place.at("count"), latency.count)) }
            td.number { (figure::microseconds(&place.at("p50_ns"), latency.p50_ns)) }
            td.number { (figure::microseconds(&place.at("p90_ns"), latency.p90_ns)) }
            td.number { (figure::microseconds(&place.at("p99_ns"), latency.p99_ns)) }
            td.number { (figure::microseconds(&place.at("p99_9_ns"), latency.p99_9_ns)) }
            td.number { (figure::microseconds(&place.at("max_ns"), latency.max_ns)) }
        }
    }
}
