//! Gates about the load: the load generator must not be the bottleneck.

use super::{Evidence, Gate, GateEffect, GateKind, percent};
use crate::compare::metrics::arm_median;
use crate::result::{LoadLevel, Metric, MetricAt, Round};

/// CPU utilization from which a server, or a client at a fixed rate, is saturated.
const SATURATED: f64 = 0.97;
/// CPU utilization from which the client limits the throughput.
const CLIENT_BUSY: f64 = 0.90;
/// Maximum relative deviation of the reached rate from the offered rate.
const RATE_TOLERANCE: f64 = 0.03;

/// Throughput is compared only if every server is saturated.
pub(super) fn server_not_saturated(evidence: &Evidence) -> Option<Gate> {
    let load_level = LoadLevel::Saturation;
    let server_cpu =
        |arm| evidence.median(arm, load_level, |it| it.server.cpu_utilization).unwrap_or(1.0);
    let client_cpu =
        |arm| evidence.median(arm, load_level, |it| it.client.cpu_utilization).unwrap_or(0.0);
    let idle = evidence.arms_where(|arm| server_cpu(arm) < SATURATED)?;
    let server = idle.iter().map(|&arm| server_cpu(arm)).fold(1.0, f64::min);
    let client = idle.iter().map(|&arm| client_cpu(arm)).fold(0.0, f64::max);
    let names = evidence.names(&idle);
    // The client of a comparison has a single thread, so that more CPUs do not help it.
    let (kind, symptom, remedy) = if client >= CLIENT_BUSY {
        (
            GateKind::ClientSaturated,
            format!("The load generator was the bottleneck for {names}"),
            "Try fewer server workers, a load that needs less client CPU per request, or a faster \
             CPU in --client-cpus.",
        )
    } else {
        (
            GateKind::ServerNotSaturated,
            format!("{names} and the load generator waited for each other"),
            "Try more --connections.",
        )
    };
    Some(Gate {
        metrics: evidence.where_measured(&[Metric::Throughput, Metric::BytesThroughput]),
        reason: format!(
            "{symptom} (client CPU {}, server CPU {}), so throughput was not compared.",
            percent(client, 0),
            percent(server, 0),
        ),
        remedy: format!("{remedy} {} is still valid.", evidence.cost()),
        ..Gate::new(kind, GateEffect::NotCompared)
    })
}

/// Returns true if a round had nearly as many requests as were offered.
pub(in crate::compare) fn reaches_rate(round: &Round, offered: f64) -> bool {
    let expected = offered * (round.duration_ns as f64 / 1e9);
    // Two more, because a short round can have one request too few at each end.
    (round.requests as f64 - expected).abs() <= RATE_TOLERANCE * expected + 2.0
}

/// At a fixed rate all arms must do the same work, with CPU time to spare.
pub(super) fn rate_not_reached(evidence: &Evidence) -> Option<Gate> {
    let load_level = LoadLevel::FixedRate;
    let offered = evidence.load_levels.iter().find(|it| it.load_level == load_level);
    let offered = offered.and_then(|it| it.requests_per_second)?;
    let median = |arm, value: &dyn Fn(&Round) -> f64| evidence.median(arm, load_level, value);
    let missed_rate = |round: &Round| f64::from(u8::from(!reaches_rate(round, offered)));
    let missed = |arm| median(arm, &missed_rate) >= Some(0.5);
    let server_cpu = |arm| median(arm, &|it| it.server.cpu_utilization);
    let client_cpu = |arm| median(arm, &|it| it.client.cpu_utilization);
    let saturated = |arm| server_cpu(arm) > Some(SATURATED) || client_cpu(arm) > Some(SATURATED);
    let arms = evidence.arms_where(|arm| missed(arm) || saturated(arm))?;
    let throughput = MetricAt { metric: Metric::Throughput, load_level };
    let describe = |&arm: &usize| {
        format!(
            "{}: reached {:.0}, server CPU {}, client CPU {}",
            evidence.names(&[arm]),
            arm_median(evidence.rounds, arm, throughput).unwrap_or(0.0),
            percent(server_cpu(arm).unwrap_or(0.0), 0),
            percent(client_cpu(arm).unwrap_or(0.0), 0),
        )
    };
    let reached: Vec<_> = arms.iter().map(describe).collect();
    Some(Gate {
        metrics: evidence.at_load_level(load_level),
        reason: format!(
            "{offered:.0} requests/s were too many ({}), so nothing was compared at this rate.",
            reached.join("; "),
        ),
        arms,
        remedy: format!("Try --rate {:.0}.", offered * 0.7),
        ..Gate::new(GateKind::RateNotReached, GateEffect::NotCompared)
    })
}
