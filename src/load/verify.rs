//! The parts of each response that are checked: chosen by the user, or learned from the first
//! responses.

use std::fmt;

use clap::ValueEnum;

use super::received::Received;

/// The parts of each response that must equal the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Verify {
    /// Learned from three requests before the load: all header fields but those that vary, and the
    /// body, or its length, or neither
    #[default]
    Auto,
    /// Every byte, except the fields that depend on time (Date, Age, Expires) and Connection
    Bytes,
    /// The status and every byte of the body
    Body,
    /// The status
    Status,
    /// Only that it is a complete HTTP response
    None,
}

/// Header fields that are always left out, since they depend on time or on the connection.
const LEFT_OUT: [&str; 5] = ["Date", "Age", "Expires", "Connection", "Keep-Alive"];

/// Header fields in which an error changes the framing.
const FRAMING_FIELDS: [&str; 3] = ["Connection", "Content-Length", "Transfer-Encoding"];

/// The part of the body that is checked, the strictest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BodyCheck {
    /// Every byte.
    Exact,
    /// The length.
    Length,
    /// Nothing.
    None,
}

/// The parts of each response that are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// The status.
    pub status: bool,
    /// All header fields except these; `None` if no header field is checked.
    pub fields_except: Option<Vec<String>>,
    /// The body.
    pub body: BodyCheck,
    /// Set if they were learned from several responses, and not chosen by the user.
    pub(super) is_learned: bool,
}

impl Checks {
    /// Returns the checks that all of these responses to one request pass; `None` if their status
    /// differs. `Verify::Auto` needs several of them.
    pub(super) fn learn(verify: Verify, responses: &[Received]) -> Option<Self> {
        let (first, others) = responses.split_first()?;
        let without_fields =
            |status, body| Self { status, fields_except: None, body, is_learned: false };
        let all_fields = LEFT_OUT.map(str::to_owned).to_vec();
        match verify {
            Verify::None => return Some(without_fields(false, BodyCheck::None)),
            Verify::Status => return Some(without_fields(true, BodyCheck::None)),
            Verify::Body => return Some(without_fields(true, BodyCheck::Exact)),
            Verify::Bytes => {
                let fields_except = Some(all_fields);
                let body = BodyCheck::Exact;
                return Some(Self { status: true, fields_except, body, is_learned: false });
            }
            Verify::Auto => {}
        }
        let status = |it: &Received| it.head().map(|head| head.status);
        if others.iter().any(|it| status(it) != status(first)) {
            return None;
        }
        let mut left_out = all_fields;
        for response in others {
            add_varying(&mut left_out, first.head_bytes(), response.head_bytes());
            add_varying(&mut left_out, response.head_bytes(), first.head_bytes());
        }
        let is_same = |it: &Received| {
            first_difference(first.head_bytes(), it.head_bytes(), &left_out).is_none()
        };
        let fields_except = others.iter().all(is_same).then(|| left_out.clone());
        let body = if others.iter().all(|it| it.body() == first.body()) {
            BodyCheck::Exact
        } else if others.iter().all(|it| it.body().len() == first.body().len()) {
            BodyCheck::Length
        } else {
            BodyCheck::None
        };
        Some(Self { status: true, fields_except, body, is_learned: true })
    }

    /// Returns the checks that the responses of two starts of a server pass; `None` if there are
    /// none. Checks that were not learned do not change, so that a difference is an error later.
    pub(super) fn merged(&self, other: &Self, responses: [&Received; 2]) -> Option<Self> {
        if !self.is_learned {
            return Some(self.clone());
        }
        let both = Self::learn(Verify::Auto, &responses.map(Received::clone))?;
        let fields = [self, other, &both].map(|it| it.fields_except.clone());
        let fields_except = match fields {
            [Some(mut fields), Some(second), Some(third)] => {
                for name in second.into_iter().chain(third) {
                    if !fields.iter().any(|it| it.eq_ignore_ascii_case(&name)) {
                        fields.push(name);
                    }
                }
                Some(fields)
            }
            _ => None,
        };
        let body = [self.body, other.body, both.body].into_iter().max().unwrap_or(self.body);
        Some(Self { fields_except, body, ..both })
    }

    /// Returns true if the value of this field may differ and does not change the framing.
    pub(super) fn may_vary(&self, name: &[u8]) -> bool {
        let is_framing = FRAMING_FIELDS.iter().any(|it| is_name(it, name));
        !is_framing && self.fields_except.as_ref().is_none_or(|fields| is_left_out(fields, name))
    }

    /// The learned fields that are left out, without those that always are.
    pub fn varying_fields(&self) -> &[String] {
        self.fields_except.as_deref().map_or(&[], |fields| &fields[LEFT_OUT.len()..])
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.status {
            return formatter.write_str("not compared with the first");
        }
        let body = match self.body {
            BodyCheck::Exact => " and every byte of the body",
            BodyCheck::Length => " and the length of the body",
            BodyCheck::None => "",
        };
        match (&self.fields_except, self.varying_fields()) {
            (None, _) => write!(formatter, "status{body} verified"),
            (Some(_), []) if self.body == BodyCheck::Exact => {
                formatter.write_str("every byte verified, except Date and Connection")
            }
            (Some(_), []) => write!(formatter, "header fields{body} verified"),
            (Some(_), varying) => {
                let varying = varying.join(", ");
                write!(formatter, "header fields{body} verified, except {varying} (varying)")
            }
        }
    }
}

fn is_name(name: &str, other: &[u8]) -> bool {
    name.as_bytes().eq_ignore_ascii_case(other)
}

fn is_left_out(fields: &[String], name: &[u8]) -> bool {
    fields.iter().any(|it| is_name(it, name))
}

/// A line of a head without its end, and its offset.
type Line<'a> = (usize, &'a [u8]);

/// Returns the lines of a head, without the empty one.
pub(super) fn lines(head: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0;
    let lines = head.split_inclusive(|&byte| byte == b'\n').map(move |line| {
        let start = offset;
        offset += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        (start, line.strip_suffix(b"\r").unwrap_or(line))
    });
    lines.filter(|(_, line)| !line.is_empty())
}

/// Returns the name of a header field; `None` for the status line.
pub(super) fn field_name(line: &[u8]) -> Option<&[u8]> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    (!line.starts_with(b"HTTP/")).then(|| &line[..colon])
}

/// Returns the first lines that differ between two heads, without the fields `left_out`.
pub(super) fn first_difference<'a>(
    one: &'a [u8],
    other: &'a [u8],
    left_out: &[String],
) -> Option<(Option<Line<'a>>, Option<Line<'a>>)> {
    let is_checked =
        |it: &Line<'_>| field_name(it.1).is_none_or(|name| !is_left_out(left_out, name));
    let (mut one, mut other) = (lines(one).filter(is_checked), lines(other).filter(is_checked));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return None,
            (Some(one), Some(other)) if one.1 == other.1 => {}
            different => return Some(different),
        }
    }
}

/// Adds the fields of `head` that have other values in `other`, or as many of them.
fn add_varying(left_out: &mut Vec<String>, head: &[u8], other: &[u8]) {
    for (_, line) in lines(head) {
        let Some(name) = field_name(line) else { continue };
        let of_name = |head| {
            let named = |(_, line): Line<'_>| {
                field_name(line).is_some_and(|it| it.eq_ignore_ascii_case(name))
            };
            lines(head).filter(move |&line| named(line)).map(|(_, line)| line)
        };
        if !is_left_out(left_out, name) && !of_name(head).eq(of_name(other)) {
            left_out.push(String::from_utf8_lossy(name).into_owned());
        }
    }
}
