//! The table of results: target, measured value and interval of each benchmark.

use comfy_table::{Table, presets};

use crate::benchmarks::{BENCHMARKS, Source, Target};
use crate::comparisons::Results;
use crate::idle_memory;
use crate::measurement::{Measurement, measure};
use crate::programs::Programs;
use Target::{AtLeast, AtMost, Unset};

/// Returns the table of all requested benchmarks.
pub(crate) fn table(results: &Results, programs: &Programs, only: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["benchmark", "target", "measured", "interval", "reached"]);
    for &(name, target, source) in BENCHMARKS {
        let measured = match source {
            Source::IdleMemory { engine } if only.is_empty() || "idle-memory".contains(only) => {
                idle_memory::measure(programs, engine)
            }
            Source::IdleMemory { .. } => continue,
            source if !results.contains(source.comparison()) => continue,
            source => measure(results, source),
        };
        let mut row = vec![name.to_owned(), format_target(target)];
        row.extend(match measured {
            Ok(it) => {
                [format_value(it.value), format_interval(&it), compare_with_target(target, &it)]
            }
            Err(problem) => [String::new(), String::new(), format!("not measured: {problem}")],
        });
        table.add_row(row);
    }
    table
}

fn format_target(target: Target) -> String {
    match target {
        AtMost(bound) => format!("≤ {bound}"),
        AtLeast(bound) => format!("≥ {bound}"),
        Unset => String::new(),
    }
}

fn format_value(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn format_interval(it: &Measurement) -> String {
    format!("{} … {}", format_value(it.low), format_value(it.high))
}

/// Decides only if the whole interval is on one side of the target.
fn compare_with_target(target: Target, it: &Measurement) -> String {
    let (holds, fails) = match target {
        AtMost(bound) => (it.high <= bound, it.low > bound),
        AtLeast(bound) => (it.low >= bound, it.high < bound),
        Unset => return it.warning.clone().unwrap_or_default(),
    };
    let word = match (holds, fails) {
        (true, _) => "yes",
        (_, true) => "no",
        _ => "undecided",
    };
    match &it.warning {
        Some(warning) => format!("undecided ({word} by the value): {warning}"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(low: f64, high: f64) -> Measurement {
        Measurement { value: low.midpoint(high), low, high, warning: None }
    }

    #[test]
    fn only_the_whole_interval_decides() {
        assert_eq!(compare_with_target(AtMost(1.05), &measured(1.0, 1.05)), "yes");
        assert_eq!(compare_with_target(AtMost(1.05), &measured(1.06, 1.1)), "no");
        assert_eq!(compare_with_target(AtMost(1.05), &measured(1.0, 1.1)), "undecided");
        assert_eq!(compare_with_target(AtLeast(1.04), &measured(1.04, 1.1)), "yes");
        assert_eq!(compare_with_target(AtLeast(1.04), &measured(1.0, 1.03)), "no");
        let no_verdict = Measurement { warning: Some("client-bound".into()), ..measured(1.1, 1.2) };
        let text = compare_with_target(AtLeast(1.04), &no_verdict);
        assert!(text.starts_with("undecided (yes by the value)"));
    }

    #[test]
    fn without_a_target_only_warnings_are_shown() {
        assert_eq!(compare_with_target(Unset, &measured(0.5, 0.6)), "");
        let no_verdict = Measurement { warning: Some("client-bound".into()), ..measured(0.5, 0.6) };
        assert_eq!(compare_with_target(Unset, &no_verdict), "client-bound");
    }
}
