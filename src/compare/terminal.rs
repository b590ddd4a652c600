//! A result as lines for a terminal: first what it comes to, then the figures, then why.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::ladder;
use super::words::{at_point, percentage, sentence_of_load, thousands};
use crate::report::result::{
    Comparison, ComparisonResult, Experiment, Gate, GateEffect, Ladder, Metric, MetricResult,
};
use crate::report::verdict_words::verdict_words;

/// All of it, with tables that are no wider than a terminal is; without a width as wide as they
/// are.
pub fn render(result: &ComparisonResult, width: Option<u16>) -> String {
    let mut text = match &result.experiments[..] {
        all if has_several_loads(result) => {
            all.iter().map(|it| sentence_of_load(it) + "\n").collect()
        }
        _ => format!("{}\n", result.sentence),
    };
    for experiment in &result.experiments {
        render_experiment(&mut text, result, experiment, width);
    }
    render_method(&mut text, result);
    text
}

/// Whether there is a verdict for each of several loads, and no map.
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
    let _ = writeln!(text, "\nload: {name}{}", load.text);
    if !load.server_settings.is_empty() {
        let set = load.server_settings.iter().filter(|it| !it.value.is_empty());
        let set: Vec<_> = set.map(|it| format!("{}={}", it.key, it.value)).collect();
        let _ = writeln!(text, "all engines serve it with {}", set.join(", "));
    }
    if let Some(sweep) = &experiment.sweep {
        let _ = writeln!(text, "{} = {}: {}", sweep.key, sweep.value, experiment.sentence);
    }
    if let Some(ladder) = &experiment.ladder {
        render_ladder(text, result, experiment, ladder, width);
    }
    let comparisons = experiment.comparisons.iter().filter(|_| experiment.ladder.is_none());
    for comparison in comparisons {
        let mut table = table(result, experiment, comparison);
        if let Some(width) = width {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        let _ = writeln!(text, "\n{}", table.trim_fmt());
        if !comparison.why.is_empty() {
            let _ = writeln!(text, "\nWhy");
        }
        for line in &comparison.why {
            let _ = writeln!(text, "  {line}");
        }
    }
    if !(experiment.gates.is_empty() && experiment.notes.is_empty()) {
        let _ = writeln!(text, "\nTo be known");
    }
    for gate in &experiment.gates {
        render_gate(text, gate, &experiment.sentence);
    }
    for note in &experiment.notes {
        let _ = writeln!(text, "  note: {note}.");
    }
}

/// In place of fifteen tables; they are in the JSON and on the page.
fn render_ladder(
    text: &mut String,
    result: &ComparisonResult,
    experiment: &Experiment,
    ladder: &Ladder,
    width: Option<u16>,
) {
    let mut table = ladder::table::table(result, experiment, ladder);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    for rung in &ladder.rungs {
        if let Some(remark) = &rung.remark {
            let _ = writeln!(text, "  {}: {remark}.", result.arms[rung.arm].label);
        }
    }
}

fn table(result: &ComparisonResult, experiment: &Experiment, comparison: &Comparison) -> Table {
    let mut table = Table::new();
    // A line under the names, and nothing else.
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    let first = &result.arms[comparison.baseline].label;
    let other = &result.arms[comparison.contender].label;
    table.set_header(["", first, other, "ratio", "interval", "verdict", "noise"]);
    let mut point = None;
    for metric in &comparison.metrics {
        if point != Some(metric.point) {
            point = Some(metric.point);
            table.add_row([at_point(metric.point, &experiment.working_points)]);
        }
        let same = |it: &&MetricResult| it.metric == metric.metric && it.point == metric.point;
        table.add_row(row(metric, experiment.control.metrics.iter().find(same)));
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(result: &MetricResult, control: Option<&MetricResult>) -> [String; 7] {
    let interval = match (result.low, result.high) {
        (Some(low), Some(high)) => format!("{low:.3} – {high:.3}"),
        _ => "–".to_owned(),
    };
    let noise = control.and_then(|it| Some((it.low?, it.high?)));
    let unit = result.metric.unit();
    let unit = if unit.is_empty() { String::new() } else { format!(", {unit}") };
    [
        format!("  {}{unit}", result.metric.words()),
        value(result.metric, result.baseline),
        value(result.metric, result.contender),
        result.ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.3}")),
        interval,
        verdict_words(result) + if result.decides { " ◄" } else { "" },
        noise.map_or_else(String::new, |(low, high)| {
            format!("±{}", percentage((high / low).sqrt() - 1.0))
        }),
    ]
}

fn value(metric: Metric, value: Option<f64>) -> String {
    match (metric, value) {
        (_, None) => "–".to_owned(),
        (Metric::Throughput, Some(value)) => thousands(value),
        (_, Some(value)) if value >= 1000.0 => thousands(value),
        (_, Some(value)) if value >= 100.0 => format!("{value:.0}"),
        (_, Some(value)) if value >= 0.1 => format!("{value:.2}"),
        (_, Some(value)) => format!("{value:.4}"),
    }
}

fn render_gate(text: &mut String, gate: &Gate, said: &str) {
    let effect = match gate.effect {
        GateEffect::Invalid => "invalid",
        GateEffect::NotJudgeable => "not judged",
        GateEffect::Warning => "note",
    };
    let what: Vec<&str> = gate.metrics.iter().map(|at| at.metric.words()).collect();
    let what = if what.is_empty() { String::new() } else { format!(" {}", what.join(", ")) };
    if said.contains(&gate.reason) && gate.effect == GateEffect::Invalid {
        return;
    }
    let _ = writeln!(text, "  {effect}{what}: {}. Try: {}.", gate.reason, gate.remedy);
}

fn render_method(text: &mut String, result: &ComparisonResult) {
    let (environment, method) = (&result.environment, &result.method);
    let _ = writeln!(text, "\nMethod");
    for experiment in &result.experiments {
        let several = has_several_loads(result);
        let name = if several { format!("{}: ", experiment.load.name) } else { String::new() };
        let blocks = experiment.looks.last().map_or(0, |look| look.blocks);
        let _ = writeln!(
            text,
            "  {name}{} rounds of {:.1} s in {blocks} blocks, each with a new server of every arm and two \
             of the first (noise); within a block they have the load in short slices in turn, in \
             random order, seed {}",
            experiment.rounds.len(),
            method.round_seconds,
            method.seed
        );
    }
    let placement = &method.placement;
    let _ = writeln!(
        text,
        "  server on processor {:?}, client on {:?}: {}; {}",
        placement.server_cpus, placement.client_cpus, placement.reason, method.isolation.reason
    );
    let is_ladder = result.experiments.iter().any(|it| it.ladder.is_some());
    if is_ladder {
        let _ = writeln!(text, "  each rung has one setting more than the one below it");
    } else if result.differences.is_empty() {
        let _ = writeln!(text, "  all settings are the same in all arms");
    } else {
        let _ = writeln!(text, "  these settings differ, all others are the same in all arms:");
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
    if let Some(doctor) = &environment.doctor {
        let _ = writeln!(text, "  {}", doctor.in_short());
    }
}
