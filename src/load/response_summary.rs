//! The responses before a load, in numbers: one, or one for each request of a list.

use super::response::{Closer, Reference};

/// Values and how often each occurs, in the order of the first.
type Counts = Vec<(String, usize)>;

/// The responses before a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseSummary {
    /// Status lines.
    pub status_lines: Counts,
    /// Descriptions of the checks.
    pub checks: Counts,
    /// The side that closes connections of one request first.
    pub closers: Counts,
    /// The shortest and the longest response, in bytes.
    pub bytes: (usize, usize),
    /// The shortest and the longest body, in bytes.
    pub body_bytes: (usize, usize),
}

impl ResponseSummary {
    /// Summarizes at least one response; `None` if there is none.
    pub fn of(references: &[Reference]) -> Option<Self> {
        let closer = |it: &Reference| match it.closer() {
            Closer::Server => "server",
            Closer::Client => "client",
        };
        let range = |length: fn(&Reference) -> usize| {
            let lengths = || references.iter().map(length);
            Some((lengths().min()?, lengths().max()?))
        };
        Some(Self {
            status_lines: count(references.iter().map(Reference::status_line)),
            checks: count(references.iter().map(Reference::checks_text)),
            closers: count(references.iter().map(|it| closer(it).to_owned())),
            bytes: range(|it| it.bytes().len())?,
            body_bytes: range(|it| it.body().len())?,
        })
    }
}

fn count(values: impl Iterator<Item = String>) -> Counts {
    let mut counts = Counts::new();
    for value in values {
        match counts.iter_mut().find(|(it, _)| *it == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    counts
}

/// Writes counts as text; a single value without its count.
pub fn counts_text(counts: &[(String, usize)]) -> String {
    match counts {
        [(value, _)] => value.clone(),
        _ => {
            let parts: Vec<_> =
                counts.iter().map(|(it, count)| format!("{count} × {it}")).collect();
            parts.join(", ")
        }
    }
}

/// Writes a range of lengths as text; a single length without the word "to".
pub fn range_text((min, max): (usize, usize)) -> String {
    let count = |length: usize| super::units::count(length as u64);
    if min == max { count(min) } else { format!("{} to {}", count(min), count(max)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::verify::Verify;

    #[test]
    fn equal_values_are_counted() {
        assert_eq!(ResponseSummary::of(&[]), None);
        let response = |status: &str, body: &str| {
            let length = body.len();
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            Reference::of(text.as_bytes(), Verify::Bytes, Closer::Client)
        };
        let references = [response("200 OK", "a"), response("404 No", ""), response("200 OK", "b")];
        let summary = ResponseSummary::of(&references).unwrap();
        let statuses = counts_text(&summary.status_lines);
        assert_eq!(statuses, "2 × HTTP/1.1 200 OK, 1 × HTTP/1.1 404 No");
        assert_eq!((counts_text(&summary.closers), summary.body_bytes), ("client".into(), (0, 1)));
        assert_eq!((range_text((0, 1200)), range_text((5, 5))), ("0 to 1,200".into(), "5".into()));
    }
}
