//! Injects every fault into every operation while ordinary clients are served. The server must keep
//! running, lose only the connection concerned, and release everything at the end.

mod cases;
mod faulty_ring;
mod load;
mod plan;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, types};
use ringpoll_backends::testing::{KernelRing, Operation, Token, open_on};
use ringpoll_backends::{Backend, DeadlineLengths, EngineOptions, Techniques, Variant};
use simulation::bytes_of_seed;

use cases::{
    ERRNOS, STREAMS, fault, faults, from_seed_bytes, run_all, run_on_both_engines, sampled_places,
    should_run, stream_cases, with_busy_polling, with_lingering_close, with_multishot_accept,
    with_multishot_receive, with_protocol, with_provided_buffers, with_send_zc,
};
use common::ServedProtocol;
use faulty_ring::{FaultyKernel, FaultyRing};
use load::{Case, Totals};
use plan::{Effect, Fault, Plan, set_plan, take_outcome};

#[test]
fn refused_operation_loses_only_its_connection() {
    let name = "refused_operation_loses_only_its_connection";
    if !should_run(name) {
        return;
    }
    // Not CLOSE, which closes the descriptor even if it fails, and not ASYNC_CANCEL, which fails
    // only if its target has completed.
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
        all.add(&run_on_both_engines(&format!("{operation:?} refused"), cases));
    }
    println!("refused: {all:?}");
}

