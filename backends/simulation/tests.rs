//! Thousands of seeded histories on each engine. A failure prints the seed and the length of the
//! shortest history that fails; both replay through the environment:
//! `RINGPOLL_HISTORY=epoll:edge,SEED,LENGTH cargo test -p ringpoll-backends --lib histories`.

use std::cell::Cell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::{Met, bytes_of_seed, run_history, tell_histories};
use crate::backend::Variant;
use crate::io_uring::faults::take_accounts;

/// How many histories there are of each length, on each engine.
const SEEDS: u64 = 1500;

/// How many bytes decide a history; the longer, the later chance is over.
const LENGTHS: [usize; 3] = [60, 300, 1500];

thread_local! {
    /// Whether this thread's panics are looked at here, and not printed.
    static IS_TRYING: Cell<bool> = const { Cell::new(false) };
}

/// Histories that fail are run again and again; only the last word of it is of use.
fn keep_quiet_while_trying() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_TRYING.get() {
                usual(info);
            }
        }));
    });
}

/// What went wrong, if anything did.
fn failure(variant: Variant, bytes: &[u8]) -> Result<Met, String> {
    keep_quiet_while_trying();
    IS_TRYING.set(true);
    // What one that failed has left is not this one's.
    take_accounts();
    let run = AssertUnwindSafe(|| {
        let met = run_history(variant, bytes);
        assert_eq!(take_accounts().buffers_left, 0, "buffers left with the kernel");
        met
    });
    let result = panic::catch_unwind(run);
    IS_TRYING.set(false);
    result.map_err(|cause| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|&text| text.to_owned()))
            .unwrap_or_else(|| "a panic without words".to_owned())
    })
}

/// The shortest history of that seed that fails so: after its last byte nothing is left to chance.
fn shortest_failure(variant: Variant, bytes: &[u8], so: &str) -> usize {
    let fails_so = |length: usize| failure(variant, &bytes[..length]).is_err_and(|it| it == so);
    (0..bytes.len()).find(|&length| fails_so(length)).unwrap_or(bytes.len())
}

fn run_histories(variant: Variant) -> Met {
    let mut met = Met::default();
    for length in LENGTHS {
        for seed in 0..SEEDS {
            let bytes = bytes_of_seed(seed, length);
            match failure(variant, &bytes) {
                Ok(more) => met += more,
                Err(cause) => {
                    let length = shortest_failure(variant, &bytes, &cause);
                    panic!("{cause}; replay with RINGPOLL_HISTORY={variant},{seed},{length}");
                }
            }
        }
    }
    println!("{variant}: {met:?}");
    met
}

/// Each kind of thing must have been met often enough for the histories to mean something.
fn check(variant: Variant) {
    let met = run_histories(variant);
    for (index, &mut count) in met.clone().fields().into_iter().enumerate() {
        // Only epoll has stale events; on io_uring they would be a bug.
        let is_stale_of_io_uring = index == 7 && variant.is_io_uring();
        assert_eq!(count < 300, is_stale_of_io_uring, "{met:?}");
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

/// The history that the environment names; see the top of this file.
#[test]
fn a_history_is_replayed() {
    let Ok(history) = env::var("RINGPOLL_HISTORY") else {
        assert_eq!(bytes_of_seed(7, 10), bytes_of_seed(7, 20)[..10], "a prefix is a prefix");
        return;
    };
    let parts: Vec<_> = history.split(',').collect();
    let [variant, seed, length] = parts[..] else { panic!("ENGINE,SEED,LENGTH is what it takes") };
    let bytes = bytes_of_seed(seed.parse().unwrap(), length.parse().unwrap());
    tell_histories();
    println!("{:?}", run_history(variant.parse().unwrap(), &bytes));
}
