//! The faults to inject, and a runner that runs many cases concurrently.

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::thread;

use ringpoll_backends::testing::Operation;
use ringpoll_backends::{Closing, ShutdownBy, Techniques, Variant};

use crate::load::{self, Case, Totals};
use crate::plan::{Effect, Fault, Plan};
use common::ServedProtocol;

/// Errnos that the man pages list for these operations and the system calls of the same name, and
/// some that they do not list.
pub(crate) const ERRNOS: [i32; 19] = [
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

/// Faults are injected in each of these submissions in turn. The load submits each operation more
/// often than that.
pub(crate) const PLACES: RangeInclusive<u32> = 1..=20;

/// Returns the places of this run: all in the full form, otherwise the first ones, where a
/// connection begins, and some of the later ones, where connections are in different states.
pub(crate) fn sampled_places() -> impl Iterator<Item = u32> {
    PLACES.filter(|place| common::is_full() || [1, 2, 5, 12, 20].contains(place))
}

/// Cases mostly wait for the tick, so that many can run at once.
const CONCURRENT_CASES: usize = 32;

/// Returns true if the test runs in this process: it has one of its own.
pub(crate) fn should_run(name: &str) -> bool {
    common::io_uring_is_available(name) && common::is_own_process(name)
}

/// Runs all cases on both engines and prints the totals.
pub(crate) fn run_on_both_engines(title: &str, cases: impl IntoIterator<Item = Case>) -> Totals {
    run_all(title, cases.into_iter().flat_map(on_both_engines))
}

/// Runs all cases, each on its own variant, and prints the totals.
pub(crate) fn run_all(title: &str, cases: impl IntoIterator<Item = Case>) -> Totals {
    let before = load::descriptors();
    let queue = Mutex::new(cases.into_iter().collect::<Vec<_>>().into_iter());
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        for _ in 0..CONCURRENT_CASES {
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

/// Adds the case for `io_uring:tuned` with one operation in flight at a time, so that the places of
/// the faults are the same.
fn on_both_engines(case: Case) -> [Case; 2] {
    let mut tuned = case.clone();
    tuned.variant = Variant::IoUringTuned;
    tuned.name = format!("tuned, {}", case.name);
    tuned.options.shutdown = ShutdownBy::Ring;
    tuned.options.techniques = Techniques { defer_taskrun: true, ..Techniques::NONE };
    [case, tuned]
}

/// Runs the case on `io_uring:tuned` with a multishot ACCEPT.
pub(crate) fn with_multishot_accept(case: Case) -> Case {
    let [_, mut multishot] = on_both_engines(case);
    multishot.options.techniques.multishot_accept = true;
    multishot
}

/// Runs the case on `io_uring:tuned` with provided buffers; with keep-alive, also with multishot
/// receives.
pub(crate) fn with_provided_buffers(buffers: u16, keep_alive: bool, case: &Case) -> Case {
    let mut shared = on_both_engines(case.clone())[1].clone();
    shared.name = format!("{buffers} buffers, keep-alive {keep_alive}, {}", shared.name);
    shared.options.techniques.provided_buffers = buffers;
    shared.options.techniques.multishot_receive = keep_alive;
    if keep_alive {
        shared.protocol = ServedProtocol::Http11;
    }
    shared
}

/// Runs the case on `io_uring:tuned` with zero-copy sends.
pub(crate) fn with_send_zc(case: Case) -> Case {
    let mut sends = on_both_engines(case)[1].clone();
    sends.options.techniques.send_zc_min_bytes = 1;
    sends
}

/// Runs the case on `io_uring:tuned` with busy polling.
pub(crate) fn with_busy_polling(case: Case) -> Case {
    let [_, mut polls] = on_both_engines(case);
    polls.options.busy_poll_us = 20;
    polls
}

/// Returns the submissions of an operation that a fault can be injected in.
fn places(operation: Operation) -> Vec<RangeInclusive<u32>> {
    match operation {
        // These are submitted once, and again only after a failure.
        Operation::Stop | Operation::Tick => sampled_places().map(|n| 1..=n).collect(),
        // The teardown cancels the accept, the stop and the tick.
        Operation::Cancel => (1..=3).map(|n| n..=n).collect(),
        _ => sampled_places().map(|n| n..=n).collect(),
    }
}

pub(crate) fn fault(operation: Operation, which: RangeInclusive<u32>, effect: Effect) -> Case {
    let name = format!("{operation:?} {which:?} {effect:?}");
    let plan = Plan { faults: vec![Fault { operation, which, effect }], ..Plan::default() };
    let may_fail = match (operation, effect) {
        // The server retries these.
        (_, Effect::Refused(libc::EAGAIN | libc::EINTR)) => 0,
        (Operation::Recv | Operation::Send, Effect::Refused(_) | Effect::Lost(_)) => 1,
        (Operation::Accept, Effect::Lost(_)) => 1,
        _ => 0,
    };
    Case { may_fail, ..Case::new(name, plan) }
}

pub(crate) fn faults(operation: Operation, effect: Effect) -> impl Iterator<Item = Case> {
    places(operation).into_iter().map(move |which| fault(operation, which, effect))
}

pub(crate) fn with_lingering_close(case: Case) -> Case {
    Case { closing: Closing::Lingering { bytes: 1 << 16 }, ..case }
}

/// The protocols without messages, and the operations that every connection submits. Only HTTP
/// always submits SHUTDOWN: a stream that the peer has ended is closed at once.
pub(crate) const STREAMS: [(ServedProtocol, &[Operation]); 3] = [
    (
        ServedProtocol::Echo,
        &[Operation::Accept, Operation::Recv, Operation::Send, Operation::Close],
    ),
    (ServedProtocol::Discard, &[Operation::Accept, Operation::Recv, Operation::Close]),
    (ServedProtocol::Chargen, &[Operation::Accept, Operation::Send, Operation::Close]),
];

pub(crate) fn with_protocol(protocol: ServedProtocol, case: Case) -> Case {
    Case { name: format!("{protocol:?}, {}", case.name), protocol, ..case }
}

/// Returns the cases of each operation of a stream that is refused, lost, short or delayed, and
/// those of an operation that is always short or delayed. The full form has each place, the default
/// form one of the places for each effect, in turn.
pub(crate) fn stream_cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut places = PLACES.step_by(3).cycle();
    for (protocol, operations) in STREAMS {
        for &operation in operations {
            for effect in stream_effects(operation) {
                let place = places.next().expect("they do not end");
                let places = if common::is_full() { PLACES } else { place..=place };
                // An endless stream in short pieces takes too long.
                let is_quick = match effect {
                    Effect::Short(_) => !protocol.is_endless(),
                    Effect::Delayed(_) => true,
                    _ => false,
                };
                let always = is_quick.then_some(1..=u32::MAX);
                let submissions = places.map(|it| it..=it).chain(always);
                let faults = submissions.map(|which| fault(operation, which, effect));
                cases.extend(faults.map(|case| with_protocol(protocol, case)));
            }
        }
    }
    cases
}

fn stream_effects(operation: Operation) -> Vec<Effect> {
    let mut effects = vec![Effect::Delayed(1), Effect::Delayed(5)];
    if operation != Operation::Close {
        // CLOSE closes the descriptor even if it fails.
        effects.extend(ERRNOS.map(Effect::Refused));
    }
    // The server retries after these two, since they mean that nothing was done.
    let errnos = ERRNOS.into_iter().filter(|errno| ![libc::EAGAIN, libc::EINTR].contains(errno));
    effects.extend(errnos.map(Effect::Lost));
    if [Operation::Recv, Operation::Send].contains(&operation) {
        effects.extend([1, 7].map(Effect::Short));
    }
    effects
}

/// Runs the case of a stream with multishot receives, so that sends are in flight with receives.
/// Returns `None` for a fault that has no meaning there.
pub(crate) fn with_multishot_receive(case: &Case) -> Option<Case> {
    let fault = &case.plan.faults[0];
    let is_recv = fault.operation == Operation::Recv;
    match fault.effect {
        // The buffers are chosen by the kernel, so that the submission has no length.
        Effect::Short(_) if is_recv => return None,
        // The server retries after it, since it means that nothing was received.
        Effect::Lost(libc::ENOBUFS) if is_recv => return None,
        _ => {}
    }
    let shared = with_provided_buffers(64, false, case);
    let mut multishot = Case { name: format!("multishot receives, {}", shared.name), ..shared };
    multishot.options.techniques.multishot_receive = true;
    Some(multishot)
}

/// Chooses a fault by four random bytes.
pub(crate) fn from_seed_bytes(bytes: &[u8]) -> Case {
    let &[operation, place, effect, how] = bytes else { panic!("four bytes are needed") };
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