#[test]
fn lost_result_loses_only_its_connection() {
    let name = "lost_result_loses_only_its_connection";
    if !should_run(name) {
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
    // The server retries after these two, since they mean that nothing was done.
    let errnos = ERRNOS.into_iter().filter(|errno| ![libc::EAGAIN, libc::EINTR].contains(errno));
    let mut all = Totals::default();
    for operation in operations {
        let cases = errnos.clone().flat_map(|errno| faults(operation, Effect::Lost(errno)));
        all.add(&run_on_both_engines(&format!("{operation:?} lost"), cases));
    }
    println!("lost: {all:?}");
}

/// Echo, discard and chargen: a client gets a prefix of its stream, and all clients but that of the
/// fault get the whole of theirs.
#[test]
fn fault_in_a_stream_loses_only_its_connection() {
    let name = "fault_in_a_stream_loses_only_its_connection";
    if !should_run(name) {
        return;
    }
    let cases = stream_cases();
    let multishot = cases.iter().filter_map(with_multishot_receive);
    run_all("streams, multishot receives", multishot.collect::<Vec<_>>());
    // The result of a zero-copy send cannot be lost, since its notification follows.
    let is_send_lost = |fault: &Fault| {
        fault.operation == Operation::Send && matches!(fault.effect, Effect::Lost(_))
    };
    let zero_copy = cases.iter().filter(|it| !it.plan.faults.iter().any(is_send_lost));
    run_all("streams, zero-copy sends", zero_copy.cloned().map(with_send_zc).collect::<Vec<_>>());
    run_on_both_engines("streams", cases);
}

#[test]
fn several_faults_at_once_lose_only_their_connections() {
    let name = "several_faults_at_once_lose_only_their_connections";
    if !should_run(name) {
        return;
    }
    let protocols = STREAMS.map(|(protocol, _)| protocol).into_iter();
    let protocols = protocols.chain([ServedProtocol::Http10]).cycle();
    let seeds = if common::is_full() { 800 } else { 200 };
    let cases = (0..seeds).zip(protocols).map(|(seed, protocol)| {
        let mut all = Case::new(format!("several with seed {seed}"), Plan::default());
        all.plan.shuffle_seed = Some(seed);
        for bytes in bytes_of_seed(seed, 64).chunks_exact(4) {
            let one = from_seed_bytes(bytes);
            all.plan.faults.extend(one.plan.faults);
            all.may_fail += one.may_fail;
        }
        with_protocol(protocol, all)
    });
    run_on_both_engines("several faults", cases);
}

/// Repeated ACCEPT failures: connections stay in the queue, and the server does not spin.
#[test]
fn clients_are_served_after_accept_outage() {
    let name = "clients_are_served_after_accept_outage";
    if !should_run(name) {
        return;
    }
    let outages = ERRNOS.into_iter().filter(|errno| ![libc::EAGAIN, libc::EINTR].contains(errno));
    let cases = outages.flat_map(|errno| {
        [1..=4, 5..=7].map(|which| fault(Operation::Accept, which, Effect::Refused(errno)))
    });
    run_on_both_engines("outages of accept", cases);
}

#[test]
fn short_delayed_or_reordered_operations_lose_nothing() {
    let name = "short_delayed_or_reordered_operations_lose_nothing";
    if !should_run(name) {
        return;
    }
    let short = [Operation::Recv, Operation::Send].into_iter().flat_map(|operation| {
        [1, 2, 7].into_iter().flat_map(move |bytes| {
            let always = fault(operation, 1..=u32::MAX, Effect::Short(bytes));
            faults(operation, Effect::Short(bytes)).chain([always])
        })
    });
    run_on_both_engines("short", short);

    let operations = [
        Operation::Accept,
        Operation::Recv,
        Operation::Send,
        Operation::Shutdown,
        Operation::Close,
        Operation::Cancel,
    ];
    let delayed = operations.into_iter().flat_map(|operation| {
        [1, 2, 5, 100].into_iter().flat_map(move |reaps| {
            let always = fault(operation, 1..=u32::MAX, Effect::Delayed(reaps));
            faults(operation, Effect::Delayed(reaps)).chain([always])
        })
    });
    run_on_both_engines("delayed", delayed.map(with_lingering_close));

    let shuffled = (1..=200).map(|seed| {
        // Delays make batches with several completions to shuffle.
        let delayed =
            |operation| Fault { operation, which: 1..=u32::MAX, effect: Effect::Delayed(3) };
        let plan = Plan {
            faults: operations.map(delayed).to_vec(),
            shuffle_seed: Some(seed),
            ..Plan::default()
        };
        Case::new(format!("shuffled by {seed}"), plan)
    });
    run_on_both_engines("shuffled", shuffled);
}

/// A multishot ACCEPT that fails, ends without a cancel, or is delayed.
#[test]
fn multishot_accept_recovers_from_every_end() {
    let name = "multishot_accept_recovers_from_every_end";
    if !should_run(name) {
        return;
    }
    let effects = ERRNOS.into_iter().map(Effect::Refused);
    let effects = effects.chain([Effect::WithoutMore, Effect::Delayed(1), Effect::Delayed(5)]);
    let cases = effects.flat_map(|effect| {
        [1, 2, 3].map(|max| {
            let mut case = with_multishot_accept(fault(Operation::Accept, 1..=max, effect));
            // Connections that the kernel accepts between the last CQE delivered and the cancel.
            case.may_fail += if effect == Effect::WithoutMore { 4 * max as usize } else { 0 };
            case
        })
    });
    run_all("multishot accept", cases);
}

/// Receives into provided buffers that are refused, lost, short or delayed, and multishot receives
/// that end early. Each buffer returns to the kernel.
#[test]
fn faulty_receives_release_their_provided_buffers() {
    let name = "faulty_receives_release_their_provided_buffers";
    if !should_run(name) {
        return;
    }
    let refused = ERRNOS.into_iter().map(Effect::Refused);
    // The server retries after these three, since they mean that nothing was done.
    let retried = [libc::EAGAIN, libc::EINTR, libc::ENOBUFS];
    let lost = ERRNOS.into_iter().filter(|errno| !retried.contains(errno)).map(Effect::Lost);
    let delayed = [1, 3, 100].into_iter().map(Effect::Delayed);
    let mut cases = Vec::new();
    for (effect, place) in refused.chain(lost).chain(delayed).flat_map(|it| [(it, 1), (it, 9)]) {
        let mut case = fault(Operation::Recv, place..=place, effect);
        // The server retries after ENOBUFS.
        case.may_fail *= usize::from(effect != Effect::Refused(libc::ENOBUFS));
        cases.extend(
            [(2, false), (64, false), (2, true), (64, true)]
                .map(|(buffers, keep_alive)| with_provided_buffers(buffers, keep_alive, &case)),
        );
    }
    for bytes in [1, 2, 7] {
        let short = fault(Operation::Recv, 1..=u32::MAX, Effect::Short(bytes));
        cases.push(with_provided_buffers(64, false, &short));
    }
    let all = [Operation::Recv, Operation::Send, Operation::Close, Operation::Cancel];
    cases.extend(all.into_iter().flat_map(|operation| {
        let delayed = fault(operation, 1..=u32::MAX, Effect::Delayed(3));
        [false, true]
            .map(|keep_alive| with_lingering_close(with_provided_buffers(2, keep_alive, &delayed)))
    }));
    run_all("provided buffers", cases);

    // Bytes that the kernel receives before the cancel are lost, and their sender waits for the
    // deadline.
    let ends = sampled_places().map(|max| {
        let ends = fault(Operation::Recv, 1..=max, Effect::WithoutMore);
        let head = Duration::from_millis(1);
        let deadlines = DeadlineLengths { request_head: head, idle: head, ..DeadlineLengths::NONE };
        Case { deadlines, ..with_provided_buffers(64, true, &ends) }
    });
    run_all("multishot receives that end", ends);
}

/// A zero-copy send, which posts two CQEs: the result, and the notification (IORING_CQE_F_NOTIF).
#[test]
fn faulty_zero_copy_sends_are_recovered() {
    let name = "faulty_zero_copy_sends_are_recovered";
    if !should_run(name) {
        return;
    }
    let refused = ERRNOS.into_iter().map(Effect::Refused);
    let delayed = [1, 2, 5, 100].into_iter().map(Effect::Delayed);
    let short = [1, 7].into_iter().map(Effect::Short);
    let cases = refused.chain(delayed).chain(short).flat_map(|effect| {
        let always = fault(Operation::Send, 1..=u32::MAX, effect);
        let is_harmless = matches!(effect, Effect::Delayed(_) | Effect::Short(_));
        faults(Operation::Send, effect).step_by(4).chain(is_harmless.then_some(always))
    });
    let cases: Vec<_> = cases.map(with_send_zc).collect();
    let lingers: Vec<_> = cases.iter().cloned().map(with_lingering_close).collect();
    run_all("zero-copy sends", cases.into_iter().chain(lingers));
}

#[test]
fn failed_enter_loses_nothing() {
    let name = "failed_enter_loses_nothing";
    if !should_run(name) {
        return;
    }
    let cases = [libc::EINTR, libc::EAGAIN, libc::EBUSY].into_iter().flat_map(|errno| {
        sampled_places().flat_map(move |n| [n..=n, n..=n + 20]).map(move |which| {
            let name = format!("io_uring_enter {which:?} {errno}");
            Case::new(name, Plan { enter: Some((which, errno)), ..Plan::default() })
        })
    });
    let cases: Vec<_> = cases.collect();
    run_on_both_engines("io_uring_enter", cases.iter().cloned());
    run_all("io_uring_enter with busy polling", cases.into_iter().map(with_busy_polling));
}

/// Idle connections are closed by cancelling their RECV, whatever the result of the cancel.
#[test]
fn result_of_cancel_is_ignored() {
    let name = "result_of_cancel_is_ignored";
    if !should_run(name) {
        return;
    }
    let idle = DeadlineLengths { idle: Duration::from_millis(1), ..DeadlineLengths::NONE };
    let cases = [libc::ENOENT, libc::EALREADY, libc::EINTR].into_iter().flat_map(|errno| {
        (1..=8).map(move |n| {
            let case = fault(Operation::Cancel, n..=n, Effect::Lost(errno));
            Case { deadlines: idle, idle_clients: 8, ..case }
        })
    });
    run_on_both_engines("cancels at a deadline", cases);
}

/// A stop force-closes all connections at once while completions are delayed.
#[test]
fn forced_stop_with_delayed_completions_releases_everything() {
    let name = "forced_stop_with_delayed_completions_releases_everything";
    if !should_run(name) {
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
        [1, 3, 20, 100].map(|reaps| {
            let delayed = fault(operation, 1..=u32::MAX, Effect::Delayed(reaps));
            Case { half_requests: 10, drain_timeout: Duration::ZERO, ..delayed }
        })
    });
    let cases: Vec<_> = cases.collect();
    let of_worker = [Operation::Cancel, Operation::Stop, Operation::Tick];
    let streams = STREAMS.into_iter().flat_map(|(protocol, operations)| {
        let is_submitted = move |case: &&Case| {
            let operation = &case.plan.faults[0].operation;
            operations.contains(operation) || of_worker.contains(operation)
        };
        cases.iter().filter(is_submitted).map(move |it| with_protocol(protocol, it.clone()))
    });
    run_on_both_engines("force-closed streams", streams.collect::<Vec<_>>());
    run_on_both_engines("force-closed", cases);
}

