//! Seeded histories on each engine. A failure prints the seed and the length of the shortest
//! history that fails with the same message. To replay it:
//!
//!     RINGPOLL_HISTORY=epoll:edge,SEED,LENGTH cargo test -p ringpoll-simulation history_from

use std::cell::Cell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use ringpoll_backends::Variant;
use simulation::{Coverage, bytes_of_seed, run_history, trace_histories};

/// Number of histories of each length on each engine, in the full form and by default.
const SEEDS: [u64; 2] = [1500, 300];

/// Least number of situations of each kind that they must cover.
const MIN_COVERAGE: [u64; 2] = [300, 60];

fn of_form(counts: [u64; 2]) -> u64 {
    counts[usize::from(!common::is_full())]
}

/// Lengths of histories, in bytes.
const LENGTHS: [usize; 3] = [60, 300, 1500];

thread_local! {
    /// Set while this thread's panics are caught here and not printed.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Shrinking runs a failing history many times; only the last panic is printed.
fn install_quiet_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_QUIET.get() {
                usual(info);
            }
        }));
    });
}

/// Runs a history, and returns the message of its panic, if any.
fn failure(variant: Variant, bytes: &[u8]) -> Result<Coverage, String> {
    install_quiet_panic_hook();
    IS_QUIET.set(true);
    let result = panic::catch_unwind(AssertUnwindSafe(|| run_history(variant, bytes)));
    IS_QUIET.set(false);
    result.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "a panic without a message".to_owned())
    })
}

/// Returns the length of the shortest prefix that fails with the same message.
fn shortest_failure(variant: Variant, bytes: &[u8], message: &str) -> usize {
    let fails_alike =
        |length: usize| failure(variant, &bytes[..length]).is_err_and(|it| it == message);
    (0..bytes.len()).find(|&length| fails_alike(length)).unwrap_or(bytes.len())
}

fn run_histories(variant: Variant) -> Coverage {
    let mut coverage = Coverage::default();
    for length in LENGTHS {
        for seed in 0..of_form(SEEDS) {
            let bytes = bytes_of_seed(seed, length);
            match failure(variant, &bytes) {
                Ok(more) => coverage += more,
                Err(cause) => {
                    let length = shortest_failure(variant, &bytes, &cause);
                    panic!("{cause}; replay with RINGPOLL_HISTORY={variant},{seed},{length}");
                }
            }
        }
    }
    println!("{variant}: {coverage:?}");
    coverage
}

/// Returns true if histories of the engine have this kind of situation.
fn can_cover(variant: Variant, kind: &str) -> bool {
    match kind {
        "stale_events" => !variant.is_io_uring(),
        "busy_polls" => matches!(variant, Variant::EpollTuned | Variant::IoUringTuned),
        "short_submissions" => variant.is_io_uring(),
        "task_work" | "bundles" | "sq_wakeups" | "sq_polled" => variant == Variant::IoUringTuned,
        _ => true,
    }
}

/// Checks that the histories covered every kind of situation often enough.
fn check(variant: Variant) {
    let coverage = run_histories(variant);
    for (kind, count) in coverage.counts() {
        let min = of_form(MIN_COVERAGE);
        let expected = if can_cover(variant, kind) { min..=u64::MAX } else { 0..=0 };
        assert!(expected.contains(&count), "{kind}: {coverage:?}");
    }
}

#[test]
fn histories_of_epoll_level() {
    check(Variant::EpollLevel);
}

#[test]
fn histories_of_epoll_edge() {
    check(Variant::EpollEdge);
}

#[test]
fn histories_of_epoll_tuned() {
    check(Variant::EpollTuned);
}

#[test]
fn histories_of_io_uring_tuned() {
    check(Variant::IoUringTuned);
}

#[test]
fn histories_of_io_uring_single_shot() {
    check(Variant::IoUringSingleShot);
}

/// Replays the history in `RINGPOLL_HISTORY`, if set.
#[test]
fn history_from_environment_is_replayed() {
    let Ok(history) = env::var("RINGPOLL_HISTORY") else {
        assert_eq!(
            bytes_of_seed(7, 10),
            bytes_of_seed(7, 20)[..10],
            "a longer string starts with the shorter one"
        );
        return;
    };
    let parts: Vec<_> = history.split(',').collect();
    let [variant, seed, length] = parts[..] else {
        panic!("RINGPOLL_HISTORY must be ENGINE,SEED,LENGTH")
    };
    let bytes = bytes_of_seed(seed.parse().unwrap(), length.parse().unwrap());
    trace_histories();
    println!("{:?}", run_history(variant.parse().unwrap(), &bytes));
}
