//! The types and bounds of values.

use std::net::SocketAddr;

use toml::Value;

use super::BackendChoice;

/// A default value. Unlike [`Value`] it can be part of a constant.
#[derive(Clone, Copy, Debug)]
pub enum DefaultValue {
    /// A string.
    Text(&'static str),
    /// A whole number.
    Number(i64),
    /// A boolean.
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
    /// A boolean.
    Switch,
    /// A whole number.
    Number {
        /// The smallest value.
        min: i64,
        /// The largest value.
        max: i64,
    },
    /// A power of two.
    PowerOfTwo {
        /// True if 0 is valid as well.
        or_zero: bool,
        /// The largest value.
        max: i64,
    },
}

impl Kind {
    /// Returns true if `value` has the type and is within the bounds.
    pub fn accepts(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Backend, Value::String(name)) => name.parse::<BackendChoice>().is_ok(),
            (Self::Address, Value::String(address)) => address.parse::<SocketAddr>().is_ok(),
            (Self::OneOf(words), Value::String(word)) => words.contains(&word.as_str()),
            (Self::Switch, Value::Boolean(_)) | (Self::Text, Value::String(_)) => true,
            (Self::Number { min, max }, Value::Integer(number)) => (min..=max).contains(number),
            (Self::PowerOfTwo { or_zero, max }, &Value::Integer(number)) => {
                (number == 0 && or_zero)
                    || (1..=max).contains(&number) && number.unsigned_abs().is_power_of_two()
            }
            _ => false,
        }
    }

    /// Returns a description of valid values that completes "must be …".
    pub fn expectation(self) -> String {
        match self {
            Self::Backend => {
                format!("one of {}", BackendChoice::names().collect::<Vec<_>>().join(", "))
            }
            Self::Address => "an address and a port, such as 127.0.0.1:8080 or [::1]:8080".into(),
            Self::Text => "text".into(),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".into(),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::PowerOfTwo { or_zero, max } => {
                let zero = if or_zero { "0 or " } else { "" };
                format!("{zero}a power of two up to {max}")
            }
        }
    }

    /// Parses a value of a flag or of the environment. Text that cannot be parsed is returned as a
    /// string, which [`Kind::accepts`] refuses.
    pub fn parse(self, text: &str) -> Value {
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
    fn values_out_of_bounds_are_refused() {
        let entries = Kind::PowerOfTwo { or_zero: false, max: 32_768 };
        for (number, accepted) in
            [(0, false), (1, true), (3, false), (256, true), (32_768, true), (65_536, false)]
        {
            assert_eq!(entries.accepts(&Value::from(number)), accepted, "{number}");
        }
        assert!(!entries.accepts(&Value::from(i64::MIN)));
        assert!(!Kind::Switch.accepts(&Kind::Switch.parse("yes")));
        assert!(Kind::Address.accepts(&Kind::Address.parse("[::1]:0")));
        assert!(!Kind::Address.accepts(&Kind::Address.parse("localhost")));
    }
}
