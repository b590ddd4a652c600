//! What ends the program other than well, and the exit code that scripts tell it by.

use std::fmt;

use ringpoll_backends::{BackendError, ErrorKind};

use crate::config::ConfigError;

/// Why the program ends without having done what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// It could not start on that address, or could not go on: exit code 1.
    Run(String),
    /// The command line or the configuration makes no sense: exit code 2.
    Usage(String),
    /// The kernel refuses the backend that was asked for: exit code 3.
    BackendRefused(String),
}

impl Failure {
    /// The exit code: 1, 2 or 3.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 2,
            Self::BackendRefused(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    /// One line without a newline.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(message) | Self::Usage(message) | Self::BackendRefused(message) => {
                formatter.write_str(message)
            }
        }
    }
}

impl std::error::Error for Failure {}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let message = format!("ringpoll: {error}");
        match error.kind {
            ErrorKind::BackendRefused => Self::BackendRefused(message),
            ErrorKind::Usage => Self::Usage(message),
            _ => Self::Run(message),
        }
    }
}
