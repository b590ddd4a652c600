//! A ladder as lines for a terminal.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::compare::words::{at_point, percentage};
use crate::report::result::{ComparisonResult, Experiment, Ladder, MetricResult, Rung, Verdict};
use crate::report::verdict_words::verdict_words;

/// One line for each rung.
pub fn table(result: &ComparisonResult, experiment: &Experiment, ladder: &Ladder) -> Table {
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    let place = at_point(ladder.metric.point, &experiment.working_points);
    let unit = ladder.metric.metric.unit();
    table.set_header([
        format!("{} {place}", ladder.metric.metric.words()),
        unit.to_owned(),
        "system calls".to_owned(),
        "to the first".to_owned(),
        "interval".to_owned(),
        "to the rung below".to_owned(),
        "interval".to_owned(),
        String::new(),
    ]);
    for rung in &ladder.rungs {
        table.add_row(row(result, rung));
    }
    for column in 1..=6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn row(result: &ComparisonResult, rung: &Rung) -> Vec<String> {
    let label = format!("  {}", result.arms[rung.arm].label);
    let nothing = || "–".to_owned();
    if rung.not_in_force.is_some() {
        let mut row = vec![label];
        row.extend((0..6).map(|_| nothing()));
        row.push("not in force here".to_owned());
        return row;
    }
    let number = |value: Option<f64>| value.map_or_else(nothing, |value| format!("{value:.2}"));
    let ratio = |result: Option<&MetricResult>| {
        let ratio = result.and_then(|it| it.ratio);
        ratio.map_or_else(nothing, |ratio| format!("{ratio:.3}"))
    };
    let (to_first, to_below) = (rung.to_first.as_ref(), rung.to_below.as_ref());
    let mut row = vec![label, number(rung.value), number(rung.system_calls_per_request)];
    if rung.below.is_none() {
        let noise = to_first.and_then(|it| Some((it.high? / it.low?).sqrt() - 1.0));
        let noise = noise.map_or_else(nothing, |noise| format!("noise ±{}", percentage(noise)));
        row.extend(["1".to_owned(), noise, nothing(), nothing(), String::new()]);
        return row;
    }
    row.extend([ratio(to_first), interval(to_first), ratio(to_below), interval(to_below)]);
    row.push(to_below.map_or_else(String::new, words));
    row
}

fn interval(result: Option<&MetricResult>) -> String {
    match result.and_then(|it| Some((it.low?, it.high?))) {
        Some((low, high)) => format!("{low:.3} – {high:.3}"),
        None => "–".to_owned(),
    }
}

/// A rung is not an arm that wins or loses: it gains or costs.
pub fn words(result: &MetricResult) -> String {
    match result.verdict {
        Verdict::Better => "gains".to_owned(),
        Verdict::Worse => "costs".to_owned(),
        _ => verdict_words(result),
    }
}
