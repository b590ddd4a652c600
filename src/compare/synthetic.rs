//! Synthetic rounds for the tests of the analysis.

use crate::result::{
    Arm, ArmKind, BatchSize, ClientUsage, CpuPlacement, Latency, LatencyPair, LoadLevel,
    MachineUsage, Round, ServerCounters, ServerUsage, Setting,
};

/// Returns a round without failures: 10,000 requests in a second, 10 µs and 5 system calls each.
pub(super) fn round(arm: usize, load_level: LoadLevel, block: usize) -> Round {
    let latency = Latency {
        count: 10_000,
        p50_ns: 100_000,
        p90_ns: 200_000,
        p99_ns: 500_000,
        p99_9_ns: 900_000,
        p99_99_ns: 990_000,
        max_ns: 1_000_000,
        histogram: String::new(),
    };
    let saturated = load_level == LoadLevel::Saturation;
    Round {
        arm,
        control: false,
        load_level,
        block,
        engine: Some("epoll:level".to_owned()),
        started_at_seconds: block as f64,
        duration_ns: 1_000_000_000,
        slices: 20,
        requests: 10_000,
        bytes: None,
        slices_not_quiet: None,
        failures: Default::default(),
        latency: LatencyPair { corrected: latency.clone(), uncorrected: latency },
        periods: Vec::new(),
        server: ServerUsage {
            cpu_ns: 100_000_000,
            user_ns: 10_000_000,
            system_ns: 90_000_000,
            voluntary_switches: 2_900,
            involuntary_switches: 100,
            tasks: 1,
            io_uring_tasks: 0,
            io_wq_workers: 0,
            io_wq_cpu_ns: 0,
            peak_resident_bytes: 6 << 20,
            cpu_utilization: if saturated { 0.99 } else { 0.1 },
        },
        counters: Some(ServerCounters {
            responses: 11_000,
            system_calls: [("accept4".to_owned(), 11_000), ("sendto".to_owned(), 44_000)].into(),
            counters: [("accepted".to_owned(), 11_000)].into(),
            events_per_wait: Some(1.5),
            batch_sizes: vec![BatchSize { min_events: 1, waits: 7_000 }],
        }),
        system_calls: None,
        hardware: None,
        client: ClientUsage {
            cpu_ns: 500_000_000,
            cpu_utilization: 0.5,
            max_open_connections: 64,
            connections_closed_by_server: 0,
            max_scheduling_delay_ns: 50_000,
        },
        machine: MachineUsage::default(),
    }
}

/// Returns blocks of all arms and the control at both load levels.
pub(super) fn rounds(arms: usize, blocks: usize) -> Vec<Round> {
    let mut rounds = Vec::new();
    for block in 0..blocks {
        for load_level in [LoadLevel::FixedRate, LoadLevel::Saturation] {
            rounds.extend((0..arms).map(|arm| round(arm, load_level, block)));
            rounds.push(Round { control: true, ..round(0, load_level, block) });
        }
    }
    rounds
}

/// Returns arms `A`, `B`… with the engine of the rounds.
pub(super) fn arms(count: usize) -> Vec<Arm> {
    let arm = |index: usize| Arm {
        spec: "epoll:level".to_owned(),
        label: char::from(b'A' + index as u8).to_string(),
        kind: ArmKind::Engine,
        command_line: vec!["ringpoll".to_owned()],
        engine: Some("epoll, level-triggered".to_owned()),
        settings: vec![Setting {
            key: "backend".to_owned(),
            value: "epoll:level".to_owned(),
            origin: "flag arm".to_owned(),
        }],
        kernel_features: Vec::new(),
    };
    (0..count).map(arm).collect()
}

/// Returns a placement with server and client on different cores.
pub(super) fn placement() -> CpuPlacement {
    CpuPlacement {
        server_cpus: vec![1],
        client_cpus: vec![0],
        shares_core: false,
        reason: "a test".to_owned(),
    }
}