/// A stop half-closes idle connections. One of them had sent a request, whose RECV completion was
/// not dispatched yet.
#[test]
fn request_received_before_shut_rd_gets_response() {
    let name = "request_received_before_shut_rd_gets_response";
    if !common::io_uring_is_available(name) {
        return;
    }
    let delayed = fault(Operation::Recv, 1..=1, Effect::Delayed(u32::MAX));
    let mut case = with_protocol(ServedProtocol::Http11, delayed);
    case.plan.min_hold = Duration::from_millis(50);
    case.variant = Variant::IoUringTuned;
    case.options.techniques = Techniques::NONE;
    load::request_during_stop(&case);
}

/// A cancel without effect, which should not happen: the stop ends after its time limit, and memory
/// that the kernel still owns is leaked, never freed.
#[test]
fn uncancellable_operations_leak_and_do_not_block_stop() {
    let name = "uncancellable_operations_leak_and_do_not_block_stop";
    if !should_run(name) {
        return;
    }
    let refused = |which| fault(Operation::Cancel, which, Effect::Refused(libc::EALREADY));
    let drain_timeout = Duration::ZERO;
    // The first cancel of a stop is that of the ACCEPT; the next are those of force-closed
    // connections.
    let accept = Case { drain_timeout, ..refused(1..=1) };
    let one = Case { drain_timeout, half_requests: 1, stuck: 1, ..refused(2..=2) };
    let some = Case { drain_timeout, half_requests: 6, stuck: 3, ..refused(2..=4) };
    run_on_both_engines("uncancelled", [accept, one, some]);
}

