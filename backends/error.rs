//! Errors that end a worker or prevent its start. Nothing that a peer does is one.

use std::{fmt, io};

/// The kind of an error, for the choice of an exit code or another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel, its settings or a sandbox refuse the backend.
    BackendRefused,
    /// The address cannot be bound.
    Address,
    /// A resource is exhausted: descriptors, memory, epoll watches.
    Resources,
    /// An option is invalid: an unknown backend, a limit of zero.
    Usage,
    /// A system call failed for no known reason, or a worker panicked.
    Unexpected,
}

/// A failed operation, its likely cause, and what to try.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackendError {
    /// The kind of the error.
    pub kind: ErrorKind,
    /// The operation: a system call or words, such as `io_uring_setup`, `listen on 127.0.0.1:80`.
    pub operation: String,
    /// The error of the system call, if one failed.
    pub source: Option<io::Error>,
    /// The likely cause, without a full stop.
    pub cause: String,
    /// The remedy, without a full stop; empty if nothing is known.
    pub remedy: String,
}

impl BackendError {
    /// Makes an error without a source or a remedy.
    pub fn new(kind: ErrorKind, operation: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            kind,
            operation: operation.into(),
            source: None,
            cause: cause.into(),
            remedy: String::new(),
        }
    }

    /// Adds the error of the system call.
    #[must_use]
    pub fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    /// Adds what to try.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Makes the error of a system call that was not expected to fail.
    pub(crate) fn unexpected(operation: &str, source: io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC | libc::ENOBUFS) => {
                ErrorKind::Resources
            }
            _ => ErrorKind::Unexpected,
        };
        let cause = match kind {
            ErrorKind::Resources => "a limit of the process or the machine is reached",
            _ => "the kernel refused a call that it normally allows",
        };
        Self::new(kind, operation, cause).with_source(source)
    }
}

impl fmt::Display for BackendError {
    /// Formats one line, `operation: cause; remedy`. The alternate form `{:#}` has the source too:
    /// `operation: source: cause; remedy`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.operation)?;
        if let (Some(source), true) = (&self.source, formatter.alternate()) {
            write!(formatter, "{source}: ")?;
        }
        write!(formatter, "{}", self.cause)?;
        if !self.remedy.is_empty() {
            write!(formatter, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for BackendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    #[test]
    fn source_is_returned_and_printed_in_the_alternate_form_only() {
        let source = io::Error::from_raw_os_error(libc::EPERM);
        let error = BackendError::new(ErrorKind::BackendRefused, "io_uring_setup", "denied")
            .with_source(source)
            .with_remedy("allow it");
        let source = error.source().expect("there is one");
        assert!(source.to_string().starts_with("Operation not permitted"), "{source}");
        assert_eq!(error.to_string(), "io_uring_setup: denied; allow it");
        assert_eq!(format!("{error:#}"), format!("io_uring_setup: {source}: denied; allow it"));
        assert!(BackendError::new(ErrorKind::Usage, "x", "y").source().is_none());
    }
}
