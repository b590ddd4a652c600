use super::*;

const ALL: Share = Share { index: 0, count: 1 };
const SECOND_NS: u64 = 1_000_000_000;

fn bounds(requests: Option<u64>, duration_ns: Option<u64>) -> Bounds {
    Bounds { requests, duration_ns, max_delay_ns: SECOND_NS }
}

fn rate(requests_per_second: f64) -> Pace {
    Pace::OpenLoop(Rate::per_second(requests_per_second).unwrap())
}

/// Returns all due times, with a connection always free.
fn due_times(schedule: &mut Schedule) -> Vec<u64> {
    let (mut now, mut due) = (0, Vec::new());
    loop {
        match schedule.next_action(now, 0, 1) {
            Action::Start { due_ns } => due.push(due_ns),
            Action::WaitUntil(at) => now = at,
            Action::Finished => return due,
            other => panic!("{other:?} although a connection is free"),
        }
    }
}

#[test]
fn open_loop_due_times_do_not_drift() {
    let mut schedule = Schedule::new(rate(15_000.0), None, bounds(Some(150_001), None), ALL);
    let due = due_times(&mut schedule);
    assert_eq!(&due[..4], [0, 66_666, 133_333, 200_000]);
    assert_eq!(due[150_000], 10 * SECOND_NS);
    assert!(due.windows(2).all(|pair| (66_666..=66_667).contains(&(pair[1] - pair[0]))));
}

#[test]
fn duration_bounds_requests_due() {
    let one_second = bounds(None, Some(SECOND_NS));
    let due = due_times(&mut Schedule::new(rate(4.0), None, one_second, ALL));
    assert_eq!(due, [0, 250_000_000, 500_000_000, 750_000_000]);
    let due = due_times(&mut Schedule::new(rate(0.5), None, one_second, ALL));
    assert_eq!(due, [0]);
}

#[test]
fn delayed_request_keeps_its_due_time() {
    let mut schedule = Schedule::new(rate(10.0), None, bounds(None, Some(SECOND_NS)), ALL);
    assert_eq!(schedule.next_action(0, 0, 1), Action::Start { due_ns: 0 });
    // The only connection is busy for 400 ms.
    assert_eq!(schedule.next_action(100_000_000, 1, 0), Action::WaitForConnection);
    assert_eq!(schedule.next_action(400_000_000, 0, 1), Action::Start { due_ns: 100_000_000 });
    assert_eq!(schedule.next_action(400_000_000, 1, 1), Action::Start { due_ns: 200_000_000 });
    // Also after the end of the phase.
    for due_ns in (3..10).map(|nth| nth * 100_000_000) {
        assert_eq!(schedule.next_action(SECOND_NS + 1, 0, 1), Action::Start { due_ns });
    }
    assert_eq!(schedule.next_action(SECOND_NS + 1, 0, 1), Action::Finished);
}

#[test]
fn request_delayed_beyond_maximum_is_not_started() {
    let mut schedule = Schedule::new(rate(10.0), None, bounds(Some(3), None), ALL);
    assert_eq!(schedule.next_action(SECOND_NS, 1, 0), Action::WaitForConnection);
    assert_eq!(schedule.next_action(SECOND_NS + 1, 1, 0), Action::DropLate);
    assert_eq!(schedule.next_action(SECOND_NS + 1, 0, 1), Action::Start { due_ns: 100_000_000 });
    assert_eq!(schedule.next_action(3 * SECOND_NS, 0, 1), Action::DropLate);
    assert_eq!(schedule.next_action(3 * SECOND_NS, 0, 1), Action::Finished);
}

