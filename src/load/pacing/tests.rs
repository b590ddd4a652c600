use super::*;

const ALL: Share = Share { nth: 0, of: 1 };
const SECOND_NS: u64 = 1_000_000_000;

fn bounds(requests: Option<u64>, length_ns: Option<u64>) -> Bounds {
    Bounds { requests, length_ns, patience_ns: SECOND_NS }
}

fn rate(requests_per_second: f64) -> Pace {
    Pace::Rate(Rate::per_second(requests_per_second).unwrap())
}

/// When everything is due, where everything is answered at once.
fn due_times(schedule: &mut Schedule) -> Vec<u64> {
    let (mut now, mut due) = (0, Vec::new());
    loop {
        match schedule.turn(now, 0, 1) {
            Turn::Begin { due_ns } => due.push(due_ns),
            Turn::At(at) => now = at,
            Turn::Over => return due,
            other => panic!("{other:?} where a connection is always free"),
        }
    }
}

#[test]
fn the_open_loop_is_exact_to_the_nanosecond_and_does_not_drift() {
    let mut schedule = Schedule::new(rate(15_000.0), None, bounds(Some(150_001), None), ALL);
    let due = due_times(&mut schedule);
    assert_eq!(&due[..4], [0, 66_666, 133_333, 200_000]);
    assert_eq!(due[150_000], 10 * SECOND_NS);
    assert!(due.windows(2).all(|pair| (66_666..=66_667).contains(&(pair[1] - pair[0]))));
}

#[test]
fn the_length_says_which_requests_are_due() {
    let one_second = bounds(None, Some(SECOND_NS));
    let due = due_times(&mut Schedule::new(rate(4.0), None, one_second, ALL));
    assert_eq!(due, [0, 250_000_000, 500_000_000, 750_000_000]);
    let due = due_times(&mut Schedule::new(rate(0.5), None, one_second, ALL));
    assert_eq!(due, [0]);
}

#[test]
fn what_is_late_is_still_owed_and_counts_from_when_it_was_due() {
    let mut schedule = Schedule::new(rate(10.0), None, bounds(None, Some(SECOND_NS)), ALL);
    assert_eq!(schedule.turn(0, 0, 1), Turn::Begin { due_ns: 0 });
    // The only connection is busy for 400 ms.
    assert_eq!(schedule.turn(100_000_000, 1, 0), Turn::WhenFree);
    assert_eq!(schedule.turn(400_000_000, 0, 1), Turn::Begin { due_ns: 100_000_000 });
    assert_eq!(schedule.turn(400_000_000, 1, 1), Turn::Begin { due_ns: 200_000_000 });
    // Even after the end of the phase.
    for due_ns in (3..10).map(|nth| nth * 100_000_000) {
        assert_eq!(schedule.turn(SECOND_NS + 1, 0, 1), Turn::Begin { due_ns });
    }
    assert_eq!(schedule.turn(SECOND_NS + 1, 0, 1), Turn::Over);
}

#[test]
fn what_is_too_late_is_missed_and_never_begun() {
    let mut schedule = Schedule::new(rate(10.0), None, bounds(Some(3), None), ALL);
    assert_eq!(schedule.turn(SECOND_NS, 1, 0), Turn::WhenFree);
    assert_eq!(schedule.turn(SECOND_NS + 1, 1, 0), Turn::Missed);
    assert_eq!(schedule.turn(SECOND_NS + 1, 0, 1), Turn::Begin { due_ns: 100_000_000 });
    assert_eq!(schedule.turn(3 * SECOND_NS, 0, 1), Turn::Missed);
    assert_eq!(schedule.turn(3 * SECOND_NS, 0, 1), Turn::Over);
}

