//! Several results beside each other: a line for each kernel or machine.

use maud::{Markup, html};

use super::figure::{self, Place};
use super::metrics::{interval, reason, verdict};
use super::ratio::RatioAxis;
use crate::report::result::{Metric, Point, Verdict};
use crate::report::side_by_side::{Group, Row, SideBySide};

/// All of the page.
pub(super) fn body(title: &str, side_by_side: &SideBySide) -> Markup {
    let groups = side_by_side.groups();
    let (deciding, others): (Vec<&Group>, Vec<&Group>) =
        groups.iter().partition(|group| group.metric.decides);
    html! {
        header {
            p.kicker { "ringpoll report" }
            h1 { (title) }
            div.verdict.open {
                @for group in &deciding { p.sentence { (sentence(group)) } }
            }
        }
        @for group in &deciding { (section(group)) }
        @for emulated in [false, true] {
            @let others = others.iter().filter(|group| group.emulated == emulated);
            @if others.clone().next().is_some() {
                section.card {
                    details {
                        summary { h2 { "The other metrics" @if emulated { ", emulated" } } }
                        @for group in others { h3 { (heading(group)) } (table(group)) }
                    }
                }
            }
        }
        (files(side_by_side))
    }
}

/// `CPU per request at a fixed rate, B against A, 5 results: better on 3, no difference on 2.`
fn sentence(group: &Group) -> String {
    let verdicts = [
        (Verdict::Better, "better"),
        (Verdict::Worse, "worse"),
        (Verdict::NoDifference, "no difference"),
        (Verdict::Inconclusive, "inconclusive"),
        (Verdict::NotJudgeable, "not judged"),
    ];
    let counted = |it: &(Verdict, &str)| {
        let of_it = |row: &&Row| !row.is_invalid() && row.metric.verdict == it.0;
        let count = group.rows.iter().filter(of_it).count();
        (count > 0).then(|| format!("{} on {count}", it.1))
    };
    let mut parts: Vec<String> = verdicts.iter().filter_map(counted).collect();
    let invalid = group.rows.iter().filter(|row| row.is_invalid()).count();
    if invalid > 0 {
        parts.push(format!("invalid on {invalid}"));
    }
    let of = group.rows.len();
    let where_words = if of == 1 { "one result" } else { &format!("{of} results") };
    format!("{}, {where_words}: {}.", heading(group), parts.join(", "))
}

fn heading(group: &Group) -> String {
    let arms = &group.result.arms;
    let place = match group.metric.point {
        Point::FixedRate => "at a fixed rate",
        Point::Saturated => "at saturation",
    };
    let sweep = group.experiment.sweep.as_ref();
    let load = (group.result.experiments.len() > 1)
        .then(|| format!(" under {}", group.experiment.load.name));
    let sweep = sweep.map(|it| format!(", {} = {}", it.key, it.value)).or(load).unwrap_or_default();
    format!(
        "{}{} {place}{sweep}, {} against {}",
        if group.emulated { "Emulated: " } else { "" },
        group.metric.metric.words(),
        arms[group.comparison.contender].label,
        arms[group.comparison.baseline].label,
    )
}

fn section(group: &Group) -> Markup {
    html! {
        section.card {
            h2 { (heading(group)) }
            p.load { "Load: " (group.experiment.load.text) }
            @if group.emulated { (super::emulated()) }
            (table(group))
        }
    }
}

fn table(group: &Group) -> Markup {
    let results = group.rows.iter().map(|row| row.metric);
    let axis = RatioAxis::over(results, group.result.method.negligible);
    let arms = &group.result.arms;
    let unit = group.metric.metric.unit();
    let label = |arm: usize| {
        html! {
            th.number scope="col" {
                (arms[arm].label)
                @if !unit.is_empty() { span.unit { ", " (unit) } }
            }
        }
    };
    html! {
        div.scroll {
            table.metrics {
                thead {
                    tr {
                        th scope="col" { "kernel · processor" }
                        th.number scope="col" { "offered, requests/s" }
                        (label(group.comparison.baseline))
                        (label(group.comparison.contender))
                        th.picture scope="col" { (axis.header("less", "more")) }
                        th.number scope="col" { "ratio" }
                        th.number scope="col" { "interval" }
                        th scope="col" { "verdict" }
                    }
                }
                tbody { @for one in &group.rows { (row(one, &axis)) } }
            }
        }
    }
}

fn row(row: &Row, axis: &RatioAxis) -> Markup {
    let [at_experiment, at_comparison, at_metric] = row.places;
    let experiment = Place::root_of(row.index).at("experiments").at(at_experiment);
    let place = experiment.at("comparisons").at(at_comparison).at("metrics").at(at_metric);
    let metric = row.metric;
    let points = row.experiment.working_points.iter().enumerate();
    let rate = points.filter(|it| it.1.point == metric.point).map(|(at, it)| {
        let place = experiment.at("working_points").at(at).at("requests_per_second");
        figure::of_metric(&place, Metric::Throughput, it.requests_per_second)
    });
    let noise = row.experiment.control.metrics.iter();
    let noise = noise.clone().find(|it| (it.metric, it.point) == (metric.metric, metric.point));
    html! {
        tr {
            th scope="row" {
                (row.named.result.environment.kernel_release)
                div.aside { (row.named.result.environment.cpu.model) }
            }
            td.number { @for it in rate { (it) } }
            td.number { (figure::of_metric(&place.at("baseline"), metric.metric, metric.baseline)) }
            td.number { (figure::of_metric(&place.at("contender"), metric.metric, metric.contender)) }
            td.picture { (axis.mark(&place, metric, noise)) }
            td.number { (figure::ratio(&place.at("ratio"), metric.ratio)) }
            td.number { (interval(&place, metric)) }
            td {
                @if row.is_invalid() {
                    span.says.worse { span.sign aria-hidden="true" { "✗" } " invalid" }
                    div.reason { (row.experiment.sentence) }
                } @else {
                    (verdict(metric)) (reason(metric))
                }
            }
        }
    }
}

fn files(side_by_side: &SideBySide) -> Markup {
    html! {
        section.card {
            h2 { "The results" }
            div.scroll {
                table {
                    thead {
                        tr {
                            @for name in ["file", "kernel", "processor", "virtualisation", "ringpoll", "began", "says"] {
                                th scope="col" { (name) }
                            }
                        }
                    }
                    tbody {
                        @for named in side_by_side.all {
                            @let environment = &named.result.environment;
                            @let program = &environment.program;
                            tr {
                                th scope="row" { code { (named.name) } }
                                td { (environment.kernel_release) }
                                td { (environment.cpu.model) }
                                td { (environment.virtualisation) }
                                td { (program.version) " " (program.git.as_deref().unwrap_or("")) }
                                td { (named.result.started_at) }
                                td.prose { (named.result.sentence) }
                            }
                        }
                    }
                }
            }
        }
    }
}
