//! The result as text for a terminal: the conclusion, tables of metrics, causes and notes.

use std::fmt::Write;

use comfy_table::Table;

use super::cells::values;
use super::labels::{gate_effect_label, required_settings, verdict_label, verified};
use super::ladder_table;
use crate::compare::explanation::{at_load_level, format_percentage, load_conclusion};
use crate::console;
use crate::result::{
    Comparison, ComparisonResult, Experiment, Gate, GateEffect, Method, MetricResult,
};

/// Renders a result. `width` limits the tables; `None` leaves them as wide as their content.
pub fn render(result: &ComparisonResult, width: Option<u16>) -> String {
    let mut text = match &result.experiments[..] {
        all if has_several_loads(result) => {
            all.iter().map(|it| load_conclusion(it) + "\n").collect()
        }
        _ => format!("{}\n", result.conclusion),
    };
    for experiment in &result.experiments {
        render_experiment(&mut text, result, experiment, width);
    }
    render_method(&mut text, result);
    text
}

/// Returns true if several loads have a conclusion each, as opposed to the values of a sweep.
pub fn has_several_loads(result: &ComparisonResult) -> bool {
    result.experiments.len() > 1 && result.crossover.is_none()
}

fn render_experiment(
    text: &mut String,
    result: &ComparisonResult,
    experiment: &Experiment,
    width: Option<u16>,
) {
    let load = &experiment.load;
    let name = if has_several_loads(result) { format!("{}: ", load.name) } else { String::new() };
    let _ = writeln!(text, "\nload: {name}{}", load.description);
    if let Some(verified) = verified(result, experiment) {
        let _ = writeln!(text, "responses: {verified}");
    }
    let settings = required_settings(load);
    if !settings.is_empty() {
        let _ = writeln!(text, "required settings: {settings}");
    }
    if let Some(sweep) = &experiment.sweep {
        let _ = writeln!(text, "{} = {}: {}", sweep.key, sweep.value, experiment.conclusion);
    }
    // The JSON and the page have the metrics of each step.
    if let Some(ladder) = &experiment.ladder {
        let table = ladder_table::table(result, experiment, ladder, width);
        let _ = writeln!(text, "\n{}", table.trim_fmt());
    }
    let comparisons = experiment.comparisons.iter().filter(|_| experiment.ladder.is_none());
    for comparison in comparisons {
        let table = table(result, experiment, comparison, width);
        let _ = writeln!(text, "\n{}", table.trim_fmt());
        if !comparison.causes.is_empty() {
            let _ = writeln!(text, "\nWhy");
        }
        for line in &comparison.causes {
            let _ = writeln!(text, "  {line}");
        }
    }
    if !(experiment.gates.is_empty() && experiment.notes.is_empty()) {
        let _ = writeln!(text, "\nNotes");
    }
    for note in notes(experiment) {
        let _ = writeln!(text, "  {note}");
    }
}

fn table(
    result: &ComparisonResult,
    experiment: &Experiment,
    comparison: &Comparison,
    width: Option<u16>,
) -> Table {
    let baseline = &result.arms[comparison.baseline].label;
    let candidate = &result.arms[comparison.candidate].label;
    let header = ["", baseline, candidate, "ratio", "interval", "verdict", "noise"];
    let mut table = console::table(header, width);
    let mut load_level = None;
    for metric in &comparison.metrics {
        if load_level != Some(metric.load_level) {
            load_level = Some(metric.load_level);
            table.add_row([at_load_level(metric.load_level, &experiment.load_levels)]);
        }
        table.add_row(row(experiment, metric));
    }
    console::align_right(&mut table, 1..=4);
    table
}

/// Returns the cells of a metric: name, values of both arms, ratio, interval, verdict and noise.
pub fn row(experiment: &Experiment, result: &MetricResult) -> [String; 7] {
    let [baseline, candidate, ratio, interval] = values(result);
    let noise = experiment.control.metric(result.at()).and_then(|it| Some((it.low?, it.high?)));
    let unit = result.metric.unit();
    let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
    [
        format!("  {}{unit}", result.metric.label()),
        baseline,
        candidate,
        ratio,
        interval,
        verdict_label(result) + if result.is_primary { " ◄" } else { "" },
        noise.map_or_else(String::new, |(low, high)| {
            format!("±{}", format_percentage((high / low).sqrt() - 1.0))
        }),
    ]
}

/// Returns the gates that the conclusion does not contain, and the notes.
pub fn notes(experiment: &Experiment) -> Vec<String> {
    let is_in_conclusion = |gate: &Gate| {
        gate.effect == GateEffect::Invalid && experiment.conclusion.contains(&gate.reason)
    };
    let gates = experiment.gates.iter().filter(|gate| !is_in_conclusion(gate)).map(gate_text);
    gates.chain(experiment.notes.iter().map(|note| format!("note: {note}"))).collect()
}

fn gate_text(gate: &Gate) -> String {
    let (_, effect) = gate_effect_label(gate.effect);
    let metrics: Vec<&str> = gate.metrics.iter().map(|at| at.metric.label()).collect();
    let metrics =
        if metrics.is_empty() { String::new() } else { format!(" ({})", metrics.join(", ")) };
    format!("{effect}{metrics}: {} {}", gate.reason, gate.remedy)
}

/// Returns for example `48 rounds of 0.2 s in 8 blocks`; a compact file does not have the number of
/// rounds.
pub fn rounds(result: &ComparisonResult, experiment: &Experiment) -> String {
    let count = match experiment.rounds.len() {
        0 => String::new(),
        count => format!("{count} "),
    };
    let blocks = experiment.interim_analyses.last().map_or(0, |it| it.blocks);
    format!("{count}rounds of {:.1} s in {blocks} blocks", result.method.round_seconds)
}

/// Describes the CPUs and the network of server and client.
pub fn placement(method: &Method) -> String {
    let placement = &method.cpu_placement;
    format!(
        "server on CPUs {:?}, client on CPUs {:?}: {}; {}",
        placement.server_cpus, placement.client_cpus, placement.reason, method.isolation.reason
    )
}

fn render_method(text: &mut String, result: &ComparisonResult) {
    let (environment, method) = (&result.environment, &result.method);
    let _ = writeln!(text, "\nMethod");
    for experiment in &result.experiments {
        let several = has_several_loads(result);
        let name = if several { format!("{}: ", experiment.load.name) } else { String::new() };
        let _ = writeln!(
            text,
            "  {name}{}; a block starts a new server of each arm and a second one of the first arm \
             (noise), and applies the load in short slices in random order, seed {}",
            rounds(result, experiment),
            method.seed
        );
    }
    let _ = writeln!(text, "  {}", placement(method));
    let is_ladder = result.experiments.iter().any(|it| it.ladder.is_some());
    if is_ladder {
        let _ = writeln!(text, "  each step changes one setting of the previous step");
    } else if result.differences.is_empty() {
        let _ = writeln!(text, "  all arms have the same settings");
    } else {
        let _ = writeln!(text, "  differences between the arms:");
    }
    for difference in result.differences.iter().filter(|_| !is_ladder) {
        let values: Vec<_> =
            difference.values.iter().map(|value| value.as_deref().unwrap_or("–")).collect();
        let _ = writeln!(text, "    {}: {}", difference.key, values.join(" · "));
    }
    let _ = writeln!(
        text,
        "  Linux {}, {} × {}, virtualisation: {}",
        environment.kernel_release,
        environment.cpu.available,
        environment.cpu.model,
        environment.virtualisation
    );
    let _ = writeln!(text, "  {}", environment.doctor.summary());
}
