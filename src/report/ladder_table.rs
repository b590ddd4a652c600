//! A ladder as a table for a terminal.

use comfy_table::Table;

use super::cells::{NO_VALUE, interval, ratio};
use super::labels::verdict_label;
use crate::compare::explanation::{at_load_level, format_percentage};
use crate::console;
use crate::result::{
    ComparisonResult, Experiment, LadderResult, LadderStepResult, MetricResult, Verdict,
};

/// Returns a table with one line for each step.
pub fn table(
    result: &ComparisonResult,
    experiment: &Experiment,
    ladder: &LadderResult,
    width: Option<u16>,
) -> Table {
    let mut table = console::table(header(experiment, ladder), width);
    table.add_rows(ladder.steps.iter().map(|step| row(result, step)));
    console::align_right(&mut table, 1..=6);
    table
}

/// Returns the names of the columns of [`row`].
pub fn header(experiment: &Experiment, ladder: &LadderResult) -> [String; 8] {
    let load_level = at_load_level(ladder.metric.load_level, &experiment.load_levels);
    [
        format!("{} {load_level}", ladder.metric.metric.label()),
        ladder.metric.metric.unit().to_owned(),
        "system calls".to_owned(),
        "to first step".to_owned(),
        "interval".to_owned(),
        "to previous step".to_owned(),
        "interval".to_owned(),
        String::new(),
    ]
}

/// Returns the cells of a step.
pub fn row(result: &ComparisonResult, step: &LadderStepResult) -> Vec<String> {
    let label = format!("  {}", result.arms[step.arm].label);
    let dash = || NO_VALUE.to_owned();
    if step.unused_reason.is_some() {
        let mut row = vec![label];
        row.extend((0..6).map(|_| dash()));
        row.push("not in force".to_owned());
        return row;
    }
    let number = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.2}"));
    let (to_first, to_previous) = (step.to_first.as_ref(), step.to_previous.as_ref());
    let mut row = vec![label, number(step.value), number(step.system_calls_per_request)];
    if step.previous.is_none() {
        let noise = to_first.and_then(|it| Some((it.high? / it.low?).sqrt() - 1.0));
        let noise = noise.map_or_else(dash, |noise| format!("noise ±{}", format_percentage(noise)));
        row.extend(["1".to_owned(), noise, dash(), dash(), String::new()]);
        return row;
    }
    row.extend([ratio(to_first), interval(to_first), ratio(to_previous), interval(to_previous)]);
    row.push(to_previous.map_or_else(String::new, verdict_text));
    row
}

/// Describes the verdict of a step.
pub fn verdict_text(result: &MetricResult) -> String {
    match result.verdict {
        Verdict::Better => "improvement".to_owned(),
        Verdict::Worse => "regression".to_owned(),
        _ => verdict_label(result),
    }
}
