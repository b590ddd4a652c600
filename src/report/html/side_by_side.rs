//! Page of several results side by side: one row per kernel or machine.

use maud::{Markup, html};

use super::metrics::{interval, reason, verdict};
use super::numbers::{self, JsonPath};
use super::ratio::RatioAxis;
use crate::report::side_by_side::{Group, Row, SideBySide};
use crate::result::{LoadLevel, Metric, Verdict};

/// Returns the body of the page.
pub(super) fn body(title: &str, side_by_side: &SideBySide) -> Markup {
    let groups = side_by_side.groups();
    let (primary, others): (Vec<&Group>, Vec<&Group>) =
        groups.iter().partition(|group| group.metric.is_primary);
    html! {
        header {
            p.kicker { "ringpoll report" }
            h1 { (title) }
            div.verdict.open {
                @for group in &primary { p.conclusion { (conclusion(group)) } }
            }
        }
        @for group in &primary { (section(group)) }
        @for emulated in [false, true] {
            @let others = others.iter().filter(|group| group.emulated == emulated);
            @if others.clone().next().is_some() {
                section.card {
                    details {
                        summary { h2 { "Other metrics" @if emulated { ", emulated" } } }
                        @for group in others { h3 { (heading(group)) } (table(group)) }
                    }
                }
            }
        }
        (files(side_by_side))
    }
}

/// Returns for example `CPU per request at a fixed rate, B compared with A, 5 results: better on
/// 3, no difference on 2.`
fn conclusion(group: &Group) -> String {
    let verdicts = [
        (Verdict::Better, "better"),
        (Verdict::Worse, "worse"),
        (Verdict::NoDifference, "no difference"),
        (Verdict::Inconclusive, "inconclusive"),
        (Verdict::NotCompared, "not compared"),
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
    let level = match group.metric.load_level {
        LoadLevel::FixedRate => "at a fixed rate",
        LoadLevel::Saturation => "at saturation",
    };
    let sweep = group.experiment.sweep.as_ref();
    let load = (group.result.experiments.len() > 1)
        .then(|| format!(" under {}", group.experiment.load.name));
    let sweep = sweep.map(|it| format!(", {} = {}", it.key, it.value)).or(load).unwrap_or_default();
    format!(
        "{}{} {level}{sweep}, {} compared with {}",
        if group.emulated { "Emulated: " } else { "" },
        group.metric.metric.label(),
        arms[group.comparison.candidate].label,
        arms[group.comparison.baseline].label,
    )
}

fn section(group: &Group) -> Markup {
    html! {
        section.card {
            h2 { (heading(group)) }
            p.load { "Load: " (group.experiment.load.description) }
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
                        th scope="col" { "kernel · CPU" }
                        th.number scope="col" { "offered, requests/s" }
                        (label(group.comparison.baseline))
                        (label(group.comparison.candidate))
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
    let [at_experiment, at_comparison, at_metric] = row.indices;
    let experiment = JsonPath::root_of(row.index).at("experiments").at(at_experiment);
    let json = experiment.at("comparisons").at(at_comparison).at("metrics").at(at_metric);
    let metric = row.metric;
    let levels = row.experiment.load_levels.iter().enumerate();
    let rate = levels.filter(|it| it.1.load_level == metric.load_level).map(|(at, it)| {
        let json = experiment.at("load_levels").at(at).at("requests_per_second");
        numbers::of_metric(&json, Metric::Throughput, it.requests_per_second)
    });
    let noise = row.experiment.control.metric(metric.at());
    html! {
        tr {
            th scope="row" {
                (row.named.result.environment.kernel_release)
                div.aside { (row.named.result.environment.cpu.model) }
            }
            td.number { @for it in rate { (it) } }
            td.number { (numbers::of_metric(&json.at("baseline"), metric.metric, metric.baseline)) }
            td.number { (numbers::of_metric(&json.at("candidate"), metric.metric, metric.candidate)) }
            td.picture { (axis.mark(&json, metric, noise)) }
            td.number { (numbers::ratio(&json.at("ratio"), metric.ratio)) }
            td.number { (interval(&json, metric)) }
            td {
                @if row.is_invalid() {
                    span.verdict-label.worse { span.sign aria-hidden="true" { "✗" } " invalid" }
                    div.reason { (row.experiment.conclusion) }
                } @else {
                    (verdict(metric)) (reason(metric))
                }
            }
        }
    }
}

fn files(side_by_side: &SideBySide) -> Markup {
    let columns = ["file", "kernel", "CPU", "virtualisation", "ringpoll", "started", "conclusion"];
    let rows = html! {
        @for named in side_by_side.all {
            @let environment = &named.result.environment;
            @let program = &environment.program;
            tr {
                th scope="row" { code { (named.name) } }
                td { (environment.kernel_release) }
                td { (environment.cpu.model) }
                td { (environment.virtualisation) }
                td { (program.version) " " (program.git_commit.as_deref().unwrap_or("")) }
                td { (named.result.started_at) }
                td.prose { (named.result.conclusion) }
            }
        }
    };
    html! { section.card { h2 { "Results" } (super::table("", "lllllll", &columns, &rows)) } }
}
