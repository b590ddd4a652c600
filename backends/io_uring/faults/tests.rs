//! Every operation, failed in every way, at every place of a load of ordinary clients: the server
//! lives, only the connection concerned is lost, and at the end everything is given back.

mod cases;
mod load;

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ::io_uring::{IoUring, cqueue, opcode, types};

use super::Queues;
use super::plan::{Effect, Fault, Plan, set_plan, take_accounts};
use crate::backend::{EngineOptions, Variant};
use crate::deadlines::DeadlineLengths;
use crate::io_uring::drain::reap_to_zero;
use crate::io_uring::ring::Ring;
use crate::io_uring::techniques::Techniques;
use crate::simulation::bytes_of_seed;
use crate::token::{Operation, Token};
pub(crate) use cases::is_refused;
use cases::{
    ERRNOS, PLACES, begins, by_chance, fault, faults, in_a_chain, lingering, run_all,
    run_as_they_are, sharing_buffers, without_a_copy,
};
use load::{Case, Totals};

#[test]
fn every_operation_refused_with_every_errno_at_every_place() {
    let name = "io_uring::faults::tests::every_operation_refused_with_every_errno_at_every_place";
    if !begins(name) {
        return;
    }
    // Not CLOSE and CANCEL: the one ends the descriptor whatever it says, and the other is only
    // ever without effect when what it means has come to its end.
    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Send,
        Operation::Shutdown,
        Operation::Stop,
        Operation::Tick,
    ];
    let mut all = Totals::default();
    for operation in operations {
        let cases = ERRNOS.into_iter().flat_map(|errno| faults(operation, Effect::Refused(errno)));
        all.add(&run_all(&format!("{operation:?} refused"), cases));
    }
    println!("refused: {all:?}");
}

#[test]
fn every_operation_done_but_said_to_have_failed() {
    let name = "io_uring::faults::tests::every_operation_done_but_said_to_have_failed";
    if !begins(name) {
        return;
    }
    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Send,
        Operation::Shutdown,
        Operation::Close,
        Operation::Cancel,
    ];
    // These two say that nothing was done, and the server does it again.
    let errnos = ERRNOS.into_iter().filter(|errno| ![libc::EAGAIN, libc::EINTR].contains(errno));
    let mut all = Totals::default();
    for operation in operations {
        let cases = errnos.clone().flat_map(|errno| faults(operation, Effect::Lost(errno)));
        all.add(&run_all(&format!("{operation:?} lost"), cases));
    }
    println!("lost: {all:?}");
}

#[test]
fn several_things_go_wrong_at_once() {
    let name = "io_uring::faults::tests::several_things_go_wrong_at_once";
    if !begins(name) {
        return;
    }
    let cases = (0..400).map(|seed| {
        let mut all = Case::new(format!("several by seed {seed}"), Plan::default());
        all.plan.shuffled_by = Some(seed);
        for chance in bytes_of_seed(seed, 64).chunks_exact(4) {
            let one = by_chance(chance);
            all.plan.faults.extend(one.plan.faults);
            all.may_fail += one.may_fail;
        }
        all
    });
    run_all("several at once", cases);
}

/// An outage: accepting fails again and again. The queue stays, and waiting costs nothing.
#[test]
fn an_outage_of_accept_ends_and_everybody_is_served() {
    let name = "io_uring::faults::tests::an_outage_of_accept_ends_and_everybody_is_served";
    if !begins(name) {
        return;
    }
    let outages = ERRNOS.into_iter().filter(|errno| ![libc::EAGAIN, libc::EINTR].contains(errno));
    let cases = outages.flat_map(|errno| {
        [1..=4, 5..=7].map(|which| fault(Operation::Accept, which, Effect::Refused(errno)))
    });
    run_all("outages of accept", cases);
}

#[test]
fn what_is_short_late_or_out_of_order_is_answered_all_the_same() {
    let name =
        "io_uring::faults::tests::what_is_short_late_or_out_of_order_is_answered_all_the_same";
    if !begins(name) {
        return;
    }
    let short = [Operation::Recv, Operation::Send].into_iter().flat_map(|operation| {
        [1, 2, 7].into_iter().flat_map(move |bytes| {
            let always = fault(operation, 1..=u32::MAX, Effect::Short(bytes));
            faults(operation, Effect::Short(bytes)).chain([always])
        })
    });
    run_all("short", short);

    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Send,
        Operation::Shutdown,
        Operation::Close,
        Operation::Cancel,
    ];
    let late = operations.into_iter().flat_map(|operation| {
        [1, 2, 5, 100].into_iter().flat_map(move |takings| {
            let always = fault(operation, 1..=u32::MAX, Effect::Delayed(takings));
            faults(operation, Effect::Delayed(takings)).chain([always])
        })
    });
    run_all("late", late.map(lingering));

    let shuffled = (1..=200).map(|seed| {
        // Lateness is what makes batches worth shuffling.
        let late = |operation| Fault { operation, which: 1..=u32::MAX, effect: Effect::Delayed(3) };
        let plan = Plan {
            faults: operations.map(late).to_vec(),
            shuffled_by: Some(seed),
            ..Plan::default()
        };
        Case::new(format!("shuffled by {seed}"), plan)
    });
    run_all("shuffled", shuffled);
}

