//! Numbers with units, as they are printed for people.

use std::time::Duration;

pub(super) use crate::console::with_commas as count;

/// Formats a time with three digits: `812 ns`, `43.2 µs`, `1.25 ms`, `2.10 s`.
pub(super) fn time(time_ns: u64) -> String {
    let (unit, size_ns) = match time_ns {
        0..1_000 => return format!("{time_ns} ns"),
        1_000..1_000_000 => ("µs", 1e3),
        1_000_000..1_000_000_000 => ("ms", 1e6),
        _ => ("s", 1e9),
    };
    format!("{} {unit}", significant(time_ns as f64 / size_ns))
}

/// Formats a duration like [`time`].
pub(super) fn duration(duration: Duration) -> String {
    time(duration.as_nanos() as u64)
}

/// Formats a size with a decimal prefix, as in `22.1 MB`.
pub(super) fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e3 => format!("{bytes:.0} B"),
        ..1e6 => format!("{} kB", significant(bytes / 1e3)),
        ..1e9 => format!("{} MB", significant(bytes / 1e6)),
        _ => format!("{} GB", significant(bytes / 1e9)),
    }
}

fn significant(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_a_comma_every_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn times_and_sizes_have_three_digits() {
        assert_eq!(time(812), "812 ns");
        assert_eq!(time(1_000), "1.00 µs");
        assert_eq!(time(43_210), "43.2 µs");
        assert_eq!(time(125_900_000), "126 ms");
        assert_eq!(time(2_100_000_000), "2.10 s");
        assert_eq!(time(9_996_000_000), "10.0 s");
        assert_eq!(duration(Duration::from_millis(10)), "10.0 ms");
        assert_eq!([bytes(114.0), bytes(22.1e6)], ["114 B", "22.1 MB"]);
        assert_eq!([bytes(1e3), bytes(2.5e9)], ["1.00 kB", "2.50 GB"]);
    }
}
