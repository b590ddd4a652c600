//! Starting and stopping the servers of the tests, one for each variant.

use std::thread;

use ringpoll_backends::{Counters, DeadlineLengths, EngineOptions, ListenOptions, Variant};

use common::{ServerThread, TestWorker, engine_is_available, unique_loopback_address};

/// Starts a server in this process, without deadlines unless `configure` sets them.
pub(crate) fn serve(variant: Variant, configure: impl FnOnce(&mut TestWorker)) -> ServerThread {
    serve_with(variant, &loopback_port(), EngineOptions::default(), configure)
}

/// Starts a server with these options of the listener and the engine.
pub(crate) fn serve_with(
    variant: Variant,
    listen: &ListenOptions,
    engine: EngineOptions,
    configure: impl FnOnce(&mut TestWorker),
) -> ServerThread {
    ServerThread::with_options(variant, listen, engine, |worker| {
        worker.deadlines = DeadlineLengths::NONE;
        configure(worker);
    })
}

/// Returns options for a port that the kernel chooses.
pub(crate) fn loopback_port() -> ListenOptions {
    ListenOptions::new(unique_loopback_address())
}

/// Stops the server, checks that it has closed every socket, and returns its counters.
pub(crate) fn stop_and_count(server: ServerThread) -> Counters {
    let (report, left_open) = server.stop_and_wait();
    assert_eq!(left_open, 0, "leaked descriptors");
    report.counters
}

/// Returns the variants that the kernel allows; under `CI=true` that must be all of them.
pub(crate) fn variants() -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(|&variant| engine_is_available("robustness", variant))
}

/// Runs the test for all variants concurrently.
pub(crate) fn for_each_variant(test: impl Fn(Variant) + Sync) {
    thread::scope(|scope| {
        for variant in variants() {
            let test = &test;
            let thread = thread::Builder::new().name(variant.to_string());
            thread.spawn_scoped(scope, move || test(variant)).expect("a thread");
        }
    });
}
