//! Terminal tables of several results.

use std::fmt::Write;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};

use super::{Group, Row, SideBySide};
use crate::compare::explanation::{at_load_level, format_thousands};
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
    let mut table = Table::new();
    let line = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(line));
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let arms = &group.result.arms;
    table.set_header([
        "kernel · CPU".to_owned(),
        "requests/s".to_owned(),
        arms[group.comparison.baseline].label.clone(),
        arms[group.comparison.candidate].label.clone(),
        "ratio".to_owned(),
        "interval".to_owned(),
        "verdict".to_owned(),
        "file".to_owned(),
    ]);
    table.add_rows(group.rows.iter().map(cells));
    for (index, column) in table.column_iter_mut().enumerate() {
        if (1..=5).contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        // In a narrow table, names are wrapped and numbers are not.
        if (4..=6).contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
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