#[test]
fn threads_share_the_same_times_without_gap_or_overlap() {
    let limits = bounds(Some(1001), None);
    let whole = due_times(&mut Schedule::new(rate(999.0), None, limits, ALL));
    let mut shared: Vec<_> = (0..3)
        .flat_map(|nth| {
            due_times(&mut Schedule::new(rate(999.0), None, limits, Share { nth, of: 3 }))
        })
        .collect();
    shared.sort_unstable();
    assert_eq!(shared, whole);
    let shares: Vec<_> = (0..3).map(|nth| Share { nth, of: 3 }.split(1001)).collect();
    assert_eq!(shares, [334, 334, 333]);
}

#[test]
fn bursts_of_the_open_loop_are_due_together() {
    let burst = Some(Burst { connections: 3, pause: Duration::ZERO });
    let mut schedule = Schedule::new(rate(30.0), burst, bounds(Some(7), None), ALL);
    let tenth = SECOND_NS / 10;
    assert_eq!(due_times(&mut schedule), [0, 0, 0, tenth, tenth, tenth, 2 * tenth]);
}

#[test]
fn the_closed_loop_begins_whenever_a_connection_is_free() {
    let limits = bounds(Some(3), Some(SECOND_NS));
    let mut schedule = Schedule::new(Pace::AsFastAsAnswered, None, limits, ALL);
    assert_eq!(schedule.turn(5, 0, 2), Turn::Begin { due_ns: 5 });
    assert_eq!(schedule.turn(6, 1, 1), Turn::Begin { due_ns: 6 });
    assert_eq!(schedule.turn(7, 2, 0), Turn::WhenFree);
    assert_eq!(schedule.turn(8, 1, 1), Turn::Begin { due_ns: 8 });
    assert_eq!(schedule.turn(9, 0, 2), Turn::Over);

    let mut schedule = Schedule::new(Pace::AsFastAsAnswered, None, limits, ALL);
    assert_eq!(schedule.turn(SECOND_NS, 0, 2), Turn::Over);
}

#[test]
fn the_closed_loop_waits_for_a_whole_burst_and_then_the_pause() {
    let burst = Some(Burst { connections: 2, pause: Duration::from_nanos(100) });
    let mut schedule = Schedule::new(Pace::AsFastAsAnswered, burst, bounds(Some(3), None), ALL);
    assert_eq!(schedule.turn(0, 0, 9), Turn::Begin { due_ns: 0 });
    assert_eq!(schedule.turn(0, 1, 8), Turn::Begin { due_ns: 0 });
    assert_eq!(schedule.turn(0, 2, 7), Turn::WhenFree);
    assert_eq!(schedule.turn(40, 1, 8), Turn::WhenFree);
    assert_eq!(schedule.turn(50, 0, 9), Turn::At(150));
    assert_eq!(schedule.turn(149, 0, 9), Turn::At(150));
    assert_eq!(schedule.turn(151, 0, 9), Turn::Begin { due_ns: 151 });
    assert_eq!(schedule.turn(151, 1, 8), Turn::Over);
}

#[test]
fn the_planned_end_is_known_where_the_plan_says_it() {
    let end = |pace, limits| Schedule::new(pace, None, limits, ALL).planned_end_ns();
    assert_eq!(end(rate(10.0), bounds(Some(5), Some(SECOND_NS))), Some(SECOND_NS / 2));
    assert_eq!(end(rate(10.0), bounds(None, Some(SECOND_NS))), Some(SECOND_NS));
    assert_eq!(end(Pace::AsFastAsAnswered, bounds(Some(5), Some(7))), Some(7));
    assert_eq!(end(Pace::AsFastAsAnswered, bounds(Some(5), None)), None);
    // The last request was begun before the time was over.
    let limits = bounds(Some(1), Some(7));
    let mut schedule = Schedule::new(Pace::AsFastAsAnswered, None, limits, ALL);
    assert_eq!(schedule.turn(0, 0, 1), Turn::Begin { due_ns: 0 });
    assert_eq!(schedule.planned_end_ns(), None);
}

#[test]
fn a_rate_without_sense_is_refused() {
    for requests in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e7] {
        assert!(Rate::per_second(requests).is_err(), "{requests}");
    }
    assert_eq!(Rate::per_second(0.001).unwrap().to_string(), "0.001");
}