#[test]
fn threads_share_due_times_without_gap_or_overlap() {
    let limits = bounds(Some(1001), None);
    let whole = due_times(&mut Schedule::new(rate(999.0), None, limits, ALL));
    let mut shared: Vec<_> = (0..3)
        .flat_map(|index| {
            due_times(&mut Schedule::new(rate(999.0), None, limits, Share { index, count: 3 }))
        })
        .collect();
    shared.sort_unstable();
    assert_eq!(shared, whole);
    let shares: Vec<_> = (0..3).map(|index| Share { index, count: 3 }.split(1001)).collect();
    assert_eq!(shares, [334, 334, 333]);
}

#[test]
fn open_loop_burst_is_due_at_one_time() {
    let burst = Some(Burst { connections: 3, pause: Duration::ZERO });
    let mut schedule = Schedule::new(rate(30.0), burst, bounds(Some(7), None), ALL);
    let tenth = SECOND_NS / 10;
    assert_eq!(due_times(&mut schedule), [0, 0, 0, tenth, tenth, tenth, 2 * tenth]);
}

#[test]
fn closed_loop_starts_when_a_connection_is_free() {
    let limits = bounds(Some(3), Some(SECOND_NS));
    let mut schedule = Schedule::new(Pace::ClosedLoop, None, limits, ALL);
    assert_eq!(schedule.next_action(5, 0, 2), Action::Start { due_ns: 5 });
    assert_eq!(schedule.next_action(6, 1, 1), Action::Start { due_ns: 6 });
    assert_eq!(schedule.next_action(7, 2, 0), Action::WaitForConnection);
    assert_eq!(schedule.next_action(8, 1, 1), Action::Start { due_ns: 8 });
    assert_eq!(schedule.next_action(9, 0, 2), Action::Finished);

    let mut schedule = Schedule::new(Pace::ClosedLoop, None, limits, ALL);
    assert_eq!(schedule.next_action(SECOND_NS, 0, 2), Action::Finished);
}

#[test]
fn closed_loop_burst_waits_for_responses_and_pause() {
    let burst = Some(Burst { connections: 2, pause: Duration::from_nanos(100) });
    let mut schedule = Schedule::new(Pace::ClosedLoop, burst, bounds(Some(3), None), ALL);
    assert_eq!(schedule.next_action(0, 0, 9), Action::Start { due_ns: 0 });
    assert_eq!(schedule.next_action(0, 1, 8), Action::Start { due_ns: 0 });
    assert_eq!(schedule.next_action(0, 2, 7), Action::WaitForConnection);
    assert_eq!(schedule.next_action(40, 1, 8), Action::WaitForConnection);
    assert_eq!(schedule.next_action(50, 0, 9), Action::WaitUntil(150));
    assert_eq!(schedule.next_action(149, 0, 9), Action::WaitUntil(150));
    assert_eq!(schedule.next_action(151, 0, 9), Action::Start { due_ns: 151 });
    assert_eq!(schedule.next_action(151, 1, 8), Action::Finished);
}

#[test]
fn planned_end_follows_from_rate_or_duration() {
    let end = |pace, limits| Schedule::new(pace, None, limits, ALL).planned_end_ns();
    assert_eq!(end(rate(10.0), bounds(Some(5), Some(SECOND_NS))), Some(SECOND_NS / 2));
    assert_eq!(end(rate(10.0), bounds(None, Some(SECOND_NS))), Some(SECOND_NS));
    assert_eq!(end(Pace::ClosedLoop, bounds(Some(5), Some(7))), Some(7));
    assert_eq!(end(Pace::ClosedLoop, bounds(Some(5), None)), None);
    // The number of requests is reached before the duration.
    let limits = bounds(Some(1), Some(7));
    let mut schedule = Schedule::new(Pace::ClosedLoop, None, limits, ALL);
    assert_eq!(schedule.next_action(0, 0, 1), Action::Start { due_ns: 0 });
    assert_eq!(schedule.planned_end_ns(), None);
}

#[test]
fn invalid_rate_is_refused() {
    for requests in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e7] {
        assert!(Rate::per_second(requests).is_err(), "{requests}");
    }
    assert_eq!(Rate::per_second(0.001).unwrap().to_string(), "0.001");
}
