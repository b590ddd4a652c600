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

/// What became of `auto`.
pub struct Automatic<T> {
    /// The engine that was taken.
    pub variant: Variant,
    /// What starting it gave.
    pub started: T,
    /// Why io_uring was not, if it was not.
    pub refused: Option<BackendError>,
}

/// `auto`: io_uring, and epoll where that is refused. `refusal` says whether an error of `start` is
/// a refusal, and hands back all others.
///
/// # Errors
/// Whatever `start` fails with, unless it is io_uring that is refused.
pub fn automatic<T, E: From<BackendError>>(
    mut start: impl FnMut(Variant) -> Result<T, E>,
    refusal: impl FnOnce(E) -> Result<BackendError, E>,
) -> Result<Automatic<T>, E> {
    let variant = "io_uring".parse()?;
    let refused = match start(variant) {
        Ok(started) => return Ok(Automatic { variant, started, refused: None }),
        Err(error) => Some(refusal(error)?),
    };
    let variant = "epoll".parse()?;
    Ok(Automatic { variant, started: start(variant)?, refused })
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
