//! Which engine was asked for.

use std::fmt;
use std::str::FromStr;

use ringpoll_backends::{BackendError, Variant};
use serde::Deserialize;

/// The value of the key `backend` and of `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BackendChoice {
    /// io_uring where the kernel allows it, otherwise epoll. Nothing else falls back.
    Auto,
    /// This one or none.
    Named(Variant),
}

impl BackendChoice {
    /// Every word that names one, in the order in which they are offered.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ["auto", "epoll", "io_uring"].into_iter().chain(Variant::ALL.iter().map(|it| it.name()))
    }
}

impl FromStr for BackendChoice {
    type Err = BackendError;

    fn from_str(name: &str) -> Result<Self, BackendError> {
        if name == "auto" { Ok(Self::Auto) } else { name.parse().map(Self::Named) }
    }
}

impl TryFrom<String> for BackendChoice {
    type Error = BackendError;

    fn try_from(name: String) -> Result<Self, BackendError> {
        name.parse()
    }
}

impl fmt::Display for BackendChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Named(variant) => variant.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_is_offered_is_taken() {
        for name in BackendChoice::names() {
            assert!(name.parse::<BackendChoice>().is_ok(), "{name}");
        }
        let choice: BackendChoice = "io-uring".parse().unwrap();
        assert_eq!(choice.to_string(), "io_uring:tuned");
    }
}
