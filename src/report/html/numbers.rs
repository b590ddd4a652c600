//! Numbers of a page, with the full value and its JSON pointer as attributes.

use std::fmt::Display;

use maud::{Markup, html};

use crate::compare::explanation::format_thousands;
use crate::report::cells::quantity;
use crate::result::Metric;

/// JSON pointer into a result. With several results, it starts with the index: `1:/arms/0`.
#[derive(Clone, Debug)]
pub(super) struct JsonPath(String);

impl JsonPath {
    /// Returns the path of the only result.
    pub(super) fn root() -> Self {
        Self(String::new())
    }

    /// Returns the path of one of several results.
    pub(super) fn root_of(index: usize) -> Self {
        Self(format!("{index}:"))
    }

    /// Appends a field name or an index.
    pub(super) fn at(&self, part: impl Display) -> Self {
        Self(format!("{}/{part}", self.0))
    }
}

impl Display for JsonPath {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Returns a number in the unit of the file.
fn plain(json: &JsonPath, value: impl Display, text: &str) -> Markup {
    html! { data value=(value) data-from=(json) { (text) } }
}

/// Returns a number that is `value` times `factor`.
fn times(json: &JsonPath, value: impl Display, factor: f64, text: &str) -> Markup {
    html! { data value=(value) data-from=(json) data-times=(factor) { (text) } }
}

/// Returns a dash for an unknown value.
pub(super) fn no_value() -> Markup {
    html! { span.no-value { "–" } }
}

pub(super) fn ratio(json: &JsonPath, value: Option<f64>) -> Markup {
    value.map_or_else(no_value, |value| plain(json, value, &ratio_text(value)))
}

/// Formats a ratio with three decimals, or fewer if it is large.
pub(super) fn ratio_text(value: f64) -> String {
    match value {
        value if value >= 100.0 => format_thousands(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

pub(super) fn of_metric(json: &JsonPath, metric: Metric, value: Option<f64>) -> Markup {
    value.map_or_else(no_value, |value| plain(json, value, &quantity(metric, value)))
}

pub(super) fn count(json: &JsonPath, value: u64) -> Markup {
    plain(json, value, &format_thousands(value as f64))
}

pub(super) fn decimal(json: &JsonPath, value: Option<f64>, digits: usize) -> Markup {
    value.map_or_else(no_value, |value| plain(json, value, &format!("{value:.digits$}")))
}

/// Returns a share in percent.
pub(super) fn percent(json: &JsonPath, value: Option<f64>, digits: usize) -> Markup {
    let Some(value) = value else { return no_value() };
    let text = format!("{:.digits$}", value * 100.0);
    html! { (times(json, value, 100.0, &text)) "%" }
}

/// Returns a time in microseconds.
pub(super) fn microseconds(json: &JsonPath, nanoseconds: u64) -> Markup {
    let value = nanoseconds as f64 / 1000.0;
    let text = if value >= 100.0 { format_thousands(value) } else { format!("{value:.1}") };
    times(json, nanoseconds, 0.001, &text)
}

/// Returns a size in MiB.
pub(super) fn mebibytes(json: &JsonPath, bytes: u64) -> Markup {
    let factor = 1.0 / (1024.0 * 1024.0);
    times(json, bytes, factor, &format_thousands(bytes as f64 * factor))
}
