//! The figures, one row each: what is asked, what was measured, and whether it was reached.

use comfy_table::{Table, presets};

use crate::comparisons::Results;
use crate::figures::{Asked, FIGURES, Source};
use crate::idle_memory;
use crate::measured::{Measured, measure};
use crate::programs::Programs;
use Asked::{AtLeast, AtMost, Nothing};

/// All figures.
pub(crate) fn table(results: &Results, programs: &Programs, only: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["figure", "asked", "measured", "interval", "reached"]);
    for &(name, asked, source) in FIGURES {
        let measured = match source {
            Source::IdleMemory { engine } if only.is_empty() || "idle-memory".contains(only) => {
                idle_memory::measure(programs, engine)
            }
            Source::IdleMemory { .. } => continue,
            source if !results.are_asked_for(source.comparison()) => continue,
            source => measure(results, source),
        };
        let mut row = vec![name.to_owned(), asked_in_words(asked)];
        row.extend(match measured {
            Ok(it) => [in_words(it.value), interval(&it), judge(asked, &it)],
            Err(problem) => [String::new(), String::new(), format!("not measured: {problem}")],
        });
        table.add_row(row);
    }
    table
}

fn asked_in_words(asked: Asked) -> String {
    match asked {
        AtMost(bound) => format!("≤ {bound}"),
        AtLeast(bound) => format!("≥ {bound}"),
        Nothing => String::new(),
    }
}

fn in_words(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn interval(it: &Measured) -> String {
    format!("{} … {}", in_words(it.low), in_words(it.high))
}

/// Only an interval that lies on one side as a whole says something.
fn judge(asked: Asked, it: &Measured) -> String {
    let (holds, fails) = match asked {
        AtMost(bound) => (it.high <= bound, it.low > bound),
        AtLeast(bound) => (it.low >= bound, it.high < bound),
        Nothing => return it.remark.clone().unwrap_or_default(),
    };
    let word = match (holds, fails) {
        (true, _) => "yes",
        (_, true) => "no",
        _ => "undecided",
    };
    match &it.remark {
        Some(remark) => format!("undecided ({word} as it stands): {remark}"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(low: f64, high: f64) -> Measured {
        Measured { value: low.midpoint(high), low, high, remark: None }
    }

    #[test]
    fn only_a_whole_interval_decides() {
        assert_eq!(judge(AtMost(1.05), &measured(1.0, 1.05)), "yes");
        assert_eq!(judge(AtMost(1.05), &measured(1.06, 1.1)), "no");
        assert_eq!(judge(AtMost(1.05), &measured(1.0, 1.1)), "undecided");
        assert_eq!(judge(AtLeast(1.04), &measured(1.04, 1.1)), "yes");
        assert_eq!(judge(AtLeast(1.04), &measured(1.0, 1.03)), "no");
        let not_judged = Measured { remark: Some("client-bound".into()), ..measured(1.1, 1.2) };
        assert!(judge(AtLeast(1.04), &not_judged).starts_with("undecided (yes as it stands)"));
    }

    #[test]
    fn where_nothing_is_asked_nothing_is_reached() {
        assert_eq!(judge(Nothing, &measured(0.5, 0.6)), "");
        let not_judged = Measured { remark: Some("client-bound".into()), ..measured(0.5, 0.6) };
        assert_eq!(judge(Nothing, &not_judged), "client-bound");
    }
}
