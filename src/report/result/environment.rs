//! Where a comparison ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::doctor::diagnosis::Diagnosis;

/// The machine, its kernel, their settings, and this program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// This program.
    pub program: ProgramDescription,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// The kernel's command line, where it can be read.
    pub kernel_command_line: Option<String>,
    /// Those lines of the kernel's build configuration that matter here, where it can be read.
    pub kernel_build: Option<Vec<Tunable>>,
    /// The processors.
    pub cpu: CpuDescription,
    /// `none`, `kvm`, `xen`, `container`…, as far as it can be told.
    pub virtualisation: String,
    /// Each hardware vulnerability and what is done about it.
    pub mitigations: Vec<Tunable>,
    /// All memory, in bytes.
    pub memory_bytes: u64,
    /// The settings of the kernel that matter, as in force where server and client ran.
    pub sysctls: Vec<Tunable>,
    /// Limits of the process, such as open files and locked memory.
    pub limits: Vec<Tunable>,
    /// How busy the machine was by others before the first round: 1.0 is one processor.
    pub load_before: f64,
    /// What kernel, user and sandbox allow, as `ringpoll doctor` finds it where the servers ran.
    /// Results of programs that had no doctor are without.
    #[serde(default)]
    pub doctor: Option<Diagnosis>,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tunable {
    /// Its name.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// This program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramDescription {
    /// Its version.
    pub version: String,
    /// The commit that it was built from, with `-dirty` behind it if the tree was not clean;
    /// `None` where it was not built from a repository.
    pub git: Option<String>,
    /// Whether it was built with optimisation: figures of a build without are worth nothing.
    pub optimised: bool,
    /// What it was built for.
    pub target: String,
}

/// The processors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuDescription {
    /// Their name.
    pub model: String,
    /// How many this process may use.
    pub available: usize,
    /// How many there are.
    pub online: usize,
    /// How many threads share a core.
    pub threads_per_core: usize,
    /// How many memory nodes there are.
    pub memory_nodes: usize,
    /// The frequency governor; `None` where the machine does not tell.
    pub governor: Option<String>,
}

/// Where server and client ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// The processors of the server.
    pub server_cpus: Vec<usize>,
    /// The processors of the client.
    pub client_cpus: Vec<usize>,
    /// Whether server and client share a core.
    pub shared: bool,
    /// Why these, in words.
    pub reason: String,
}

/// Whether server and client had a network to themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// Whether they had.
    pub network_namespace: bool,
    /// How, or why not.
    pub reason: String,
}

/// What the kernel says of a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerState {
    /// Connections that found its queue full (`ListenOverflows`), in the whole namespace.
    pub overflows: u64,
    /// Connections that it dropped for that or another reason (`ListenDrops`).
    pub drops: u64,
}
