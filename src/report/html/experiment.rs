//! One load: its gates, its verdicts, why, and what was measured.

use maud::{Markup, html};

use super::figure::{self, Place};
use super::{arms, ladder, latency, metrics, rounds};
use crate::compare::words::at_point;
use crate::report::result::{
    ArmSummary, ComparisonResult, Ended, Experiment, Gate, GateEffect, Metric, Point,
};
use crate::report::verdict_words::{effect_words, gate_words, outcome_words};

const POINTS: [Point; 2] = [Point::FixedRate, Point::Saturated];

/// The whole section; folded up where there are several.
pub(super) fn section(
    result: &ComparisonResult,
    experiment: &Experiment,
    place: &Place,
    several: bool,
) -> Markup {
    let heading = match &experiment.sweep {
        Some(sweep) => format!("{} = {}", sweep.key, sweep.value),
        None if experiment.ladder.is_some() && several => {
            format!("{}: what each step gains", experiment.load.name)
        }
        None if experiment.ladder.is_some() => "What each step gains".to_owned(),
        None if several => format!("{}: the verdict, metric by metric", experiment.load.name),
        None => "The verdict, metric by metric".to_owned(),
    };
    let content = content(result, experiment, place, several);
    let (sign, words) = outcome_words(experiment.outcome);
    html! {
        section.card {
            @if several {
                // Of several loads each has its verdict; of a sweep the map tells it.
                details open=[experiment.sweep.is_none().then_some("open")] {
                    summary {
                        h2 { (heading) }
                        span.outcome { span.sign aria-hidden="true" { (sign) } " " (words) }
                    }
                    (content)
                }
            } @else {
                h2 { (heading) }
                (content)
            }
        }
    }
}

fn content(
    result: &ComparisonResult,
    experiment: &Experiment,
    place: &Place,
    several: bool,
) -> Markup {
    html! {
        p.load { "Load: " (experiment.load.text) (served_with(experiment)) }
        @if several { p { (experiment.sentence) } }
        @if let Some(ladder) = &experiment.ladder {
            (ladder::section(result, experiment, ladder, place))
            (gates(experiment))
            details {
                summary { "Each rung against the first, metric by metric" }
                (comparisons(result, experiment, place))
            }
        } @else {
            (gates(experiment))
            (comparisons(result, experiment, place))
            // As many arms as rungs could not be told apart on these.
            (pictures(result, experiment))
        }
        (latency::table(result, experiment, place))
        (summaries(result, experiment, place))
        (course(result, experiment, place))
    }
}

fn comparisons(result: &ComparisonResult, experiment: &Experiment, place: &Place) -> Markup {
    html! {
        @for (index, comparison) in experiment.comparisons.iter().enumerate() {
            @if experiment.comparisons.len() > 1 { p { (comparison.sentence) } }
            (metrics::table(result, experiment, index, place))
            @if !comparison.why.is_empty() {
                h3 { "Why" }
                ul.why { @for line in &comparison.why { (why(line)) } }
            }
        }
    }
}

/// What all engines are set to for this load.
fn served_with(experiment: &Experiment) -> Markup {
    let set = experiment.load.server_settings.iter().filter(|it| !it.value.is_empty());
    let set: Vec<String> = set.map(|it| format!("{}={}", it.key, it.value)).collect();
    html! {
        @if !set.is_empty() { "; all engines serve it with " code { (set.join(", ")) } }
    }
}

/// `name: what it is`, the name set apart.
fn why(line: &str) -> Markup {
    let (name, rest) = line.split_once(": ").unwrap_or(("", line));
    html! { li { @if !name.is_empty() { strong { (name) } " " } (rest) } }
}

fn gates(experiment: &Experiment) -> Markup {
    html! {
        h3 { "Validity" }
        @if experiment.gates.is_empty() {
            p.kept { span.sign aria-hidden="true" { "✓" } " All gates passed: nothing speaks against judging." }
        } @else {
            ul.gates { @for gate in &experiment.gates { (one_gate(gate)) } }
        }
    }
}

fn one_gate(gate: &Gate) -> Markup {
    let (sign, effect) = effect_words(gate.effect);
    let class = match gate.effect {
        GateEffect::Invalid => "invalid",
        GateEffect::NotJudgeable => "not-judgeable",
        GateEffect::Warning => "warning",
    };
    let concerned = concerned(gate);
    html! {
        li class=(class) {
            strong { span.sign aria-hidden="true" { (sign) } " " (effect) ": " (gate_words(gate.kind)) }
            @if !concerned.is_empty() { " (" (concerned) ")" }
            div { (gate.reason) }
            div.remedy { "Try: " (gate.remedy) }
        }
    }
}

