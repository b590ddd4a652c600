//! Rules about the load: whether it is the servers that are measured, and not the client.

use super::{Evidence, Gate, GateEffect, GateKind};
use crate::report::result::{Metric, MetricAt, Point, Round};

/// How busy a server must be for its throughput to be its own.
const SATURATED: f64 = 0.97;
/// From when on a client is taken to have no time left.
const CLIENT_BUSY: f64 = 0.90;
/// How far the rate that was reached may be from the one that was offered.
const RATE_KEPT: f64 = 0.03;

/// Throughput is judged only where every server has no time left.
pub(super) fn server_not_saturated(evidence: &Evidence) -> Vec<Gate> {
    let point = Point::Saturated;
    let server_busy = |arm| evidence.median(arm, point, |it| it.server.busy).unwrap_or(1.0);
    let client_busy = |arm| evidence.median(arm, point, |it| it.client.busy).unwrap_or(0.0);
    let idle = evidence.arms_where(|arm| server_busy(arm) < SATURATED);
    if !evidence.has(point) || idle.is_empty() {
        return Vec::new();
    }
    let client = idle.iter().any(|&arm| client_busy(arm) >= CLIENT_BUSY);
    let least = idle.iter().map(|&arm| server_busy(arm)).fold(1.0, f64::min);
    let busiest = idle.iter().map(|&arm| client_busy(arm)).fold(0.0, f64::max);
    let (kind, cause, remedy) = if client {
        (
            GateKind::ClientSaturated,
            "it is the client that has no time left",
            "a load that costs the client less for each request of the server, or a client with \
             more processors: --client-cpus; CPU per request can be judged all the same",
        )
    } else {
        (
            GateKind::ServerNotSaturated,
            "neither has the client: they wait for each other",
            "more --connections; CPU per request can be judged all the same",
        )
    };
    vec![Gate {
        kind,
        effect: GateEffect::NotJudgeable,
        metrics: vec![MetricAt { metric: Metric::Throughput, point }],
        arms: Vec::new(),
        reason: format!(
            "at saturation {} used as little as {:.0} % of the server's processors, the client \
             {:.0} % of its own: {cause}",
            evidence.names(&idle),
            least * 100.0,
            busiest * 100.0,
        ),
        remedy: remedy.to_owned(),
    }]
}

/// At a fixed rate all arms must have done the same work, and have had time to spare.
pub(super) fn rate_not_kept(evidence: &Evidence) -> Vec<Gate> {
    let point = Point::FixedRate;
    let offered = evidence.points.iter().find(|it| it.point == point);
    let Some(offered) = offered.and_then(|it| it.requests_per_second) else { return Vec::new() };
    let seconds = |round: &Round| round.duration_ns as f64 / 1e9;
    let rate = |arm| evidence.median(arm, point, |it| it.requests as f64 / seconds(it));
    // Of few requests, one or two at the ends are more than a few percent.
    let missed_by = |round: &Round| {
        let due = offered * seconds(round);
        (round.requests as f64 - due).abs() > RATE_KEPT * due + 2.0
    };
    let missed =
        |arm| evidence.median(arm, point, |it| f64::from(u8::from(missed_by(it)))) >= Some(0.5);
    let full = |arm| evidence.median(arm, point, |it| it.server.busy) > Some(SATURATED);
    let breathless = |arm| evidence.median(arm, point, |it| it.client.busy) > Some(SATURATED);
    let arms = evidence.arms_where(|arm| missed(arm) || full(arm) || breathless(arm));
    if arms.is_empty() {
        return Vec::new();
    }
    let reached: Vec<_> = arms
        .iter()
        .map(|&arm| {
            let share =
                |busy: fn(&Round) -> f64| evidence.median(arm, point, busy).unwrap_or(0.0) * 100.0;
            let (server, client) = (share(|it| it.server.busy), share(|it| it.client.busy));
            let rate = rate(arm).unwrap_or(0.0);
            format!(
                "{rate:.0} were reached, the server {server:.0} % busy, the client {client:.0} %"
            )
        })
        .collect();
    let mut metrics = evidence.wherever(&[
        Metric::LatencyP50,
        Metric::LatencyP99,
        Metric::CpuPerRequest,
        Metric::SystemCallsPerRequest,
        Metric::ContextSwitchesPerRequest,
    ]);
    metrics.retain(|at| at.point == point);
    vec![Gate {
        kind: GateKind::RateNotKept,
        effect: GateEffect::NotJudgeable,
        metrics,
        reason: format!(
            "{} did not keep up with {offered:.0} requests/s: {}",
            evidence.names(&arms),
            reached.join("; "),
        ),
        arms,
        remedy: format!("--rate {:.0}", offered * 0.7),
    }]
}
