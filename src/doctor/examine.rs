//! Examination of the system.

use std::fs;
use std::str::FromStr;

use ringpoll_backends::capabilities::Capabilities;
use ringpoll_backends::{Backend, BackendError, EngineOptions, open, refusal};
use rustix::process::{Resource, getrlimit};

use super::diagnosis::{AutoChoice, Diagnosis, Limits, MissingReason, SCHEMA_VERSION};
use super::{kernel_faults, obstruction, techniques};
use crate::config::{AutoSelection, start_auto};

/// Runs all probes and returns the diagnosis.
pub fn examine() -> Diagnosis {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    // Before the probes: the kernel frees a closed ring later, and until then its memory counts
    // towards RLIMIT_MEMLOCK and could make the server's ring fail.
    let auto = open_auto();
    let refused = auto.as_ref().map_or_else(Some, |it| it.refused.as_ref());
    let usable = auto.as_ref().ok().filter(|it| it.variant.is_io_uring());
    let found = Capabilities::probe();
    let capabilities = found.iter().map(|(it, result)| (it.name.to_owned(), result.is_ok()));
    let missing = found.iter().filter_map(|(it, result)| {
        let error = result.as_ref().err()?;
        let reason = MissingReason { errno: error.errno(), reason: error.to_string() };
        Some((it.name.to_owned(), reason))
    });
    Diagnosis {
        schema_version: SCHEMA_VERSION,
        kernel_version: name.version().to_string_lossy().into_owned(),
        io_uring_usable: usable.is_some(),
        obstruction: refused.map(|error| obstruction::explain(error, &release)),
        capabilities: capabilities.collect(),
        missing: missing.collect(),
        limits: limits(),
        known_faults: kernel_faults::known_faults(&release),
        auto: choice(&auto),
        techniques: usable.map_or_else(Vec::new, |it| techniques::all(&it.started)),
        kernel_release: release,
    }
}

/// The techniques in force of the engine that `auto` selects.
type Auto = Result<AutoSelection<Vec<&'static str>>, BackendError>;

/// Opens `auto` as the server does with its default queue sizes, and closes it.
fn open_auto() -> Auto {
    let options = EngineOptions::default();
    start_auto(|variant| open(variant, &options).map(|it| it.techniques()))
}

fn choice(auto: &Auto) -> AutoChoice {
    let reason = match auto {
        Ok(AutoSelection { refused: None, .. }) => {
            "io_uring can be used, and is preferred".to_owned()
        }
        Ok(AutoSelection { refused: Some(error), .. }) => format!("io_uring is refused: {error:#}"),
        Err(error) => format!("{error:#}"),
    };
    let variant = auto.as_ref().ok().map(|it| it.variant.name().to_owned());
    AutoChoice { variant, reason }
}

fn limits() -> Limits {
    let (files, memory) = (getrlimit(Resource::Nofile), getrlimit(Resource::Memlock));
    Limits {
        open_files_limit: files.current,
        open_files_hard_limit: files.maximum,
        locked_memory_limit_bytes: memory.current,
        locked_memory_hard_limit_bytes: memory.maximum,
        somaxconn: sysctl_value("net/core/somaxconn"),
        tcp_max_syn_backlog: sysctl_value("net/ipv4/tcp_max_syn_backlog"),
        io_uring_disabled: refusal::io_uring_disabled(),
        io_uring_group: sysctl_value("kernel/io_uring_group"),
        seccomp_filter: refusal::seccomp_filter(),
    }
}

fn sysctl_value<T: FromStr>(sysctl: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/{sysctl}")).ok()?.trim().parse().ok()
}