/// `latency p50, latency p99 at a fixed rate; throughput at saturation`.
fn concerned(gate: &Gate) -> String {
    let at = |point: Point| {
        let here = gate.metrics.iter().filter(|it| it.point == point);
        let words: Vec<&str> = here.map(|it| it.metric.words()).collect();
        (!words.is_empty()).then(|| format!("{} {}", words.join(", "), at_point(point, &[])))
    };
    POINTS.into_iter().filter_map(at).collect::<Vec<_>>().join("; ")
}

fn pictures(result: &ComparisonResult, experiment: &Experiment) -> Markup {
    let latencies = POINTS.map(|point| latency::figure(result, experiment, point));
    let rounds = POINTS.map(|point| rounds::figure(result, experiment, point));
    let more = html! {
        span.chip {
            svg.any width="26" height="12" aria-hidden="true" { path.line.thin d="M0 6H26" {} }
            " from when a request was really sent"
        }
        " "
        span.chip {
            svg.any.control width="12" height="12" aria-hidden="true" {
                path.mark d=(arms::shape(0, 6.0, 6.0, 4.0)) {}
            }
            " hollow: the first arm's second copy"
        }
    };
    html! {
        h3 { "Latency, and every round" }
        (arms::legend(&result.arms, &more))
        div.pictures { @for it in latencies.into_iter().chain(rounds).flatten() { (it) } }
    }
}

fn summaries(result: &ComparisonResult, experiment: &Experiment, place: &Place) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "What each arm did: medians over its rounds" }
                thead {
                    tr {
                        th scope="col" { "where" }
                        th scope="col" { "arm" }
                        @for name in [
                            "rounds", "requests/s", "CPU µs a request", "user", "server busy",
                            "client busy", "system calls a request", "switches a request",
                            "events a wait",
                        ] { th.number scope="col" { (name) } }
                    }
                }
                tbody {
                    @for (index, summary) in experiment.summaries.iter().enumerate() {
                        (summary_row(result, experiment, summary, &place.at("summaries").at(index)))
                    }
                }
            }
        }
    }
}

fn summary_row(
    result: &ComparisonResult,
    experiment: &Experiment,
    it: &ArmSummary,
    place: &Place,
) -> Markup {
    let of = |name: &str, metric: Metric, value: Option<f64>| {
        html! { td.number { (figure::of_metric(&place.at(name), metric, value)) } }
    };
    let share = |name: &str, value: Option<f64>| {
        html! { td.number { (figure::percent(&place.at(name), value, 0)) } }
    };
    html! {
        tr {
            td { (at_point(it.point, &experiment.working_points)) }
            td { (arms::chip(&result.arms, it.arm)) }
            td.number { (figure::count(&place.at("rounds"), it.rounds as u64)) }
            (of("requests_per_second", Metric::Throughput, Some(it.requests_per_second)))
            (of("cpu_per_request_us", Metric::CpuPerRequest, Some(it.cpu_per_request_us)))
            (share("user_share", it.user_share))
            (share("server_busy", Some(it.server_busy)))
            (share("client_busy", Some(it.client_busy)))
            (of("system_calls_per_request", Metric::SystemCallsPerRequest, it.system_calls_per_request))
            (of(
                "context_switches_per_request",
                Metric::ContextSwitchesPerRequest,
                Some(it.context_switches_per_request),
            ))
            td.number { (figure::decimal(&place.at("events_per_wait"), it.events_per_wait, 1)) }
        }
    }
}

fn course(result: &ComparisonResult, experiment: &Experiment, place: &Place) -> Markup {
    let ended = match experiment.ended {
        Ended::Decided => "the interval of the metric that decides was narrow enough",
        Ended::BudgetSpent => "the time was spent",
        Ended::Interrupted => "somebody ended it",
    };
    html! {
        ul.notes {
            li {
                (experiment.rounds.len()) " rounds; ended because " (ended)
                @if let Some(look) = experiment.looks.last() {
                    @let looks = place.at("looks").at(experiment.looks.len() - 1);
                    " at look " (experiment.looks.len()) ", after "
                    (figure::count(&looks.at("blocks"), look.blocks as u64)) " blocks"
                }
                "."
            }
            @for (index, point) in experiment.working_points.iter().enumerate() {
                @if let (Some(rate), Some(origin)) = (point.requests_per_second, &point.rate_origin) {
                    @let at = place.at("working_points").at(index).at("requests_per_second");
                    li {
                        "Offered to all arms: " (figure::of_metric(&at, Metric::Throughput, Some(rate)))
                        " requests/s, " (origin) "."
                    }
                }
            }
            @if result.differences.is_empty() { li { "All settings are the same in all arms." } }
            @for note in &experiment.notes { li { (note) } }
        }
    }
}
