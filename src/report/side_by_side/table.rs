//! Terminal tables of several results.

use std::fmt::Write;

use comfy_table::{ColumnConstraint, Table};

use super::{Group, Row, SideBySide};
use crate::compare::explanation::{at_load_level, format_thousands};
use crate::console;
use crate::report::cells::{NO_VALUE, values};
use crate::report::labels::verdict_label;
use crate::result::{LoadLevel, Metric};

/// Returns tables of the primary metric and of throughput, at most `width` columns wide. Other
/// metrics are only in the HTML page.
pub fn render(side_by_side: &SideBySide, width: Option<u16>) -> String {
    let mut text = String::new();
    for group in side_by_side.groups() {
        let metric = group.metric.metric;
        if group.metric.is_primary || matches!(metric, Metric::Throughput | Metric::BytesThroughput)
        {
            let _ = writeln!(text, "{}\n{}\n", heading(&group), table(&group, width));
        }
    }
    text + "For the other metrics, use --html FILE.\n"
}

fn heading(group: &Group) -> String {
    let arms = &group.result.arms;
    let level = match group.metric.load_level {
        // The rate differs between machines, so it is in the rows.
        LoadLevel::FixedRate => "at a fixed rate".to_owned(),
        LoadLevel::Saturation => at_load_level(LoadLevel::Saturation, &[]),
    };
    let emulated = if group.emulated { "EMULATED CPU, not times of a real machine: " } else { "" };
    let unit = match group.metric.metric.unit() {
        "" => String::new(),
        unit => format!(" ({unit})"),
    };
    let sweep = match &group.experiment.sweep {
        Some(sweep) => format!(", {} = {}", sweep.key, sweep.value),
        None => String::new(),
    };
    format!(
        "{emulated}{}{unit} {level}: {} compared with {}{sweep}\nload: {}: {}",
        group.metric.metric.label(),
        arms[group.comparison.candidate].label,
        arms[group.comparison.baseline].label,
        group.experiment.load.name,
        group.experiment.load.description
    )
}

fn table(group: &Group, width: Option<u16>) -> Table {
    let arms = &group.result.arms;
    let [baseline, candidate] = [group.comparison.baseline, group.comparison.candidate];
    let [baseline, candidate] = [&arms[baseline].label, &arms[candidate].label];
    let rest = ["ratio", "interval", "verdict", "file"];
    let header = ["kernel · CPU", "requests/s", baseline, candidate].into_iter().chain(rest);
    let mut table = console::table(header, width);
    table.add_rows(group.rows.iter().map(cells));
    console::align_right(&mut table, 1..=5);
    // In a narrow table, names are wrapped and numbers are not.
    for column in table.column_iter_mut().take(7).skip(4) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}

fn cells(row: &Row) -> [String; 8] {
    let metric = row.metric;
    let rate = row.experiment.load_levels.iter().find(|it| it.load_level == metric.load_level);
    let rate = rate.and_then(|it| it.requests_per_second);
    let [baseline, candidate, ratio, interval] = values(metric);
    [
        row.machine(),
        rate.map_or_else(|| NO_VALUE.to_owned(), format_thousands),
        baseline,
        candidate,
        ratio,
        interval,
        if row.is_invalid() { "invalid".to_owned() } else { verdict_label(metric) },
        row.named.name.clone(),
    ]
}
