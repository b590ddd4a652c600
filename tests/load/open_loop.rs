//! The open loop: who is made to wait is counted, whether or not the client could begin.

use std::time::Duration;

use ringpoll::load::{FailureKind, Pace, Plan, Rate};

use crate::peer::{Peer, answer, outcome, plan};

const STALL: Duration = Duration::from_millis(200);

/// 500 requests a second, with so few connections that a stall holds the client up.
fn open_plan(target: std::net::SocketAddr, requests: u64) -> Plan {
    let pace = Pace::Rate(Rate::per_second(500.0).expect("a rate"));
    Plan { pace, connections: 2, ..plan(target, requests) }
}

#[test]
fn a_stall_is_seen_by_all_who_were_due_in_it() {
    let peer = Peer::start(|number, stream| {
        if number == 100 {
            std::thread::sleep(STALL);
        }
        answer(stream);
    });
    let outcome = outcome(&open_plan(peer.address, 500));
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    let half = STALL.as_nanos() as u64 / 2;
    let slow =
        |latencies: &ringpoll::load::Latencies| latencies.count_between(half, latencies.high());
    // 100 were due in the stall, half of them in its first half.
    let (corrected, uncorrected) = (slow(&outcome.corrected), slow(&outcome.uncorrected));
    assert!(corrected >= 45, "{corrected} waited for half of the stall or longer");
    // The two that were under way; others are the machine's, and count for many as well.
    assert!(uncorrected * 5 < corrected, "{uncorrected} against {corrected}");
    assert!(slow(&outcome.lateness) >= 40);
}

#[test]
fn all_that_was_due_is_begun_or_counted() {
    // Too slow by far: 20 a second where 500 are due.
    let peer = Peer::start(|_, stream| {
        std::thread::sleep(Duration::from_millis(50));
        answer(stream);
    });
    let timeout = Duration::from_millis(500);
    let plan = Plan { timeout, ..open_plan(peer.address, 500) };
    let outcome = outcome(&plan);
    let failures = &outcome.failures;
    assert!(failures.of(FailureKind::NeverBegun) > 0, "{failures:?}");
    assert_eq!(outcome.begun + failures.never_begun(), 500);
    assert_eq!(outcome.completed + failures.total(), 500, "{failures:?}");
    // Nobody was begun later than it would have been waited for.
    assert!(outcome.lateness.max() <= timeout.as_nanos() as u64 * 1001 / 1000);
}

#[test]
fn the_time_says_how_many_are_due() {
    let peer = Peer::start(|_, stream| answer(stream));
    let duration = Some(Duration::from_millis(400));
    let plan = Plan { requests: None, duration, ..open_plan(peer.address, 1) };
    let outcome = outcome(&plan);
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!(outcome.completed, 200);
    assert!(outcome.duration >= Duration::from_millis(400));
}

#[test]
fn threads_share_the_rate() {
    let peer = Peer::start(|_, stream| answer(stream));
    let outcome = outcome(&Plan { threads: 2, ..open_plan(peer.address, 101) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.corrected.len()), (101, 101));
    assert!(outcome.duration >= Duration::from_millis(200));
}
