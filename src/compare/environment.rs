//! The kernel, CPU and settings of the machine on which a comparison runs.

mod kernel_parameters;

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::machine::CpuTicks;
use super::namespace::{COPIED_SYSCTLS, sysctl};
use super::topology::Topology;
use crate::doctor::examine::examine;
use crate::doctor::kernel_build;
use crate::result::{
    CpuDescription, Environment, KernelParameters, NamedValue, ProgramDescription,
};

/// Sysctls that affect the results, in addition to those that a new namespace copies.
const OTHER_SYSCTLS: &str = "\
    net.ipv4.ip_local_port_range net.core.busy_poll kernel.io_uring_disabled \
    kernel.numa_balancing kernel.sched_autogroup_enabled";

/// Build options of the kernel that affect the results, without `CONFIG_`.
const BUILD_OPTIONS: &str = "\
    HZ PREEMPT PREEMPT_DYNAMIC PREEMPT_LAZY PREEMPT_NONE PREEMPT_RT PREEMPT_VOLUNTARY NO_HZ_FULL \
    NO_HZ_IDLE IO_URING IRQ_TIME_ACCOUNTING VIRT_CPU_ACCOUNTING_GEN PARAVIRT_TIME_ACCOUNTING \
    CPU_MITIGATIONS MITIGATION_PAGE_TABLE_ISOLATION MITIGATION_RETPOLINE DEBUG_LIST KASAN KFENCE \
    LOCKDEP NETFILTER SLUB_DEBUG_ON";

/// For how long the load of other programs is measured.
const OTHER_LOAD_SAMPLE: Duration = Duration::from_millis(200);

/// Reads the environment in the network namespace of the calling thread.
pub fn read(topology: &Topology) -> Environment {
    let uname = rustix::system::uname();
    // Before the load of other programs is measured, because the examination uses CPU time itself.
    let doctor = examine();
    Environment {
        program: program(),
        kernel_release: uname.release().to_string_lossy().into_owned(),
        kernel_version: uname.version().to_string_lossy().into_owned(),
        kernel_parameters: read_line("/proc/cmdline").map(|line| KernelParameters::parse(&line)),
        kernel_build: kernel_build_options(&uname.release().to_string_lossy()),
        cpu: cpu(topology),
        virtualisation: virtualisation(),
        mitigations: mitigations(),
        memory_bytes: memory_bytes(),
        sysctls: sysctls(),
        limits: limits(),
        load_before: other_load(topology),
        doctor,
    }
}

fn program() -> ProgramDescription {
    ProgramDescription {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit: option_env!("BUILT_FROM_COMMIT")
            .filter(|commit| !commit.is_empty())
            .map(str::to_owned),
        optimised: !cfg!(debug_assertions),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    }
}

fn read_line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

fn kernel_build_options(release: &str) -> Option<Vec<NamedValue>> {
    let options = kernel_build::options(release)?.into_iter();
    let affects_results = options.filter(|(name, _)| {
        let name = name.strip_prefix("CONFIG_");
        BUILD_OPTIONS.split_whitespace().any(|it| Some(it) == name)
    });
    Some(affects_results.map(|(name, value)| NamedValue { name, value }).collect())
}

fn cpu(topology: &Topology) -> CpuDescription {
    let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = ["model name", "Model", "cpu model", "Hardware"].into_iter().find_map(|name| {
        let line = information.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let online = fs::read_to_string("/sys/devices/system/cpu/online")
        .ok()
        .and_then(|list| super::topology::parse_cpu_list(list.trim()).ok());
    let cores: BTreeSet<_> = topology.cpus.iter().map(|cpu| cpu.core).collect();
    let nodes: BTreeSet<_> = topology.cpus.iter().map(|cpu| cpu.node).collect();
    CpuDescription {
        model: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        available: topology.cpus.len(),
        online: online.map_or(topology.cpus.len(), |list| list.len()),
        threads_per_core: topology.cpus.len().div_ceil(cores.len().max(1)),
        numa_nodes: nodes.len(),
        governor: read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    }
}

/// Describes hypervisor and container. The clock source of a guest names its hypervisor; otherwise
/// the CPU flag `hypervisor` shows that there is one.
fn virtualisation() -> String {
    let clocks = read_line("/sys/devices/system/clocksource/clocksource0/available_clocksource");
    let clocks = clocks.unwrap_or_default();
    let machine = [("kvm-clock", "kvm"), ("hyperv", "hyper-v"), ("xen", "xen")]
        .into_iter()
        .find(|(clock, _)| clocks.contains(clock))
        .map(|(_, name)| name.to_owned())
        .or_else(|| read_line("/sys/hypervisor/type"))
        .or_else(|| {
            let information = fs::read_to_string("/proc/cpuinfo").ok()?;
            let flags = information.lines().find(|line| line.starts_with("flags"))?;
            let guest = flags.split_whitespace().any(|flag| flag == "hypervisor");
            guest.then(|| "unknown hypervisor".to_owned())
        });
    let container = fs::exists("/.dockerenv").unwrap_or(false)
        || fs::exists("/run/.containerenv").unwrap_or(false);
    match (machine, container) {
        (Some(machine), true) => format!("{machine}, container"),
        (Some(machine), false) => machine,
        (None, true) => "container".to_owned(),
        (None, false) => "none".to_owned(),
    }
}

fn mitigations() -> Vec<NamedValue> {
    let directory = "/sys/devices/system/cpu/vulnerabilities";
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut mitigations: Vec<NamedValue> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let state = read_line(&format!("{directory}/{name}"))?;
            Some(tunable(&name, &state))
        })
        .collect();
    mitigations.sort_by(|one, other| one.name.cmp(&other.name));
    mitigations
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kibibytes = line.split_whitespace().next().and_then(|number| number.parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}

fn sysctls() -> Vec<NamedValue> {
    let names = COPIED_SYSCTLS.split_whitespace().chain(OTHER_SYSCTLS.split_whitespace());
    names.filter_map(|name| Some(tunable(name, &sysctl(name)?))).collect()
}

fn limits() -> Vec<NamedValue> {
    let shown = |resource| {
        let limit = getrlimit(resource).current;
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
    };
    vec![
        tunable("open files", &shown(Resource::Nofile)),
        tunable("locked memory, bytes", &shown(Resource::Memlock)),
    ]
}

fn other_load(topology: &Topology) -> f64 {
    let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.number).collect();
    let before = CpuTicks::read(&cpus);
    sleep(OTHER_LOAD_SAMPLE);
    CpuTicks::read(&cpus).since(before).busy_share() * cpus.len() as f64
}

fn tunable(name: &str, value: &str) -> NamedValue {
    NamedValue { name: name.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_of_this_machine_is_read() {
        let environment = read(&Topology::read());
        assert!(!environment.kernel_release.is_empty());
        assert!(environment.cpu.available >= 1 && environment.cpu.threads_per_core >= 1);
        assert!(environment.memory_bytes > 1 << 20);
        assert!(environment.sysctls.iter().any(|it| it.name == "net.core.somaxconn"));
        assert_eq!(environment.limits.len(), 2);
        assert!(environment.load_before >= 0.0);
        assert!(!environment.doctor.capabilities.is_empty());
    }
}