#[test]
fn smallest_queues_are_large_enough() {
    let name = "smallest_queues_are_large_enough";
    if !should_run(name) {
        return;
    }
    let cases = [(1, 1), (1, 2), (2, 4), (4, 4), (8, 8)].into_iter().flat_map(|queues| {
        let (submission_queue_entries, completion_queue_entries) = queues;
        (1..=20).map(move |seed| {
            let delayed = Effect::Delayed(seed % 4 + 1);
            let case = fault(Operation::Recv, 1..=u32::MAX, delayed);
            let options = EngineOptions {
                submission_queue_entries,
                completion_queue_entries: Some(completion_queue_entries),
                ..EngineOptions::default()
            };
            let name = format!("queues of {queues:?}, {}", case.name);
            Case { name, options, ..case }
        })
    });
    run_on_both_engines("smallest queues", cases);
}

/// Without IORING_OP_SHUTDOWN, as before Linux 5.11, shutdown(2) is called, whatever other faults
/// occur.
#[test]
fn missing_shutdown_operation_falls_back_to_call() {
    let name = "missing_shutdown_operation_falls_back_to_call";
    if !should_run(name) {
        return;
    }
    let delayed =
        [Operation::Accept, Operation::Recv, Operation::Send, Operation::Close, Operation::Cancel]
            .map(|operation| (operation, Effect::Delayed(2)));
    let short = [Operation::Recv, Operation::Send].map(|operation| (operation, Effect::Short(3)));
    let cases = delayed.into_iter().chain(short).flat_map(|(operation, effect)| {
        let always = fault(operation, 1..=u32::MAX, effect);
        faults(operation, effect).chain([always])
    });
    let without = |mut case: Case| {
        case.plan.has_no_shutdown = true;
        case
    };
    let cases: Vec<_> = cases.map(without).collect();
    run_on_both_engines("shutdown(2)", cases);
    let reset = fault(Operation::Send, 1..=20, Effect::Lost(libc::ECONNRESET));
    run_on_both_engines(
        "shutdown(2), lingering",
        [with_lingering_close(without(Case { may_fail: 20, ..reset }))],
    );
}

/// The start line says that shutdown(2) is called.
#[test]
fn fallback_to_shutdown_call_is_in_the_name() {
    if !common::io_uring_is_available("fallback_to_shutdown_call_is_in_the_name") {
        return;
    }
    set_plan(Plan { has_no_shutdown: true, ..Plan::default() });
    let options = EngineOptions::default();
    let backend = open_on::<FaultyKernel>(Variant::IoUringSingleShot, &options).unwrap();
    assert!(backend.name().ends_with("shutdown(2) instead of IORING_OP_SHUTDOWN"));
}

/// A multishot operation whose CQE has no IORING_CQE_F_MORE has ended, and its later CQEs are not
/// taken for those of its successor. Tests the queues directly.
#[test]
fn operation_without_f_more_has_ended() {
    if !common::io_uring_is_available("operation_without_f_more_has_ended") {
        return;
    }
    let faults =
        vec![Fault { operation: Operation::Stop, which: 1..=1, effect: Effect::WithoutMore }];
    set_plan(Plan { faults, ..Plan::default() });
    let (mut reader, mut writer) = io::pipe().unwrap();
    let mut ring = FaultyRing::new(IoUring::new(8).unwrap());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let token = Token::of_worker(Operation::Stop).to_bits();
        let watch = opcode::PollAdd::new(types::Fd(reader.as_raw_fd()), libc::POLLIN as u32);
        let watch = watch.multi(true).build().user_data(token);
        // SAFETY: the SQE has no pointers.
        unsafe { ring.push(&mut VecDeque::from([watch])) };
        for _ in 0..2 {
            enter(&mut ring, 0);
            writer.write_all(b"x").unwrap();
            enter(&mut ring, 1);
            seen.extend(ring.completions().map(|it| (it.result() > 0, cqueue::more(it.flags()))));
            reader.read_exact(&mut [0]).unwrap();
        }
    }
    assert_eq!(seen, [(true, false), (true, true), (true, true)]);
    drop(ring);
    assert_eq!(take_outcome().operations_left, 1, "the second is still in flight");
}

/// Submits everything, and waits for `want` completions.
fn enter(ring: &mut FaultyRing, want: u32) {
    const GETEVENTS: u32 = 1;
    let queued = ring.submission_status().queued;
    ring.enter(queued, want, GETEVENTS).unwrap();
}
