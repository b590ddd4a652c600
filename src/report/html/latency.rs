//! Latency by percentile. Both scales are logarithmic: 90%, 99% and 99.9% are equally far apart.

use hdrhistogram::Histogram;
use maud::{Markup, html};

use super::arm_marks;
use super::numbers::{self, JsonPath};
use super::plot::{Plot, line};
use super::scale::{Scale, time_text};
use crate::compare::explanation::at_load_level;
use crate::compare::summary::decode_histogram;
use crate::result::{Arm, ArmSummary, ComparisonResult, Experiment, Latency, LoadLevel};

/// Points of a curve per factor of ten of the share of slower requests.
const STEPS: usize = 24;
const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 320.0;

struct Curve {
    arm: usize,
    /// True if corrected for coordinated omission.
    corrected: bool,
    histogram: Histogram<u64>,
}

impl Curve {
    fn of(summary: &ArmSummary, latency: &Latency, corrected: bool) -> Option<Self> {
        let histogram = decode_histogram(latency).filter(|it| !it.is_empty())?;
        Some(Self { arm: summary.arm, corrected, histogram })
    }

    /// Returns pairs of the reciprocal share of slower requests and the latency in microseconds.
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

/// Returns the plot of a load level; `None` if there are no histograms.
pub(super) fn figure(
    result: &ComparisonResult,
    experiment: &Experiment,
    load_level: LoadLevel,
) -> Option<Markup> {
    let mut curves = Vec::new();
    for summary in experiment.summaries.iter().filter(|it| it.load_level == load_level) {
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
    let level = at_load_level(load_level, &experiment.load_levels);
    let title = format!("Latency by percentile {level}, one line per arm");
    let plot = Plot {
        title: &title,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
        x_label: "percentile",
        y_label: "latency",
    };
    let content = html! {
        @for (curve, points) in curves.iter().zip(&points) {
            (drawn(&result.arms, curve, points, &x, &y))
        }
    };
    let y_ticks: Vec<_> = y.ticks(5).into_iter().map(|it| (it, time_text(it))).collect();
    Some(html! {
        figure {
            figcaption { "Latency by percentile " (level) }
            (plot.draw(&percentiles(rarest), &y_ticks, &content))
        }
    })
}

fn drawn(arms: &[Arm], curve: &Curve, points: &[(f64, f64)], x: &Scale, y: &Scale) -> Markup {
    let path = line(points.iter().map(|&(rarity, value)| (x.at(rarity), y.at(value))));
    let marked = points.iter().step_by(STEPS).filter(|_| curve.corrected);
    let class = arm_marks::class(curve.arm);
    html! {
        g.(class).uncorrected[!curve.corrected] {
            title {
                (arms[curve.arm].label)
                @if !curve.corrected { ", uncorrected" }
            }
            path.line d=(path) {}
            @for &(rarity, value) in marked {
                path.mark d=(arm_marks::shape(curve.arm, x.at(rarity), y.at(value), 4.0)) {}
            }
        }
    }
}

/// Returns the ticks 50%, 90%, 99%, …, up to the number of requests.
fn percentiles(rarest: f64) -> Vec<(f64, String)> {
    let nines = rarest.max(100.0).log10() as i32;
    let mut ticks = vec![(2.0, "50%".to_owned())];
    for nine in 1..=nines {
        let digits = (nine - 2).max(0) as usize;
        let rarity = 10_f64.powi(nine);
        ticks.push((rarity, format!("{:.digits$}%", 100.0 - 100.0 / rarity)));
    }
    ticks
}

/// Returns the table of percentiles.
pub(super) fn table(result: &ComparisonResult, experiment: &Experiment, json: &JsonPath) -> Markup {
    let summaries = experiment.summaries.iter().enumerate().filter(|it| it.1.rounds > 0);
    let columns = [
        "load level",
        "arm",
        "coordinated omission",
        "requests",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ];
    let rows = html! {
        @for (index, summary) in summaries {
            @let json = json.at("summaries").at(index).at("latency");
            @let pair = &summary.latency;
            @let words = at_load_level(summary.load_level, &experiment.load_levels);
            (row(result, &words, summary.arm, "corrected", &json.at("corrected"), &pair.corrected))
            @if pair.corrected != pair.uncorrected {
                (row(result, &words, summary.arm, "uncorrected", &json.at("uncorrected"), &pair.uncorrected))
            }
        }
    };
    super::table("Latency in µs over all rounds of each arm", "lllrrrrrr", &columns, &rows)
}

fn row(
    result: &ComparisonResult,
    at: &str,
    arm: usize,
    from: &str,
    json: &JsonPath,
    latency: &Latency,
) -> Markup {
    html! {
        tr {
            td { (at) }
            td { (arm_marks::chip(&result.arms, arm)) }
            td { (from) }
            td.number { (numbers::count(&json.at("count"), latency.count)) }
            td.number { (numbers::microseconds(&json.at("p50_ns"), latency.p50_ns)) }
            td.number { (numbers::microseconds(&json.at("p90_ns"), latency.p90_ns)) }
            td.number { (numbers::microseconds(&json.at("p99_ns"), latency.p99_ns)) }
            td.number { (numbers::microseconds(&json.at("p99_9_ns"), latency.p99_9_ns)) }
            td.number { (numbers::microseconds(&json.at("max_ns"), latency.max_ns)) }
        }
    }
}
