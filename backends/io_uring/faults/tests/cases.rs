//! Which operations fail, where and how; and the running of many cases side by side.

use std::env;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::thread;

use super::load::{self, Case, Totals};
use crate::backend::{Closing, EngineOptions, ShutdownBy, Variant};
use crate::error::ErrorKind;
use crate::io_uring::Techniques;
use crate::io_uring::faults::plan::{Effect, Fault, Plan};
use crate::io_uring::ring::Ring;
use crate::own_process;
use crate::token::Operation;

/// What the manual pages name for these operations and for what they rest on, and some that they
/// do not: a kernel may say anything.
pub(super) const ERRNOS: [i32; 19] = [
    libc::EPERM,
    libc::EINTR,
    libc::EIO,
    libc::EBADF,
    libc::EAGAIN,
    libc::ENOMEM,
    libc::EFAULT,
    libc::EINVAL,
    libc::ENFILE,
    libc::EMFILE,
    libc::EPIPE,
    libc::EPROTO,
    libc::ENETDOWN,
    libc::ECONNABORTED,
    libc::ECONNRESET,
    libc::ENOBUFS,
    libc::ENOTCONN,
    libc::ETIMEDOUT,
    libc::ECANCELED,
];

/// Faults fall on each of these asks in turn; the load asks each operation more often than that.
pub(super) const PLACES: RangeInclusive<u32> = 1..=20;

/// How many cases run side by side: most of their time they wait for the tick.
const SIDE_BY_SIDE: usize = 16;

/// Whether the test of that name is to run, and to run here.
pub(super) fn begins(name: &str) -> bool {
    !is_refused(name) && own_process::is_inside(name)
}

/// Whether the kernel refuses io_uring. Then the test of that name is skipped, and has said so.
///
/// # Panics
/// Under `CI=true`: there a test that is skipped has failed.
pub(crate) fn is_refused(test: &str) -> bool {
    let refusal = match Ring::new(&EngineOptions::default()) {
        Err(error) if error.kind == ErrorKind::BackendRefused => error,
        _ => return false,
    };
    assert_ne!(env::var("CI").as_deref(), Ok("true"), "{test}: {refusal}");
    println!("skipped: {test}: {refusal}");
    true
}

/// Runs all cases on both engines, and says what they did.
pub(super) fn run_all(title: &str, cases: impl IntoIterator<Item = Case>) -> Totals {
    run_as_they_are(title, cases.into_iter().flat_map(on_both_engines))
}

/// The same on the engine that each names.
pub(super) fn run_as_they_are(title: &str, cases: impl IntoIterator<Item = Case>) -> Totals {
    let before = load::descriptors();
    let queue = Mutex::new(cases.into_iter().collect::<Vec<_>>().into_iter());
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { return };
                    let done = load::run(&case);
                    totals.lock().unwrap().add(&done);
                }
            });
        }
    });
    assert_eq!(load::descriptors(), before, "{title}: descriptors left open");
    let totals = totals.into_inner().unwrap();
    println!("{title}: {totals:?}");
    totals
}

/// The same for `io_uring:tuned`, asking for one step at a time: there each fault finds its place.
fn on_both_engines(case: Case) -> [Case; 2] {
    let mut tuned = case.clone();
    tuned.variant = Variant::IoUringTuned;
    tuned.name = format!("tuned, {}", case.name);
    tuned.options.shutdown = ShutdownBy::Ring;
    tuned.options.techniques = Techniques { deferred_task_run: true, ..Techniques::NONE };
    [case, tuned]
}

/// `io_uring:tuned` with the send, the shutdown and the close in a chain.
pub(super) fn in_a_chain(case: Case) -> Case {
    let mut chained = on_both_engines(case)[1].clone();
    chained.options.techniques.linked_close = true;
    chained.options.techniques.skip_success = true;
    chained
}

/// `io_uring:tuned` with provided buffers for all; with keep-alive, one RECV for all that comes.
pub(super) fn sharing_buffers(buffers: u16, keep_alive: bool, case: &Case) -> Case {
    let mut shared = on_both_engines(case.clone())[1].clone();
    shared.name = format!("{buffers} buffers, keep-alive {keep_alive}, {}", shared.name);
    shared.options.techniques.provided_buffers = buffers;
    shared.options.techniques.multishot_receive = keep_alive;
    shared.keep_alive = keep_alive;
    shared
}

/// `io_uring:tuned` that sends every answer from where it stands.
pub(super) fn without_a_copy(case: Case) -> Case {
    let mut sends = on_both_engines(case)[1].clone();
    sends.options.techniques.zero_copy_send_bytes = 1;
    sends
}

/// The asks of an operation that can be met by a fault.
fn places(operation: Operation) -> Vec<RangeInclusive<u32>> {
    match operation {
        // The worker's own are asked once, and again only when they have failed.
        Operation::Stop | Operation::Tick => PLACES.map(|n| 1..=n).collect(),
        // At the end: of the ACCEPT, of the watch, of the tick.
        Operation::Cancel => (1..=3).map(|n| n..=n).collect(),
        _ => PLACES.map(|n| n..=n).collect(),
    }
}

pub(super) fn fault(operation: Operation, which: RangeInclusive<u32>, effect: Effect) -> Case {
    let name = format!("{operation:?} {which:?} {effect:?}");
    let plan = Plan { faults: vec![Fault { operation, which, effect }], ..Plan::default() };
    let may_fail = match (operation, effect) {
        // What only asks for patience is asked again.
        (_, Effect::Refused(libc::EAGAIN | libc::EINTR)) => 0,
        (Operation::Recv | Operation::Send, Effect::Refused(_) | Effect::Lost(_)) => 1,
        (Operation::Accept, Effect::Lost(_)) => 1,
        _ => 0,
    };
    Case { may_fail, ..Case::new(name, plan) }
}

pub(super) fn faults(operation: Operation, effect: Effect) -> impl Iterator<Item = Case> {
    places(operation).into_iter().map(move |which| fault(operation, which, effect))
}

pub(super) fn lingering(case: Case) -> Case {
    Case { closing: Closing::Lingering { bytes: 1 << 16 }, ..case }
}

/// One thing that goes wrong, by the chance of four bytes.
pub(super) fn by_chance(chance: &[u8]) -> Case {
    let &[operation, place, effect, how] = chance else { panic!("four bytes are what it takes") };
    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Send,
        Operation::Shutdown,
        Operation::Close,
    ];
    let operation = operations[usize::from(operation) % operations.len()];
    let effect = match (effect % 4, ERRNOS[usize::from(how) % ERRNOS.len()]) {
        (0, errno) if operation != Operation::Close => Effect::Refused(errno),
        (1, errno) if ![libc::EAGAIN, libc::EINTR].contains(&errno) => Effect::Lost(errno),
        (2, _) => Effect::Short(u32::from(how % 8) + 1),
        _ => Effect::Delayed(u32::from(how % 8) + 1),
    };
    let place = u32::from(place) % PLACES.end() + 1;
    fault(operation, place..=place, effect)
}
