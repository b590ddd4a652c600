//! The open loop: waiting time counts from when a request is due (coordinated omission).

use std::time::Duration;

use ringpoll::load::{FailureKind, Pace, Plan, Rate};

use crate::peer::{Peer, outcome, plan, respond};

const STALL: Duration = Duration::from_millis(200);

/// 500 requests/s on two connections, so that a stall of the server delays the client.
fn open_plan(target: std::net::SocketAddr, requests: u64) -> Plan {
    let pace = Pace::OpenLoop(Rate::per_second(500.0).expect("a rate"));
    Plan { pace, connections: 2, ..plan(target, requests) }
}

#[test]
fn stall_counts_for_every_request_due_in_it() {
    let peer = Peer::start(|number, stream| {
        if number == 100 {
            std::thread::sleep(STALL);
        }
        respond(stream);
    });
    let outcome = outcome(&open_plan(peer.address, 500));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let half = STALL.as_nanos() as u64 / 2;
    let slow =
        |latencies: &ringpoll::load::Latencies| latencies.count_between(half, latencies.high());
    // 100 were due in the stall, half of them in its first half.
    let (corrected, uncorrected) = (slow(&outcome.corrected), slow(&outcome.uncorrected));
    assert!(corrected >= 45, "{corrected} waited for half of the stall or longer");
    // Only the two in flight; others are delays of the machine, which also delay many requests.
    assert!(uncorrected * 5 < corrected, "{uncorrected} against {corrected}");
    assert!(slow(&outcome.scheduling_delay) >= 40);
}

#[test]
fn every_due_request_is_started_or_counted_as_not_sent() {
    // Far too slow: 20 requests/s where 500 are due.
    let peer = Peer::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(50));
        respond(stream);
    });
    let timeout = Duration::from_millis(500);
    let plan = Plan { timeout, ..open_plan(peer.address, 500) };
    let outcome = outcome(&plan);
    let failures = &outcome.failures;
    assert!(failures.of(FailureKind::NotSent) > 0, "{failures:?}");
    assert_eq!(outcome.started + failures.not_sent(), 500);
    assert_eq!(outcome.completed + failures.total(), 500, "{failures:?}");
    // No request starts later than its timeout.
    assert!(outcome.scheduling_delay.max() <= timeout.as_nanos() as u64 * 1001 / 1000);
}

#[test]
fn duration_determines_the_number_of_requests() {
    let peer = Peer::start(|_, stream| respond(stream));
    let duration = Some(Duration::from_millis(400));
    let plan = Plan { requests: None, duration, ..open_plan(peer.address, 1) };
    let outcome = outcome(&plan);
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, 200);
    assert!(outcome.duration >= Duration::from_millis(400));
}

#[test]
fn threads_share_the_rate() {
    let peer = Peer::start(|_, stream| respond(stream));
    let outcome = outcome(&Plan { threads: 2, ..open_plan(peer.address, 101) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.corrected.len()), (101, 101));
    assert!(outcome.duration >= Duration::from_millis(200));
}
