//! How the servers of these tests start and end, and how every variant has its own.

use std::thread;

use ringpoll_backends::{Counters, DeadlineLengths, EngineOptions, ListenOptions, Variant, Worker};

use crate::common::{Served, engine};

/// Off, so that a test meets no deadline but its own.
const NO_DEADLINES: DeadlineLengths = DeadlineLengths::NONE;

/// Starts a server in this process that has no deadlines unless `configure` sets some.
pub(crate) fn serve(variant: Variant, configure: impl FnOnce(&mut Worker)) -> Served {
    serve_with(variant, &loopback(), EngineOptions::default(), configure)
}

/// The same, with a say in the listener and the engine.
pub(crate) fn serve_with(
    variant: Variant,
    listen: &ListenOptions,
    engine: EngineOptions,
    configure: impl FnOnce(&mut Worker),
) -> Served {
    Served::with_options(variant, listen, engine, |worker| {
        worker.deadlines = NO_DEADLINES;
        configure(worker);
    })
}

/// A port of the kernel's choice.
pub(crate) fn loopback() -> ListenOptions {
    ListenOptions::new("127.0.0.1:0".parse().expect("an address"))
}

/// Stops it, and hands back what it counted. It must have given everything back.
pub(crate) fn stopped(server: Served) -> Counters {
    let (report, left_open) = server.stopped();
    assert_eq!(left_open, 0, "descriptors left behind");
    report.counters
}

/// The variants that the kernel allows; under `CI=true` that must be all of them.
pub(crate) fn variants() -> impl Iterator<Item = Variant> {
    // The harness names each test's thread after it.
    let test = thread::current().name().unwrap_or_default().to_owned();
    Variant::ALL.iter().copied().filter(move |&variant| engine(&test, variant))
}

/// Runs the test for every variant, all at the same time.
pub(crate) fn on_every_variant(test: impl Fn(Variant) + Sync) {
    thread::scope(|scope| {
        for variant in variants() {
            let test = &test;
            let thread = thread::Builder::new().name(variant.to_string());
            thread.spawn_scoped(scope, move || test(variant)).expect("a thread");
        }
    });
}
