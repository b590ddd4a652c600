//! Errors that end the program, and their exit codes.

use std::fmt;

use ringpoll_backends::{BackendError, ErrorKind};

use crate::config::ConfigError;

/// An error that ends the program.
#[derive(Debug)]
pub enum Failure {
    /// The command failed, for example because the address is in use: exit code 1.
    Run(String),
    /// The command line or the configuration is invalid: exit code 2.
    Usage(String),
    /// The kernel refuses the chosen backend: exit code 3.
    BackendRefused(String),
}

impl Failure {
    /// Returns the exit code: 1, 2 or 3.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 2,
            Self::BackendRefused(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    /// Writes one line without a newline.
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
        let message = format!("ringpoll: {error:#}");
        match error.kind {
            ErrorKind::BackendRefused => Self::BackendRefused(message),
            ErrorKind::Usage => Self::Usage(message),
            _ => Self::Run(message),
        }
    }
}
