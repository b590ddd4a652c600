//! Numbers as they stand on the page, each with its full value and the place in the JSON where it
//! comes from.

use std::fmt::Display;

use maud::{Markup, html};

use crate::compare::words::thousands;
use crate::report::result::Metric;
use crate::report::side_by_side::quantity;

/// A place in a result, as a JSON pointer. With several results, their number stands before it.
#[derive(Clone, Debug)]
pub(super) struct Place(String);

impl Place {
    /// The result itself.
    pub(super) fn root() -> Self {
        Self(String::new())
    }

    /// One of several results.
    pub(super) fn root_of(index: usize) -> Self {
        Self(format!("{index}:"))
    }

    /// A part of it.
    pub(super) fn at(&self, part: impl Display) -> Self {
        Self(format!("{}/{part}", self.0))
    }
}

impl Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A number that is shown as it is in the file, but for its digits.
fn plain(place: &Place, value: impl Display, text: &str) -> Markup {
    html! { data value=(value) data-from=(place) { (text) } }
}

/// A number that is shown in another unit than the file's.
fn times(place: &Place, value: impl Display, factor: f64, text: &str) -> Markup {
    html! { data value=(value) data-from=(place) data-times=(factor) { (text) } }
}

/// What stands where there is no number.
pub(super) fn nothing() -> Markup {
    html! { span.nothing { "–" } }
}

pub(super) fn ratio(place: &Place, value: Option<f64>) -> Markup {
    value.map_or_else(nothing, |value| plain(place, value, &ratio_text(value)))
}

/// Three digits behind the point as long as they can count.
pub(super) fn ratio_text(value: f64) -> String {
    match value {
        value if value >= 100.0 => thousands(value),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

pub(super) fn of_metric(place: &Place, metric: Metric, value: Option<f64>) -> Markup {
    value.map_or_else(nothing, |value| plain(place, value, &quantity(metric, value)))
}

pub(super) fn count(place: &Place, value: u64) -> Markup {
    plain(place, value, &thousands(value as f64))
}

pub(super) fn decimal(place: &Place, value: Option<f64>, digits: usize) -> Markup {
    value.map_or_else(nothing, |value| plain(place, value, &format!("{value:.digits$}")))
}

/// A share, in percent.
pub(super) fn percent(place: &Place, value: Option<f64>, digits: usize) -> Markup {
    let Some(value) = value else { return nothing() };
    let text = format!("{:.digits$}", value * 100.0);
    html! { (times(place, value, 100.0, &text)) " %" }
}

/// Nanoseconds, in microseconds.
pub(super) fn microseconds(place: &Place, nanoseconds: u64) -> Markup {
    let value = nanoseconds as f64 / 1000.0;
    let text = if value >= 100.0 { thousands(value) } else { format!("{value:.1}") };
    times(place, nanoseconds, 0.001, &text)
}

/// Bytes, in MiB.
pub(super) fn mebibytes(place: &Place, bytes: u64) -> Markup {
    let factor = 1.0 / (1024.0 * 1024.0);
    times(place, bytes, factor, &thousands(bytes as f64 * factor))
}
