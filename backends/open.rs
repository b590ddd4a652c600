//! The engines by name, and their selection ([`open`]).

use std::fmt;
use std::str::FromStr;

use crate::backend::Backend;
use crate::engine_options::EngineOptions;
use crate::epoll::{EpollBackend, EpollEngine};
use crate::error::BackendError;
use crate::io_uring::{IoUringBackend, IoUringEngine};
use crate::kernel::Kernel;
use crate::protocol::Protocol;
use crate::real_kernel::RealKernel;
use crate::worker::{Report, WorkerOptions};

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// `epoll:level`: level-triggered epoll, as the first reference program.
    EpollLevel,
    /// `epoll:edge`: edge-triggered epoll, as the second reference program.
    EpollEdge,
    /// `epoll:tuned`: system calls are tried first, and epoll is used after EAGAIN.
    EpollTuned,
    /// `io_uring:single_shot`: one SQE for each step.
    IoUringSingleShot,
    /// `io_uring:tuned`: with the [`crate::Techniques`] of io_uring.
    IoUringTuned,
}

impl Variant {
    /// Every engine, in reading order.
    pub const ALL: &[Self] = &[
        Self::EpollLevel,
        Self::EpollEdge,
        Self::EpollTuned,
        Self::IoUringSingleShot,
        Self::IoUringTuned,
    ];

    /// Returns the name in options, such as `epoll:level`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EpollLevel => "epoll:level",
            Self::EpollEdge => "epoll:edge",
            Self::EpollTuned => "epoll:tuned",
            Self::IoUringSingleShot => "io_uring:single_shot",
            Self::IoUringTuned => "io_uring:tuned",
        }
    }

    /// Returns true if the engine needs a kernel and a sandbox that allow io_uring.
    pub const fn is_io_uring(self) -> bool {
        matches!(self, Self::IoUringSingleShot | Self::IoUringTuned)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = ParseVariantError;

    /// Parses a full name, or `epoll`, `io_uring` or `io-uring` for the tuned engine of each.
    fn from_str(name: &str) -> Result<Self, ParseVariantError> {
        match name.replacen("io-uring", "io_uring", 1).as_str() {
            "epoll" => Ok(Self::EpollTuned),
            "io_uring" => Ok(Self::IoUringTuned),
            full => Self::ALL
                .iter()
                .copied()
                .find(|variant| variant.name() == full)
                .ok_or_else(|| ParseVariantError { name: name.to_owned() }),
        }
    }
}

/// The error of parsing a [`Variant`]: no engine has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseVariantError {
    name: String,
}

impl fmt::Display for ParseVariantError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
        let (name, names) = (&self.name, names.join(", "));
        write!(formatter, "unknown backend `{name}`; choose one of {names}, epoll, io_uring")
    }
}

impl std::error::Error for ParseVariantError {}

/// An engine that was chosen at run time. Made by [`open`].
pub struct AnyBackend<K: Kernel = RealKernel>(Chosen<K>);

enum Chosen<K: Kernel> {
    Epoll(EpollBackend<K>),
    IoUring(Box<IoUringBackend<K>>),
}

impl<K: Kernel> Backend for AnyBackend<K> {
    fn name(&self) -> &'static str {
        match &self.0 {
            Chosen::Epoll(backend) => backend.name(),
            Chosen::IoUring(backend) => backend.name(),
        }
    }

    fn techniques(&self) -> Vec<&'static str> {
        match &self.0 {
            Chosen::Epoll(backend) => backend.techniques(),
            Chosen::IoUring(backend) => backend.techniques(),
        }
    }

    fn run<P: Protocol>(
        &mut self,
        options: WorkerOptions,
        protocol: P,
    ) -> Result<Report, BackendError> {
        options.check()?;
        match &mut self.0 {
            Chosen::Epoll(backend) => backend.run(options, protocol),
            Chosen::IoUring(backend) => backend.run(options, protocol),
        }
    }
}

/// Sets up an engine, on the thread that will run it: a ring belongs to its thread.
///
/// # Errors
/// [`crate::ErrorKind::BackendRefused`] if the kernel or a sandbox refuses it. There is no fallback
/// to another engine: that is the caller's decision. [`crate::ErrorKind::Usage`] if an option is
/// invalid.
pub fn open(variant: Variant, options: &EngineOptions) -> Result<AnyBackend, BackendError> {
    open_on(variant, options)
}

/// Sets up an engine as [`open`] does, on another kernel.
///
/// # Errors
/// Those of [`open`].
pub fn open_on<K: Kernel>(
    variant: Variant,
    options: &EngineOptions,
) -> Result<AnyBackend<K>, BackendError> {
    options.check()?;
    let epoll = |engine| Ok(AnyBackend(Chosen::Epoll(EpollBackend::new(engine, options))));
    let io_uring = |engine| {
        let backend = IoUringBackend::open(engine, options)?;
        Ok(AnyBackend(Chosen::IoUring(Box::new(backend))))
    };
    match variant {
        Variant::EpollLevel => epoll(EpollEngine::Level),
        Variant::EpollEdge => epoll(EpollEngine::Edge),
        Variant::EpollTuned => epoll(EpollEngine::Tuned),
        Variant::IoUringSingleShot => io_uring(IoUringEngine::SingleShot),
        Variant::IoUringTuned => io_uring(IoUringEngine::Tuned),
    }
}
