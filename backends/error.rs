//! Errors that end a worker, or keep it from starting. What a peer does is never among them.

use std::{fmt, io};

/// What kind of trouble it is, for those who must choose an exit code or another backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The kernel, its settings or a sandbox refuse the backend that was asked for.
    BackendRefused,
    /// The address cannot be listened on.
    Address,
    /// The machine has no room left: descriptors, memory, watches.
    Resources,
    /// What was asked for makes no sense: an unknown backend, a limit of zero.
    Usage,
    /// A system call failed in a way that it cannot on a healthy system.
    Unexpected,
}

/// An operation that failed, why it probably did, and what can be done about it.
#[derive(Debug)]
pub struct BackendError {
    /// What kind of trouble it is.
    pub kind: ErrorKind,
    /// What was being done, as a system call or in words: `io_uring_setup`, `bind 127.0.0.1:80`.
    pub operation: String,
    /// The kernel's own word, where there is one.
    pub source: Option<io::Error>,
    /// The likely cause, in a sentence without a full stop.
    pub cause: String,
    /// What to do about it, in a sentence without a full stop; empty where nothing is known.
    pub remedy: String,
}

impl BackendError {
    /// An error without a kernel's word or a remedy, which the two functions below add.
    pub fn new(kind: ErrorKind, operation: impl Into<String>, cause: impl Into<String>) -> Self {
        Self {
            kind,
            operation: operation.into(),
            source: None,
            cause: cause.into(),
            remedy: String::new(),
        }
    }

    /// The same with the kernel's own word.
    #[must_use]
    pub fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    /// The same with what can be done about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// A system call failed where a healthy system gives it no reason to.
    pub(crate) fn unexpected(operation: &str, source: io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC | libc::ENOBUFS) => {
                ErrorKind::Resources
            }
            _ => ErrorKind::Unexpected,
        };
        let cause = match kind {
            ErrorKind::Resources => "the process or the machine has reached a limit",
            _ => "the kernel refused a call that it normally allows",
        };
        Self::new(kind, operation, cause).with_source(source)
    }
}

impl fmt::Display for BackendError {
    /// One line: `operation: the kernel's word: the cause; the remedy`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: ", self.operation)?;
        if let Some(source) = &self.source {
            write!(formatter, "{source}: ")?;
        }
        write!(formatter, "{}", self.cause)?;
        if !self.remedy.is_empty() {
            write!(formatter, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

// The kernel's word is a part of the line already, so it is not a source to be printed after it.
impl std::error::Error for BackendError {}
