//! Data model of a diagnosis.
//!
//! [`SCHEMA_VERSION`] increases when a field or a capability changes its meaning or is removed. New
//! ones can be added within a version.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the data model.
pub const SCHEMA_VERSION: u32 = 2;

/// Diagnosis of this kernel for this user in this sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// True if the server can set up a ring with the operations that it needs.
    pub io_uring_usable: bool,
    /// Reason why it cannot.
    pub obstruction: Option<Obstruction>,
    /// Result of the probe of each capability, by name: true if it had the documented effect.
    pub capabilities: BTreeMap<String, bool>,
    /// Reasons for the capabilities that are false.
    pub missing: BTreeMap<String, MissingReason>,
    /// Settings and limits that affect a server.
    pub limits: Limits,
    /// Known faults of kernels with this version. A distribution may have fixed them without a new
    /// version.
    pub known_faults: Vec<KnownFault>,
    /// The engine that `backend = "auto"` selects here.
    pub auto: AutoChoice,
    /// Techniques of the engine that `auto` selects.
    pub techniques: Vec<Technique>,
}

/// Reason why a capability is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingReason {
    /// The errno, as in errno(3), of a failed call or operation.
    pub errno: Option<i32>,
    /// The call or operation that failed, or the unexpected effect.
    pub reason: String,
}

/// Reason why this process cannot use io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Obstruction {
    /// Kind of the obstruction.
    pub kind: ObstructionKind,
    /// The operation that failed first, such as `io_uring_setup`.
    pub operation: String,
    /// The errno, as in errno(3), of a failed call or operation.
    pub errno: Option<i32>,
    /// The cause, for people.
    pub cause: String,
    /// The remedy, for people.
    pub remedy: String,
}

/// Kind of an [`Obstruction`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObstructionKind {
    /// `kernel.io_uring_disabled` is 2.
    Disabled,
    /// `kernel.io_uring_disabled` is 1, and this user is neither privileged nor in
    /// `kernel.io_uring_group`.
    DisabledForUnprivileged,
    /// A seccomp filter forbids one of the three system calls.
    Seccomp,
    /// A security module or a sandbox forbids it.
    SecurityModule,
    /// The kernel has no io_uring, or too few of its operations for the server.
    OldKernel,
    /// The kernel was built without CONFIG_IO_URING.
    NotBuilt,
    /// The system call does not exist (ENOSYS), for an unknown reason.
    Unavailable,
    /// RLIMIT_MEMLOCK is too low for the ring.
    LockedMemory,
    /// RLIMIT_NOFILE is reached.
    OpenFiles,
    /// Anything else.
    Other,
}

/// Settings and limits. `None` means unlimited for fields named `limit`, and unknown for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Soft limit RLIMIT_NOFILE.
    pub open_files_limit: Option<u64>,
    /// Hard limit RLIMIT_NOFILE.
    pub open_files_hard_limit: Option<u64>,
    /// Soft limit RLIMIT_MEMLOCK, in bytes.
    pub locked_memory_limit_bytes: Option<u64>,
    /// Hard limit RLIMIT_MEMLOCK, in bytes.
    pub locked_memory_hard_limit_bytes: Option<u64>,
    /// `net.core.somaxconn`: the maximum length of an accept queue.
    pub somaxconn: Option<u64>,
    /// `net.ipv4.tcp_max_syn_backlog`.
    pub tcp_max_syn_backlog: Option<u64>,
    /// `kernel.io_uring_disabled` (Linux 6.6): 0, 1 or 2.
    pub io_uring_disabled: Option<u8>,
    /// `kernel.io_uring_group` (Linux 6.6): the group that may use io_uring if
    /// `io_uring_disabled` is 1; -1 is no group.
    pub io_uring_group: Option<i64>,
    /// True if this process has a seccomp filter.
    pub seccomp_filter: bool,
}

/// Known fault of a range of kernel versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KnownFault {
    /// Affected versions, such as `6.1 to 6.11`.
    pub versions: String,
    /// Description of the fault.
    pub fault: String,
    /// Workaround or fix.
    pub remedy: String,
    /// Address of the report.
    pub reference: String,
}

/// Selection of `backend = "auto"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AutoChoice {
    /// The engine, such as `io_uring:tuned`; `None` if no engine can be opened.
    pub variant: Option<String>,
    /// Reason for the selection.
    pub reason: String,
}

/// Technique of the tuned io_uring engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Technique {
    /// Name, as in the start line of a server.
    pub name: String,
    /// Techniques that it requires.
    pub needs: Vec<String>,
    /// True if it is in force here.
    pub in_force: bool,
    /// State; `None` in results of older programs.
    #[serde(default)]
    pub state: Option<TechniqueState>,
    /// Error of the engine, if it could not be opened with this technique.
    #[serde(default)]
    pub reason: Option<String>,
    /// True if no measurement shows that it pays; false in results of older programs.
    #[serde(default)]
    pub is_experimental: bool,
}

/// State of a technique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TechniqueState {
    /// On by default and in force.
    InForce,
    /// Available, but off by default.
    OffByDefault,
    /// On by default, but another technique in force makes it unnecessary.
    NotNeeded,
    /// Not available on this kernel.
    Missing,
}

impl TechniqueState {
    /// Returns the state as text for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InForce => "in force",
            Self::OffByDefault => "off by default",
            Self::NotNeeded => "not needed",
            Self::Missing => "not available",
        }
    }
}

impl Diagnosis {
    /// Returns a line such as
    /// `io_uring can be used, auto uses io_uring:tuned, 61 of 62 capabilities`.
    pub fn summary(&self) -> String {
        let usable = if self.io_uring_usable { "can" } else { "cannot" };
        let engine = self.auto.variant.as_deref().unwrap_or("nothing");
        let available = self.capabilities.values().filter(|it| **it).count();
        let all = self.capabilities.len();
        let mut text = format!(
            "io_uring {usable} be used, auto uses {engine}, {available} of {all} capabilities"
        );
        if let Some(obstruction) = &self.obstruction {
            text += &format!(": {}", obstruction.cause);
        }
        text
    }
}
