//! Rounds that nobody measured, for tests of what is made of rounds.

use crate::report::result::{
    Arm, ArmKind, BatchSize, ClientUse, Latency, LatencyPair, MachineUse, Placement, Point, Round,
    ServerCounters, ServerUse, Setting,
};

/// A round in which all is well: 10,000 requests in a second, 10 µs each, 5 system calls.
pub(super) fn round(arm: usize, point: Point, block: usize) -> Round {
    let latency = Latency {
        count: 10_000,
        p50_ns: 100_000,
        p90_ns: 200_000,
        p99_ns: 500_000,
        p99_9_ns: 900_000,
        max_ns: 1_000_000,
        histogram: String::new(),
    };
    let saturated = point == Point::Saturated;
    Round {
        arm,
        control: false,
        point,
        block,
        backend: Some("epoll:level".to_owned()),
        started_at_seconds: block as f64,
        duration_ns: 1_000_000_000,
        slices: 20,
        requests: 10_000,
        failures: Default::default(),
        latency: LatencyPair { corrected: latency.clone(), uncorrected: latency },
        server: ServerUse {
            cpu_ns: 100_000_000,
            user_ns: 10_000_000,
            system_ns: 90_000_000,
            voluntary_switches: 2_900,
            involuntary_switches: 100,
            tasks: 1,
            io_uring_tasks: 0,
            busy: if saturated { 0.99 } else { 0.1 },
        },
        counters: Some(ServerCounters {
            answered: 11_000,
            system_calls: [("accept4".to_owned(), 11_000), ("sendto".to_owned(), 44_000)].into(),
            counters: [("accepted".to_owned(), 11_000)].into(),
            events_per_wait: Some(1.5),
            batch_sizes: vec![BatchSize { at_least: 1, waits: 7_000 }],
        }),
        client: ClientUse {
            cpu_ns: 500_000_000,
            busy: 0.5,
            connections: 64,
            connections_ended: 0,
            most_late_ns: 50_000,
        },
        machine: MachineUse::default(),
    }
}

/// So many blocks of so many arms at both points, the control included.
pub(super) fn rounds(arms: usize, blocks: usize) -> Vec<Round> {
    let mut rounds = Vec::new();
    for block in 0..blocks {
        for point in [Point::FixedRate, Point::Saturated] {
            rounds.extend((0..arms).map(|arm| round(arm, point, block)));
            rounds.push(Round { control: true, ..round(0, point, block) });
        }
    }
    rounds
}

/// Arms `A`, `B`… that all ask for the engine of the rounds.
pub(super) fn arms(count: usize) -> Vec<Arm> {
    let arm = |index: usize| Arm {
        spec: "epoll:level".to_owned(),
        label: char::from(b'A' + index as u8).to_string(),
        kind: ArmKind::Engine,
        command_line: vec!["ringpoll".to_owned()],
        engine: Some("epoll, level triggered".to_owned()),
        settings: vec![Setting {
            key: "backend".to_owned(),
            value: "epoll:level".to_owned(),
            origin: "flag arm".to_owned(),
        }],
        kernel_features: Vec::new(),
    };
    (0..count).map(arm).collect()
}

/// Server and client apart.
pub(super) fn placement() -> Placement {
    Placement {
        server_cpus: vec![1],
        client_cpus: vec![0],
        shared: false,
        reason: "a test".to_owned(),
    }
}
