//! Machine and software on which a comparison ran.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::doctor::diagnosis::Diagnosis;

/// Machine, kernel, their settings, and this program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Build of this program.
    pub program: ProgramDescription,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// The parameters of the kernel command line that affect performance, if it can be read.
    pub kernel_parameters: Option<KernelParameters>,
    /// Relevant lines of the kernel's build configuration, if readable.
    pub kernel_build: Option<Vec<NamedValue>>,
    /// CPUs of the machine.
    pub cpu: CpuDescription,
    /// Detected virtualisation: `none`, `kvm`, `xen`, `container`, …
    pub virtualisation: String,
    /// State of each hardware vulnerability, from `/sys/devices/system/cpu/vulnerabilities`.
    pub mitigations: Vec<NamedValue>,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// Relevant sysctls in the namespaces of server and client.
    pub sysctls: Vec<NamedValue>,
    /// Resource limits of the process, such as open files and locked memory.
    pub limits: Vec<NamedValue>,
    /// CPU use of other processes before the first round: 1.0 is one CPU.
    pub load_before: f64,
    /// Result of `ringpoll doctor` in the namespaces of the servers.
    pub doctor: Diagnosis,
}

/// The parameters of the kernel command line that affect performance. Others are omitted, because
/// they can contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KernelParameters {
    /// The reported parameters, as written.
    pub reported: Vec<String>,
    /// The number of omitted parameters.
    pub omitted: usize,
}

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedValue {
    /// Name of the setting.
    pub name: String,
    /// Value as text.
    pub value: String,
}

/// Build of this program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramDescription {
    /// Version of the package.
    pub version: String,
    /// Commit of the source, followed by `-dirty` for a modified tree; `None` outside a repository.
    pub git_commit: Option<String>,
    /// True for a build with optimisation.
    pub optimised: bool,
    /// Target triple.
    pub target: String,
}

/// CPUs of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuDescription {
    /// Model name.
    pub model: String,
    /// Number of CPUs in the affinity mask of the process.
    pub available: usize,
    /// Number of online CPUs.
    pub online: usize,
    /// Number of hardware threads per core.
    pub threads_per_core: usize,
    /// Number of NUMA nodes.
    pub numa_nodes: usize,
    /// Frequency governor; `None` if the kernel does not report one.
    pub governor: Option<String>,
}

/// CPUs of server and client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CpuPlacement {
    /// CPUs of the server.
    pub server_cpus: Vec<usize>,
    /// CPUs of the client.
    pub client_cpus: Vec<usize>,
    /// True if server and client share a core.
    pub shares_core: bool,
    /// Reason for this choice in words.
    pub reason: String,
}

/// Network isolation of server and client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// True if they ran in a network namespace without other traffic.
    pub network_namespace: bool,
    /// Kind of the namespace, or the reason for none.
    pub reason: String,
}

/// Counters of lost connections, from `/proc/net/netstat`. They cover the network namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListenerState {
    /// Connections that found the accept queue full (`ListenOverflows`).
    pub overflows: u64,
    /// Connections dropped for this or another reason (`ListenDrops`).
    pub drops: u64,
}
