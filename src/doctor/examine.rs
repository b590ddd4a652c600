//! How it is found.

use std::fs;
use std::str::FromStr;

use ringpoll_backends::capabilities::Capabilities;
use ringpoll_backends::{BackendError, EngineOptions, ErrorKind, kernel, open};
use rustix::process::{Resource, getrlimit};

use super::diagnosis::{Absence, AutoChoice, Diagnosis, Limits, Obstruction, SCHEMA_VERSION};
use super::{kernel_faults, obstruction, techniques};
use crate::config::automatic;

/// Asks the kernel everything.
pub fn examine() -> Diagnosis {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    // First of all: what the rings of the probes have held counts as locked memory until some time
    // after they are closed, and could keep the server's ring from being made.
    let choice = choose(&release);
    let found = Capabilities::probe();
    let answers = found.iter().map(|(it, answer)| (it.name.to_owned(), answer.is_ok()));
    let missing = found.iter().filter_map(|(it, answer)| {
        let missing = answer.as_ref().err()?;
        let absence = Absence { errno: missing.errno(), reason: missing.to_string() };
        Some((it.name.to_owned(), absence))
    });
    Diagnosis {
        schema_version: SCHEMA_VERSION,
        kernel_version: name.version().to_string_lossy().into_owned(),
        io_uring_usable: choice.in_force.is_some(),
        obstruction: choice.obstruction,
        capabilities: answers.collect(),
        missing: missing.collect(),
        limits: limits(),
        known_faults: kernel_faults::of(&release),
        auto: choice.auto,
        techniques: choice.in_force.map_or_else(Vec::new, |it| techniques::all(&it)),
        kernel_release: release,
    }
}

/// What `auto` takes.
struct Choice {
    auto: AutoChoice,
    /// The techniques that it has in force, if it is io_uring that it takes.
    in_force: Option<Vec<&'static str>>,
    obstruction: Option<Obstruction>,
}

/// Lets `auto` choose, as the server does with the queues that it has by default, and gives back
/// what it took.
fn choose(release: &str) -> Choice {
    let refusal = |error: BackendError| match error.kind {
        ErrorKind::BackendRefused => Ok(error),
        _ => Err(error),
    };
    let options = EngineOptions::default();
    match automatic(|variant| open(variant, &options).map(|it| it.techniques()), refusal) {
        Ok(taken) => {
            let reason = match &taken.refused {
                None => "io_uring is allowed, and comes first".to_owned(),
                Some(error) => format!("io_uring is refused: {error}"),
            };
            let variant = Some(taken.variant.name().to_owned());
            let in_force = taken.variant.is_io_uring().then_some(taken.started);
            let obstruction = taken.refused.map(|error| obstruction::of(&error, release));
            Choice { auto: AutoChoice { variant, reason }, in_force, obstruction }
        }
        Err(error) => {
            let obstruction = Some(obstruction::of(&error, release));
            let auto = AutoChoice { variant: None, reason: error.to_string() };
            Choice { auto, in_force: None, obstruction }
        }
    }
}

fn limits() -> Limits {
    let (files, memory) = (getrlimit(Resource::Nofile), getrlimit(Resource::Memlock));
    Limits {
        open_files_limit: files.current,
        open_files_hard_limit: files.maximum,
        locked_memory_limit_bytes: memory.current,
        locked_memory_hard_limit_bytes: memory.maximum,
        somaxconn: number("net/core/somaxconn"),
        tcp_max_syn_backlog: number("net/ipv4/tcp_max_syn_backlog"),
        io_uring_disabled: kernel::io_uring_disabled(),
        io_uring_group: number("kernel/io_uring_group"),
        seccomp_filter: kernel::seccomp_filter(),
    }
}

fn number<T: FromStr>(sysctl: &str) -> Option<T> {
    fs::read_to_string(format!("/proc/sys/{sysctl}")).ok()?.trim().parse().ok()
}
