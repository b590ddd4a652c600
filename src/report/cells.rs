//! Values, ratios and intervals as text in tables.

use crate::compare::explanation::format_thousands;
use crate::result::{Metric, MetricResult};

/// Text of a missing value.
pub const NO_VALUE: &str = "–";

/// Formats a value with a suitable number of digits.
pub fn quantity(metric: Metric, value: f64) -> String {
    match value {
        _ if metric == Metric::Throughput => format_thousands(value),
        _ if metric == Metric::CpuPerGib => format!("{value:.3}"),
        value if value >= 1000.0 => format_thousands(value),
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 0.1 => format!("{value:.2}"),
        value => format!("{value:.4}"),
    }
}

/// Returns the values of both arms, the ratio and the interval.
pub fn values(result: &MetricResult) -> [String; 4] {
    let value = |value: Option<f64>| {
        value.map_or_else(|| NO_VALUE.to_owned(), |value| quantity(result.metric, value))
    };
    [value(result.baseline), value(result.candidate), ratio(Some(result)), interval(Some(result))]
}

/// Returns for example `0.850`.
pub fn ratio(result: Option<&MetricResult>) -> String {
    let ratio = result.and_then(|it| it.ratio);
    ratio.map_or_else(|| NO_VALUE.to_owned(), |ratio| format!("{ratio:.3}"))
}

/// Returns for example `0.833 – 0.867`.
pub fn interval(result: Option<&MetricResult>) -> String {
    match result.and_then(|it| Some((it.low?, it.high?))) {
        Some((low, high)) => format!("{low:.3} – {high:.3}"),
        None => NO_VALUE.to_owned(),
    }
}
