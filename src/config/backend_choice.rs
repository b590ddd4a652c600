//! The choice of an engine by name, or `auto`.

use std::fmt;
use std::str::FromStr;

use ringpoll_backends::{BackendError, ErrorKind, ParseVariantError, Variant};
use serde::Deserialize;

/// The value of the key `backend` and of `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum BackendChoice {
    /// io_uring if the kernel allows it, otherwise epoll. Only this choice falls back.
    Auto,
    /// This engine, or an error.
    Named(Variant),
}

impl BackendChoice {
    /// Returns every valid name, in the order of `--help`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ["auto", "epoll", "io_uring"].into_iter().chain(Variant::ALL.iter().map(|it| it.name()))
    }
}

/// The engine that `auto` selected.
pub struct AutoSelection<T> {
    /// The selected engine.
    pub variant: Variant,
    /// The value that `start` returned for it.
    pub started: T,
    /// The reason why io_uring was refused, if it was.
    pub refused: Option<BackendError>,
}

/// Starts io_uring, or epoll if io_uring is refused.
///
/// # Errors
/// The error of `start`, except a refusal of io_uring.
pub fn start_auto<T>(
    mut start: impl FnMut(Variant) -> Result<T, BackendError>,
) -> Result<AutoSelection<T>, BackendError> {
    let variant = Variant::IoUringTuned;
    let refused = match start(variant) {
        Ok(started) => return Ok(AutoSelection { variant, started, refused: None }),
        Err(error) if error.kind == ErrorKind::BackendRefused => Some(error),
        Err(error) => return Err(error),
    };
    let variant = Variant::EpollTuned;
    Ok(AutoSelection { variant, started: start(variant)?, refused })
}

impl FromStr for BackendChoice {
    type Err = ParseVariantError;

    fn from_str(name: &str) -> Result<Self, ParseVariantError> {
        if name == "auto" { Ok(Self::Auto) } else { name.parse().map(Self::Named) }
    }
}

impl TryFrom<String> for BackendChoice {
    type Error = ParseVariantError;

    fn try_from(name: String) -> Result<Self, ParseVariantError> {
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
    fn every_offered_name_can_be_parsed() {
        for name in BackendChoice::names() {
            assert!(name.parse::<BackendChoice>().is_ok(), "{name}");
        }
        let choice: BackendChoice = "io-uring".parse().unwrap();
        assert_eq!(choice.to_string(), "io_uring:tuned");
    }
}