/// A link that is refused breaks the chain: the rest is cancelled, in silence behind a silent one.
#[test]
fn a_chain_breaks_at_every_link() {
    let name = "io_uring::faults::tests::a_chain_breaks_at_every_link";
    if !begins(name) {
        return;
    }
    let refused = |operation| {
        ERRNOS.into_iter().flat_map(move |errno| faults(operation, Effect::Refused(errno)))
    };
    let late = [Operation::Recv, Operation::Shutdown, Operation::Close];
    let late = late.into_iter().flat_map(|it| faults(it, Effect::Delayed(3)));
    let cases: Vec<_> = refused(Operation::Send).chain(late).map(in_a_chain).collect();
    // Who lingers and could not be told the end waits for its deadline.
    let untold = refused(Operation::Shutdown).map(in_a_chain);
    let lingers = cases.clone().into_iter().map(lingering);
    // A lingering close is no part of the chain, and the peer's end is received beside it.
    run_as_they_are("chains", cases.into_iter().chain(untold).chain(lingers));
}

/// One ACCEPT for all that is refused, ends early, or is late.
#[test]
fn an_accept_for_all_ends_in_every_way() {
    let name = "io_uring::faults::tests::an_accept_for_all_ends_in_every_way";
    if !begins(name) {
        return;
    }
    let effects = ERRNOS.into_iter().map(Effect::Refused);
    let effects = effects.chain([Effect::WithoutMore, Effect::Delayed(1), Effect::Delayed(5)]);
    let cases = effects.flat_map(|effect| {
        [1, 2, 3].map(|most| {
            let mut case = in_a_chain(fault(Operation::Accept, 1..=most, effect));
            case.options.techniques.multishot_accept = true;
            // Those whom the kernel accepts between the last that is passed on and the cancel.
            case.may_fail += if effect == Effect::WithoutMore { 4 * most as usize } else { 0 };
            case
        })
    });
    run_as_they_are("accepts for all", cases);
}

/// Receives into buffers that all share: refused, lost, short, late and, where one receive brings
/// all, at an end that nobody has announced. Each buffer comes back to the kernel.
#[test]
fn receives_into_shared_buffers_go_wrong_in_every_way() {
    let name = "io_uring::faults::tests::receives_into_shared_buffers_go_wrong_in_every_way";
    if !begins(name) {
        return;
    }
    let refused = ERRNOS.into_iter().map(Effect::Refused);
    // These three say that nothing was done, and the server does it again.
    let patient = [libc::EAGAIN, libc::EINTR, libc::ENOBUFS];
    let lost = ERRNOS.into_iter().filter(|errno| !patient.contains(errno)).map(Effect::Lost);
    let late = [1, 3, 100].into_iter().map(Effect::Delayed);
    let mut cases = Vec::new();
    for (effect, place) in refused.chain(lost).chain(late).flat_map(|it| [(it, 1), (it, 9)]) {
        let mut case = fault(Operation::Recv, place..=place, effect);
        // Whoever finds no buffer is asked again.
        case.may_fail *= usize::from(effect != Effect::Refused(libc::ENOBUFS));
        cases.extend(
            [(2, false), (64, false), (2, true), (64, true)]
                .map(|(buffers, persists)| sharing_buffers(buffers, persists, &case)),
        );
    }
    for bytes in [1, 2, 7] {
        let short = fault(Operation::Recv, 1..=u32::MAX, Effect::Short(bytes));
        cases.push(sharing_buffers(64, false, &short));
    }
    let all = [Operation::Recv, Operation::Send, Operation::Close, Operation::Cancel];
    cases.extend(all.into_iter().flat_map(|operation| {
        let late = fault(operation, 1..=u32::MAX, Effect::Delayed(3));
        [false, true].map(|persists| lingering(sharing_buffers(2, persists, &late)))
    }));
    run_as_they_are("shared buffers", cases);

    // What the kernel had taken by the time that it hears of the end is lost, and whoever sent it
    // waits for the deadline.
    let ends = PLACES.map(|most| {
        let ends = fault(Operation::Recv, 1..=most, Effect::WithoutMore);
        let head = Duration::from_millis(1);
        let deadlines = DeadlineLengths { request_head: head, idle: head, ..DeadlineLengths::NONE };
        Case { deadlines, ..sharing_buffers(64, true, &ends) }
    });
    run_as_they_are("receives that end", ends);
}

