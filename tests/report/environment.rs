//! Fixed environment and method of the test results.

use ringpoll::doctor::diagnosis::{AutoChoice, Diagnosis, Limits, MissingReason};
use ringpoll::result::{
    CpuDescription, CpuPlacement, Environment, Isolation, KernelParameters, Method, NamedValue,
    ProgramDescription,
};

use crate::fixture::MARGINS;

pub(crate) fn placement() -> CpuPlacement {
    CpuPlacement {
        server_cpus: vec![2],
        client_cpus: vec![3],
        shares_core: false,
        reason: "separate cores on the same NUMA node".to_owned(),
    }
}

fn tunable(name: &str, value: &str) -> NamedValue {
    NamedValue { name: name.to_owned(), value: value.to_owned() }
}

fn diagnosis() -> Diagnosis {
    let reason = "the kernel copied the data".to_owned();
    Diagnosis {
        schema_version: ringpoll::doctor::diagnosis::SCHEMA_VERSION,
        kernel_release: "6.12.48-amd64".to_owned(),
        kernel_version: "#1 SMP PREEMPT_DYNAMIC".to_owned(),
        io_uring_usable: true,
        obstruction: None,
        capabilities: [("ring".to_owned(), true), ("send_zc_loopback".to_owned(), false)].into(),
        missing: [("send_zc_loopback".to_owned(), MissingReason { errno: None, reason })].into(),
        limits: Limits {
            open_files_limit: Some(1024),
            open_files_hard_limit: Some(1_048_576),
            locked_memory_limit_bytes: None,
            locked_memory_hard_limit_bytes: None,
            somaxconn: Some(4096),
            tcp_max_syn_backlog: Some(4096),
            io_uring_disabled: Some(0),
            io_uring_group: Some(-1),
            seccomp_filter: false,
        },
        known_faults: Vec::new(),
        auto: AutoChoice {
            variant: Some("io_uring:single_shot".to_owned()),
            reason: "io_uring is allowed and preferred".to_owned(),
        },
        techniques: Vec::new(),
    }
}

pub(crate) fn environment() -> Environment {
    Environment {
        program: ProgramDescription {
            version: "0.1.0".to_owned(),
            git_commit: Some("0123456789ab".to_owned()),
            optimised: true,
            target: "x86_64-linux".to_owned(),
        },
        kernel_release: "6.12.48-amd64".to_owned(),
        kernel_version: "#1 SMP PREEMPT_DYNAMIC".to_owned(),
        kernel_parameters: Some(KernelParameters {
            reported: vec!["mitigations=off".to_owned()],
            omitted: 3,
        }),
        kernel_build: Some(vec![tunable("CONFIG_HZ", "250")]),
        cpu: CpuDescription {
            model: "AMD Ryzen 7 5700G".to_owned(),
            available: 16,
            online: 16,
            threads_per_core: 2,
            numa_nodes: 1,
            governor: Some("performance".to_owned()),
        },
        virtualisation: "none".to_owned(),
        mitigations: vec![tunable("spectre_v2", "Mitigation: Enhanced IBRS")],
        memory_bytes: 33_554_432_000,
        sysctls: vec![tunable("net.core.somaxconn", "4096")],
        limits: vec![tunable("open files", "1048576")],
        load_before: 0.04,
        doctor: diagnosis(),
    }
}

pub(crate) fn method() -> Method {
    Method {
        seed: 4_242,
        budget_seconds: 60.0,
        round_seconds: 0.6,
        warm_up_seconds: 0.15,
        confidence: 0.95,
        negligible: MARGINS.negligible,
        equivalence: MARGINS.equivalence,
        cpu_placement: placement(),
        isolation: Isolation {
            network_namespace: true,
            reason: "separate network namespace".to_owned(),
        },
    }
}
