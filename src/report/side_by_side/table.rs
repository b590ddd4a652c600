//! Results beside each other, for a terminal.

use std::fmt::Write;

use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};

use super::{Group, Row, SideBySide};
use crate::compare::words::{at_point, thousands};
use crate::report::result::{Metric, Point};
use crate::report::verdict_words::verdict_words;

/// What decides, and the throughput, in tables that are at most so many columns wide. The page has
/// all the other metrics.
pub fn render(side_by_side: &SideBySide, width: Option<u16>) -> String {
    let mut text = String::new();
    for group in side_by_side.groups() {
        if group.metric.decides || group.metric.metric == Metric::Throughput {
            let _ = writeln!(text, "{}\n{}\n", heading(&group), table(&group, width));
        }
    }
    text + "The other metrics: --html FILE\n"
}

fn heading(group: &Group) -> String {
    let arms = &group.result.arms;
    let place = match group.metric.point {
        // Each machine has a rate of its own, which stands in its row.
        Point::FixedRate => "at a fixed rate".to_owned(),
        Point::Saturated => at_point(Point::Saturated, &[]),
    };
    let emulated = if group.emulated { "EMULATED, no time of a real machine: " } else { "" };
    let unit = match group.metric.metric.unit() {
        "" => String::new(),
        unit => format!(" ({unit})"),
    };
    let sweep = match &group.experiment.sweep {
        Some(sweep) => format!(", {} = {}", sweep.key, sweep.value),
        None => String::new(),
    };
    format!(
        "{emulated}{}{unit} {place}: {} against {}{sweep}\nload: {}: {}",
        group.metric.metric.words(),
        arms[group.comparison.contender].label,
        arms[group.comparison.baseline].label,
        group.experiment.load.name,
        group.experiment.load.text
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
        "kernel · processor".to_owned(),
        "requests/s".to_owned(),
        arms[group.comparison.baseline].label.clone(),
        arms[group.comparison.contender].label.clone(),
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
        // Where it is narrow, numbers stay in one piece, and names do not.
        if (4..=6).contains(&index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

fn cells(row: &Row) -> [String; 8] {
    let metric = row.metric;
    let none = || "–".to_owned();
    let points = &row.experiment.working_points;
    let rate = points.iter().find(|it| it.point == metric.point);
    let rate = rate.and_then(|it| it.requests_per_second);
    [
        row.where_words(),
        rate.map_or_else(none, thousands),
        metric.baseline.map_or_else(none, |it| quantity(metric.metric, it)),
        metric.contender.map_or_else(none, |it| quantity(metric.metric, it)),
        metric.ratio.map_or_else(none, |it| format!("{it:.3}")),
        match (metric.low, metric.high) {
            (Some(low), Some(high)) => format!("{low:.3} – {high:.3}"),
            _ => none(),
        },
        if row.is_invalid() { "invalid".to_owned() } else { verdict_words(metric) },
        row.named.name.clone(),
    ]
}

/// As many digits as count.
pub(in crate::report) fn quantity(metric: Metric, value: f64) -> String {
    match value {
        _ if metric == Metric::Throughput => thousands(value),
        value if value >= 1000.0 => thousands(value),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}
