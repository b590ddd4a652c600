//! What a key can hold.

use std::net::SocketAddr;

use toml::Value;

use super::BackendChoice;

/// A default value, written so that the table of keys can be a constant.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Number(i64),
    /// true or false.
    Switch(bool),
}

impl From<DefaultValue> for Value {
    fn from(default: DefaultValue) -> Self {
        match default {
            DefaultValue::Text(text) => text.into(),
            DefaultValue::Number(number) => number.into(),
            DefaultValue::Switch(switch) => switch.into(),
        }
    }
}

/// The type of a key and the bounds of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name of an engine, or `auto`.
    Backend,
    /// An IP address with a port.
    Address,
    /// Any string.
    Text,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// true or false.
    Switch,
    /// A whole number.
    Number {
        /// The smallest value.
        least: i64,
        /// The largest value.
        most: i64,
    },
    /// A power of two.
    PowerOfTwo {
        /// Whether 0 is a value as well.
        or_zero: bool,
        /// The largest value.
        most: i64,
    },
}

impl Kind {
    /// Whether `value` has the type and lies within the bounds.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Backend, Value::String(name)) => name.parse::<BackendChoice>().is_ok(),
            (Self::Address, Value::String(address)) => address.parse::<SocketAddr>().is_ok(),
            (Self::OneOf(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Switch, Value::Boolean(_)) | (Self::Text, Value::String(_)) => true,
            (Self::Number { least, most }, Value::Integer(number)) => {
                (least..=most).contains(number)
            }
            (Self::PowerOfTwo { or_zero, most }, &Value::Integer(number)) => {
                (number == 0 && or_zero)
                    || (1..=most).contains(&number) && number.unsigned_abs().is_power_of_two()
            }
            _ => false,
        }
    }

    /// What a value must be, to follow "must be".
    pub fn expectation(self) -> String {
        match self {
            Self::Backend => {
                format!("one of {}", BackendChoice::names().collect::<Vec<_>>().join(", "))
            }
            Self::Address => "an address and a port, such as 127.0.0.1:8080 or [::1]:8080".into(),
            Self::Text => "text".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".into(),
            Self::Number { least, most } => format!("a whole number from {least} to {most}"),
            Self::PowerOfTwo { or_zero, most } => {
                let zero = if or_zero { "0 or " } else { "" };
                format!("{zero}a power of two up to {most}")
            }
        }
    }

    /// Reads a value from a flag or the environment, where everything is text. What is not of
    /// this kind stays text, for [`Kind::accepts`] to refuse.
    pub fn read(self, text: &str) -> Value {
        let as_text = || Value::from(text);
        match self {
            Self::Backend | Self::Address | Self::Text | Self::OneOf(_) => as_text(),
            Self::Switch => text.parse::<bool>().map_or_else(|_| as_text(), Value::from),
            Self::Number { .. } | Self::PowerOfTwo { .. } => {
                text.parse::<i64>().map_or_else(|_| as_text(), Value::from)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_kind() {
        let entries = Kind::PowerOfTwo { or_zero: false, most: 32_768 };
        for (number, accepted) in
            [(0, false), (1, true), (3, false), (256, true), (32_768, true), (65_536, false)]
        {
            assert_eq!(entries.accepts(&Value::from(number)), accepted, "{number}");
        }
        assert!(!entries.accepts(&Value::from(i64::MIN)));
        assert!(!Kind::Switch.accepts(&Kind::Switch.read("yes")));
        assert!(Kind::Address.accepts(&Kind::Address.read("[::1]:0")));
        assert!(!Kind::Address.accepts(&Kind::Address.read("localhost")));
    }
}