/// A send that says twice that it is over: that it was sent, and that its bytes are free.
#[test]
fn sends_without_a_copy_go_wrong_in_every_way() {
    let name = "io_uring::faults::tests::sends_without_a_copy_go_wrong_in_every_way";
    if !begins(name) {
        return;
    }
    let refused = ERRNOS.into_iter().map(Effect::Refused);
    let late = [1, 2, 5, 100].into_iter().map(Effect::Delayed);
    let short = [1, 7].into_iter().map(Effect::Short);
    let cases = refused.chain(late).chain(short).flat_map(|effect| {
        let always = fault(Operation::Send, 1..=u32::MAX, effect);
        let is_harmless = matches!(effect, Effect::Delayed(_) | Effect::Short(_));
        faults(Operation::Send, effect).step_by(4).chain(is_harmless.then_some(always))
    });
    let cases: Vec<_> = cases.map(without_a_copy).collect();
    let lingers: Vec<_> = cases.iter().cloned().map(lingering).collect();
    run_as_they_are("sends without a copy", cases.into_iter().chain(lingers));
}

#[test]
fn a_wait_that_fails_loses_nothing() {
    let name = "io_uring::faults::tests::a_wait_that_fails_loses_nothing";
    if !begins(name) {
        return;
    }
    let cases =
        [libc::EINTR, libc::ETIME, libc::EAGAIN, libc::EBUSY].into_iter().flat_map(|errno| {
            PLACES.flat_map(move |n| [n..=n, n..=n + 20]).map(move |which| {
                let name = format!("io_uring_enter {which:?} {errno}");
                Case::new(name, Plan { enter: Some((which, errno)), ..Plan::default() })
            })
        });
    run_all("io_uring_enter", cases);
}

/// Those who say nothing are put out by cancelling their RECV, whatever the cancel says of itself.
#[test]
fn what_a_cancel_says_does_not_matter() {
    let name = "io_uring::faults::tests::what_a_cancel_says_does_not_matter";
    if !begins(name) {
        return;
    }
    let idle = DeadlineLengths { idle: Duration::from_millis(1), ..DeadlineLengths::NONE };
    let cases = [libc::ENOENT, libc::EALREADY, libc::EINTR].into_iter().flat_map(|errno| {
        (1..=8).map(move |n| {
            let case = fault(Operation::Cancel, n..=n, Effect::Lost(errno));
            Case { deadlines: idle, silent: 8, ..case }
        })
    });
    run_all("cancels at a deadline", cases);
}

/// The stop comes, everybody is cut off at once, and completions come late.
#[test]
fn a_stop_that_cuts_off_gives_everything_back() {
    let name = "io_uring::faults::tests::a_stop_that_cuts_off_gives_everything_back";
    if !begins(name) {
        return;
    }
    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Shutdown,
        Operation::Close,
        Operation::Cancel,
        Operation::Stop,
        Operation::Tick,
    ];
    let cases = operations.into_iter().flat_map(|operation| {
        [1, 3, 20, 100].map(|takings| {
            let late = fault(operation, 1..=u32::MAX, Effect::Delayed(takings));
            Case { halves: 10, drain_timeout: Duration::ZERO, ..late }
        })
    });
    run_all("cut off", cases);
}

/// The stop ends the silence of those whose descriptors are the ring's alone by a SHUTDOWN. One of
/// them was not silent: what it asked for had come, and was not looked at yet.
#[test]
fn what_came_before_its_silence_was_ended_is_answered() {
    let name = "io_uring::faults::tests::what_came_before_its_silence_was_ended_is_answered";
    if is_refused(name) {
        return;
    }
    let late = fault(Operation::Recv, 1..=1, Effect::Delayed(u32::MAX));
    let mut case = Case { keep_alive: true, ..late };
    case.plan.lateness = Duration::from_millis(50);
    case.variant = Variant::IoUringTuned;
    case.options.techniques = Techniques { direct_descriptors: true, ..Techniques::NONE };
    load::ask_at_the_stop(&case);
}

