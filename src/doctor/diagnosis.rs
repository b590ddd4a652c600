//! What was found.
//!
//! [`SCHEMA_VERSION`] grows when a field changes its meaning or goes; new fields and new
//! capabilities may come within a version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the model.
pub const SCHEMA_VERSION: u32 = 1;

/// What this kernel, this user and this sandbox allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// Whether the server can have a ring as it needs it.
    pub io_uring_usable: bool,
    /// Why it cannot.
    pub obstruction: Option<Obstruction>,
    /// What can be done, by name: whether a trial of it had the effect that it must have.
    pub capabilities: BTreeMap<String, bool>,
    /// Of those that cannot: why.
    pub missing: BTreeMap<String, Absence>,
    /// Settings and limits that a server runs into.
    pub limits: Limits,
    /// Faults that a kernel of this version is known for. It is advice: a distribution may have
    /// mended them without another version.
    pub known_faults: Vec<KnownFault>,
    /// What `backend = "auto"` takes here.
    pub auto: AutoChoice,
    /// What the engine that `auto` takes has to choose from, and what of it is in force.
    pub techniques: Vec<Technique>,
}

/// Why something cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Absence {
    /// The errno, as in errno(3), where there was one.
    pub errno: Option<i32>,
    /// What was refused, or what happened in its place.
    pub reason: String,
}

/// What stands between this process and io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Obstruction {
    /// Which of the cases it is.
    pub case: Case,
    /// What was refused first, such as `io_uring_setup`.
    pub operation: String,
    /// The errno, as in errno(3), where there was one.
    pub errno: Option<i32>,
    /// The cause, in words.
    pub cause: String,
    /// What can be done about it, in words.
    pub remedy: String,
}

/// The ways in which io_uring can be out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    /// `kernel.io_uring_disabled` is 2.
    SwitchedOff,
    /// `kernel.io_uring_disabled` is 1, and this user is neither privileged nor in
    /// `kernel.io_uring_group`.
    SwitchedOffForUnprivileged,
    /// A seccomp filter forbids one of the three system calls.
    Seccomp,
    /// A security module or a sandbox forbids it.
    SecurityModule,
    /// The kernel is older than io_uring, or than what the server needs of it.
    OldKernel,
    /// The kernel was built without CONFIG_IO_URING.
    NotBuilt,
    /// The call is not there, and it cannot be told why.
    Absent,
    /// RLIMIT_MEMLOCK has no room for the ring.
    LockedMemory,
    /// RLIMIT_NOFILE has no room for the ring.
    OpenFiles,
    /// Anything else.
    Other,
}

/// Settings and limits; `None` is no limit where the name says limit, and not known elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// RLIMIT_NOFILE now.
    pub open_files_limit: Option<u64>,
    /// How far a process may raise it.
    pub open_files_hard_limit: Option<u64>,
    /// RLIMIT_MEMLOCK, in bytes.
    pub locked_memory_limit_bytes: Option<u64>,
    /// How far a process may raise it, in bytes.
    pub locked_memory_hard_limit_bytes: Option<u64>,
    /// `net.core.somaxconn`: the longest queue of a listener.
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub tcp_max_syn_backlog: Option<u64>,
    /// `kernel.io_uring_disabled` (Linux 6.6): 0, 1 or 2.
    pub io_uring_disabled: Option<u8>,
    /// `kernel.io_uring_group` (Linux 6.6): who may have it where that is 1; -1 is nobody.
    pub io_uring_group: Option<i64>,
    /// Whether a seccomp filter watches this process.
    pub seccomp_filter: bool,
}

/// A fault of kernels of this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownFault {
    /// Which versions have it, in words.
    pub versions: String,
    /// What happens.
    pub fault: String,
    /// How to keep clear of it.
    pub remedy: String,
    /// Where it is told.
    pub reference: String,
}

/// What `backend = "auto"` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutoChoice {
    /// The engine, such as `io_uring:tuned`; `None` where none can be had.
    pub variant: Option<String>,
    /// Why this one.
    pub reason: String,
}

/// A way of the engine's to use what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Technique {
    /// Its name, as the start line of a server has it.
    pub name: String,
    /// The techniques that it does nothing without.
    pub needs: Vec<String>,
    /// Whether it is in force here.
    pub in_force: bool,
    /// Why it is in force or not; `None` in results of older programs.
    #[serde(default)]
    pub state: Option<TechniqueState>,
    /// What was refused, where it is missing because of that.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Whether a technique is in force, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TechniqueState {
    /// The server has it unless it is told otherwise.
    InForce,
    /// It could be had, and is not asked for unless somebody does.
    OffByDefault,
    /// It is asked for by default, and what else is in force does the same and more, or leaves it
    /// nothing to do.
    NotNeeded,
    /// It cannot be had here.
    Missing,
}

impl TechniqueState {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::OffByDefault => "off by default",
            Self::NotNeeded => "not needed",
            Self::Missing => "missing here",
        }
    }
}

impl Diagnosis {
    /// `io_uring can be used, auto takes io_uring:tuned, 62 of 63 capabilities`.
    pub fn in_short(&self) -> String {
        let usable = if self.io_uring_usable { "can" } else { "cannot" };
        let taken = self.auto.variant.as_deref().unwrap_or("nothing");
        let there = self.capabilities.values().filter(|it| **it).count();
        let all = self.capabilities.len();
        let mut text =
            format!("io_uring {usable} be used, auto takes {taken}, {there} of {all} capabilities");
        if let Some(obstruction) = &self.obstruction {
            text += &format!(": {}", obstruction.cause);
        }
        text
    }
}
