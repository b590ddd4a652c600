//! Section of one experiment: gates, verdicts, causes, plots and measured values.

use maud::{Markup, html};

use super::numbers::{self, JsonPath};
use super::{arm_marks, ladder, latency, metrics, rounds};
use crate::compare::explanation::at_load_level;
use crate::report::labels::{
    gate_effect_label, gate_label, outcome_label, required_settings, verified,
};
use crate::result::{
    ArmSummary, ComparisonResult, Experiment, Gate, GateEffect, LoadLevel, Metric, StopReason,
};

const LOAD_LEVELS: [LoadLevel; 2] = [LoadLevel::FixedRate, LoadLevel::Saturation];

/// Returns the section. It can be collapsed if there are several.
pub(super) fn section(
    result: &ComparisonResult,
    experiment: &Experiment,
    json: &JsonPath,
    several: bool,
) -> Markup {
    let heading = match &experiment.sweep {
        Some(sweep) => format!("{} = {}", sweep.key, sweep.value),
        None if experiment.ladder.is_some() && several => {
            format!("{}: gain of each step", experiment.load.name)
        }
        None if experiment.ladder.is_some() => "Gain of each step".to_owned(),
        None if several => format!("{}: verdict by metric", experiment.load.name),
        None => "Verdict by metric".to_owned(),
    };
    let content = content(result, experiment, json, several);
    let (sign, words) = outcome_label(experiment.outcome);
    html! {
        section.card {
            @if several {
                // The crossover map already shows the verdicts of a sweep.
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
    json: &JsonPath,
    several: bool,
) -> Markup {
    html! {
        p.load { "Load: " (experiment.load.description) (server_settings(experiment)) }
        @if let Some(verified) = verified(result, experiment) {
            p.load { "Responses: " (verified) }
        }
        @if several { p { (experiment.conclusion) } }
        @if let Some(ladder) = &experiment.ladder {
            (ladder::section(result, experiment, ladder, json))
            (gates(experiment))
            details {
                summary { "All metrics of each step, compared with the first" }
                (comparisons(result, experiment, json))
            }
        } @else {
            (gates(experiment))
            (comparisons(result, experiment, json))
            // A ladder has too many arms for these plots.
            (pictures(result, experiment))
        }
        (latency::table(result, experiment, json))
        (summaries(result, experiment, json))
        (notes(result, experiment, json))
    }
}

fn comparisons(result: &ComparisonResult, experiment: &Experiment, json: &JsonPath) -> Markup {
    html! {
        @for (index, comparison) in experiment.comparisons.iter().enumerate() {
            @if experiment.comparisons.len() > 1 { p { (comparison.conclusion) } }
            (metrics::table(result, experiment, index, json))
            @if !comparison.causes.is_empty() {
                h3 { "Why" }
                ul.causes { @for line in &comparison.causes { (cause(line)) } }
            }
        }
    }
}

fn server_settings(experiment: &Experiment) -> Markup {
    let settings = required_settings(&experiment.load);
    html! {
        @if !settings.is_empty() { "; required settings: " code { (settings) } }
    }
}

/// Formats `name: text` with an emphasised name.
fn cause(line: &str) -> Markup {
    let (name, rest) = line.split_once(": ").unwrap_or(("", line));
    html! { li { @if !name.is_empty() { strong { (name) } " " } (rest) } }
}

fn gates(experiment: &Experiment) -> Markup {
    html! {
        h3 { "Validity" }
        @if experiment.gates.is_empty() {
            p.passed { span.sign aria-hidden="true" { "✓" } " All gates passed." }
        } @else {
            ul.gates { @for gate in &experiment.gates { (one_gate(gate)) } }
        }
    }
}

fn one_gate(gate: &Gate) -> Markup {
    let (sign, effect) = gate_effect_label(gate.effect);
    let class = match gate.effect {
        GateEffect::Invalid => "invalid",
        GateEffect::NotCompared => "not-compared",
        GateEffect::Warning => "warning",
    };
    let concerned = concerned(gate);
    html! {
        li class=(class) {
            strong { span.sign aria-hidden="true" { (sign) } " " (effect) ": " (gate_label(gate.kind)) }
            @if !concerned.is_empty() { " (" (concerned) ")" }
            div { (gate.reason) }
            div.remedy { (gate.remedy) }
        }
    }
}

/// Returns for example `latency p50, latency p99 at a fixed rate; throughput at saturation`.
fn concerned(gate: &Gate) -> String {
    let at = |load_level: LoadLevel| {
        let here = gate.metrics.iter().filter(|it| it.load_level == load_level);
        let words: Vec<&str> = here.map(|it| it.metric.label()).collect();
        (!words.is_empty())
            .then(|| format!("{} {}", words.join(", "), at_load_level(load_level, &[])))
    };
    LOAD_LEVELS.into_iter().filter_map(at).collect::<Vec<_>>().join("; ")
}

fn pictures(result: &ComparisonResult, experiment: &Experiment) -> Markup {
    let latencies = LOAD_LEVELS.map(|load_level| latency::figure(result, experiment, load_level));
    let rounds = LOAD_LEVELS.map(|load_level| rounds::figure(result, experiment, load_level));
    let figures: Vec<Markup> = latencies.into_iter().chain(rounds).flatten().collect();
    let more = html! {
        span.chip {
            svg.any width="26" height="12" aria-hidden="true" { path.line.thin d="M0 6H26" {} }
            " uncorrected: since the request was sent"
        }
        " "
        span.chip {
            svg.any.control width="12" height="12" aria-hidden="true" {
                path.mark d=(arm_marks::shape(0, 6.0, 6.0, 4.0)) {}
            }
            " hollow: second instance of the first arm"
        }
    };
    html! {
        // A compact file has no histograms and no rounds.
        @if !figures.is_empty() {
            h3 { "Latency and rounds" }
            (arm_marks::legend(&result.arms, &more))
            div.pictures { @for it in figures { (it) } }
        }
    }
}

fn summaries(result: &ComparisonResult, experiment: &Experiment, json: &JsonPath) -> Markup {
    // Results of earlier versions have none.
    let has_memory = experiment.summaries.iter().any(|it| it.peak_resident_bytes > 0);
    let columns = [
        "load level",
        "arm",
        "rounds",
        "requests/s",
        "CPU µs/request",
        "user mode",
        "server CPU",
        "client CPU",
        "system calls/request",
        "context switches/request",
        "events/wait",
        "peak memory, MiB",
    ];
    let columns = &columns[..columns.len() - usize::from(!has_memory)];
    let rows = html! {
        @for (index, summary) in experiment.summaries.iter().enumerate() {
            @let json = json.at("summaries").at(index);
            (summary_row(result, experiment, summary, &json, has_memory))
        }
    };
    super::table("Medians over the rounds of each arm", "llrrrrrrrrrr", columns, &rows)
}

fn summary_row(
    result: &ComparisonResult,
    experiment: &Experiment,
    it: &ArmSummary,
    json: &JsonPath,
    has_memory: bool,
) -> Markup {
    let of = |name: &str, metric: Metric, value: Option<f64>| {
        html! { td.number { (numbers::of_metric(&json.at(name), metric, value)) } }
    };
    let share = |name: &str, value: Option<f64>| {
        html! { td.number { (numbers::percent(&json.at(name), value, 0)) } }
    };
    html! {
        tr {
            td { (at_load_level(it.load_level, &experiment.load_levels)) }
            td { (arm_marks::chip(&result.arms, it.arm)) }
            td.number { (numbers::count(&json.at("rounds"), it.rounds as u64)) }
            (of("requests_per_second", Metric::Throughput, Some(it.requests_per_second)))
            (of("cpu_per_request_us", Metric::CpuPerRequest, Some(it.cpu_per_request_us)))
            (share("user_cpu_share", it.user_cpu_share))
            (share("server_cpu_utilization", Some(it.server_cpu_utilization)))
            (share("client_cpu_utilization", Some(it.client_cpu_utilization)))
            (of("system_calls_per_request", Metric::SystemCallsPerRequest, it.system_calls_per_request))
            (of(
                "context_switches_per_request",
                Metric::ContextSwitchesPerRequest,
                Some(it.context_switches_per_request),
            ))
            td.number { (numbers::decimal(&json.at("events_per_wait"), it.events_per_wait, 1)) }
            @if has_memory {
                td.number {
                    (numbers::mebibytes(&json.at("peak_resident_bytes"), it.peak_resident_bytes))
                }
            }
        }
    }
}

fn notes(result: &ComparisonResult, experiment: &Experiment, json: &JsonPath) -> Markup {
    let stop_reason = match experiment.stop_reason {
        StopReason::Decided => "the interval of the primary metric was narrow enough",
        StopReason::BudgetSpent => "the time budget was spent",
        StopReason::Interrupted => "it was interrupted",
    };
    let analyses = &experiment.interim_analyses;
    html! {
        h3 { "Notes" }
        ul.notes {
            li {
                @if !experiment.rounds.is_empty() { (experiment.rounds.len()) " rounds. " }
                "The experiment ended"
                @if let Some(last) = analyses.last() {
                    @let blocks = json.at("interim_analyses").at(analyses.len() - 1).at("blocks");
                    " at interim analysis " (analyses.len()) ", after "
                    (numbers::count(&blocks, last.blocks as u64)) " blocks"
                }
                ", because " (stop_reason) "."
            }
            @for (index, level) in experiment.load_levels.iter().enumerate() {
                @let (rate, origin) = (level.requests_per_second, &level.rate_origin);
                @if let (Some(rate), Some(origin)) = (rate, origin) {
                    @let at = json.at("load_levels").at(index).at("requests_per_second");
                    li {
                        "Rate offered to all arms: " (numbers::of_metric(&at, Metric::Throughput, Some(rate)))
                        " requests/s, " (origin) "."
                    }
                }
            }
            @if result.differences.is_empty() { li { "All settings are equal in all arms." } }
            @for note in &experiment.notes { li { (note) } }
        }
    }
}