/// A cancel that does nothing, which no kernel should do: the stop takes its time, and what is
/// still the kernel's then is leaked, never freed.
#[test]
fn what_the_kernel_keeps_is_leaked_and_does_not_hold_up_the_stop() {
    let name =
        "io_uring::faults::tests::what_the_kernel_keeps_is_leaked_and_does_not_hold_up_the_stop";
    if !begins(name) {
        return;
    }
    let refused = |which| fault(Operation::Cancel, which, Effect::Refused(libc::EALREADY));
    let drain_timeout = Duration::ZERO;
    // The first cancel of a stop is that of the ACCEPT, the next are those of who is cut off.
    let accept = Case { drain_timeout, ..refused(1..=1) };
    let one = Case { drain_timeout, halves: 1, kept: 1, ..refused(2..=2) };
    let some = Case { drain_timeout, halves: 6, kept: 3, ..refused(2..=4) };
    run_all("kept by the kernel", [accept, one, some]);
}

#[test]
fn the_smallest_queues_are_large_enough() {
    let name = "io_uring::faults::tests::the_smallest_queues_are_large_enough";
    if !begins(name) {
        return;
    }
    let cases = [(1, 1), (1, 2), (2, 4), (4, 4), (8, 8)].into_iter().flat_map(|queues| {
        let (submission_queue_entries, completion_queue_entries) = queues;
        (1..=20).map(move |seed| {
            let late = Effect::Delayed(seed % 4 + 1);
            let case = fault(Operation::Recv, 1..=u32::MAX, late);
            let options = EngineOptions {
                submission_queue_entries,
                completion_queue_entries: Some(completion_queue_entries),
                ..EngineOptions::default()
            };
            let name = format!("queues of {queues:?}, {}", case.name);
            Case { name, options, ..case }
        })
    });
    run_all("smallest queues", cases);
}

/// A kernel without IORING_OP_SHUTDOWN, as they were before Linux 5.11: the system call does it,
/// whatever goes wrong with all the rest.
#[test]
fn without_the_operation_the_call_shuts_down() {
    let name = "io_uring::faults::tests::without_the_operation_the_call_shuts_down";
    if !begins(name) {
        return;
    }
    let late =
        [Operation::Accept, Operation::Recv, Operation::Send, Operation::Close, Operation::Cancel]
            .map(|operation| (operation, Effect::Delayed(2)));
    let short = [Operation::Recv, Operation::Send].map(|operation| (operation, Effect::Short(3)));
    let cases = late.into_iter().chain(short).flat_map(|(operation, effect)| {
        let always = fault(operation, 1..=u32::MAX, effect);
        faults(operation, effect).chain([always])
    });
    let without = |mut case: Case| {
        case.plan.missing = vec![opcode::Shutdown::CODE];
        case
    };
    let cases: Vec<_> = cases.map(without).collect();
    run_all("shutdown(2)", cases);
    let reset = fault(Operation::Send, 1..=20, Effect::Lost(libc::ECONNRESET));
    run_all("shutdown(2), lingering", [lingering(without(Case { may_fail: 20, ..reset }))]);
}

/// An ACCEPT that is faster than its cancel has made a descriptor, and nobody asks for it.
#[test]
fn a_connection_that_comes_with_the_end_is_closed() {
    if is_refused("io_uring::faults::tests::a_connection_that_comes_with_the_end_is_closed") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut ring = Ring::new(&EngineOptions::default()).unwrap();
    ring.accept(listener.as_raw_fd(), Token::of_worker(Operation::Accept));
    ring.tick();
    reap_to_zero(&mut ring, 0);
    assert_eq!(ring.in_flight(), 0);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is told the end");
}

/// What would go on with F_MORE, but does not: it is over, and what is asked in its place is not
/// taken for it. Nothing that the server asks goes on as yet, so the queues are asked directly.
#[test]
fn what_loses_f_more_is_over() {
    if is_refused("io_uring::faults::tests::what_loses_f_more_is_over") {
        return;
    }
    let faults =
        vec![Fault { operation: Operation::Stop, which: 1..=1, effect: Effect::WithoutMore }];
    set_plan(Plan { faults, ..Plan::default() });
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut queues = Queues::from(IoUring::new(8).unwrap());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let token = Token::of_worker(Operation::Stop).to_bits();
        let watch = opcode::PollAdd::new(types::Fd(reader.as_raw_fd()), libc::POLLIN as u32);
        let watch = watch.multi(true).build().user_data(token);
        // SAFETY: the entry has no pointers.
        unsafe { queues.submission().push(&watch) }.unwrap();
        for _ in 0..2 {
            queues.submit_and_wait(0).unwrap();
            writer.write_all(b"x").unwrap();
            queues.submit_and_wait(1).unwrap();
            seen.extend(queues.completion().map(|it| (it.result() > 0, cqueue::more(it.flags()))));
            reader.read_exact(&mut [0]).unwrap();
        }
    }
    assert_eq!(seen, [(true, false), (true, true), (true, true)]);
    drop(queues);
    assert_eq!(take_accounts().operations_left, 1, "the second goes on");
}
