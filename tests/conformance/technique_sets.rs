//! Sets of techniques of the tuned engines: each technique alone, all together, and none. None of
//! them may change the bytes on the wire.

use ringpoll_backends::capabilities::Capabilities;
use ringpoll_backends::{Backend, EngineOptions, ShutdownBy, Techniques, Variant, open};

pub(crate) struct TechniqueSet {
    pub(crate) name: &'static str,
    pub(crate) variant: Variant,
    options: fn(&mut EngineOptions),
}

impl TechniqueSet {
    pub(crate) fn options(&self) -> EngineOptions {
        let mut options =
            EngineOptions { techniques: Techniques::NONE, ..EngineOptions::default() };
        (self.options)(&mut options);
        options
    }

    /// Returns its position in [`REGULAR`]; `None` if its scenarios run only with `--ignored`.
    pub(crate) fn rank(&self) -> Option<usize> {
        REGULAR.iter().position(|&set| set == (self.variant, self.name))
    }

    /// Checks that the engine uses every technique of the set that the kernel supports; otherwise
    /// its scenarios would prove nothing.
    pub(crate) fn check_in_force(&self) {
        let options = self.options();
        let mut requested = options.techniques.names();
        let kernel = Capabilities::probe();
        requested.retain(|name| {
            let has = required_capabilities(name).iter().all(|it| kernel.has(it));
            if !has {
                println!("{}: this kernel does not support {name}", self.name);
            }
            has
        });
        let backend = open(self.variant, &options).expect("an available engine");
        let mut in_force = backend.techniques();
        // DEFER_TASKRUN replaces COOP_TASKRUN if both are requested.
        if requested.contains(&"defer_taskrun") {
            requested.retain(|name| *name != "coop_taskrun");
        }
        in_force.sort_unstable();
        requested.sort_unstable();
        assert_eq!(in_force, requested, "{}: in force and requested", self.name);
    }
}

/// Sets that run without `--ignored`. Together they use every technique but busy polling.
pub(crate) const REGULAR: [(Variant, &str); 5] = [
    (Variant::IoUringTuned, "none"),
    (Variant::IoUringTuned, "all"),
    (Variant::EpollTuned, "shutdown_close"),
    (Variant::IoUringTuned, "multishot_receive_into_few_buffers"),
    (Variant::IoUringTuned, "cqe_skip_success"),
];

/// Number of sets at the start of [`REGULAR`] on which the default form runs every scenario.
pub(crate) const EVERY_SCENARIO: usize = 2;

/// Returns the kernel's capabilities that a technique needs, by their names in `ringpoll doctor`.
fn required_capabilities(technique: &str) -> &'static [&'static str] {
    match technique {
        "defer_taskrun" => &["setup_defer_taskrun"],
        "coop_taskrun" => &["setup_coop_taskrun"],
        "multishot_accept" => &["accept_multishot"],
        "multishot_receive" => &["buf_ring", "recv_multishot"],
        "provided_buffers" => &["buf_ring"],
        "bundles" => &["recv_bundle"],
        "direct_descriptors" => &["accept_direct_alloc", "close_direct"],
        "cqe_skip_success" => &["link", "cqe_skip_success"],
        "linked_close" => &["link"],
        "registered_ring" => &["registered_ring"],
        "no_sqarray" => &["setup_no_sqarray"],
        "min_wait" => &["min_wait"],
        "send_zc" => &["send_zc"],
        "sqpoll" => &["setup_sqpoll"],
        other => panic!("the capabilities of {other} are not listed"),
    }
}

macro_rules! sets {
    ($($variant:ident $name:literal: $options:expr;)*) => {
        pub(crate) const SETS: &[TechniqueSet] = &[$(TechniqueSet {
            name: $name,
            variant: Variant::$variant,
            options: $options,
        },)*];
    };
}

/// So few provided buffers that connections have to wait for one (ENOBUFS).
const FEW: u16 = 2;

sets! {
    EpollTuned "shutdown_close": |it| it.shutdown = ShutdownBy::Close;
    EpollTuned "busy_poll": |it| it.busy_poll_us = 20;
    IoUringTuned "none": |_| {};
    IoUringTuned "defer_taskrun": |it| it.techniques.defer_taskrun = true;
    IoUringTuned "coop_taskrun": |it| it.techniques.coop_taskrun = true;
    IoUringTuned "multishot_accept": |it| it.techniques.multishot_accept = true;
    IoUringTuned "provided_buffers": |it| it.techniques.provided_buffers = 64;
    IoUringTuned "few_provided_buffers": |it| it.techniques.provided_buffers = FEW;
    IoUringTuned "multishot_receive": |it| {
        it.techniques.provided_buffers = 64;
        it.techniques.multishot_receive = true;
    };
    IoUringTuned "multishot_receive_into_few_buffers": |it| {
        it.techniques.provided_buffers = FEW;
        it.techniques.multishot_receive = true;
    };
    IoUringTuned "bundles": |it| {
        it.techniques.provided_buffers = 64;
        it.techniques.multishot_receive = true;
        it.techniques.bundles = true;
    };
    IoUringTuned "direct_descriptors": |it| it.techniques.direct_descriptors = true;
    IoUringTuned "direct_descriptors_with_shutdown_close": |it| {
        it.techniques.direct_descriptors = true;
        it.shutdown = ShutdownBy::Close;
    };
    IoUringTuned "shutdown_ring": |it| it.shutdown = ShutdownBy::Ring;
    IoUringTuned "shutdown_close": |it| it.shutdown = ShutdownBy::Close;
    IoUringTuned "linked_close": |it| {
        it.techniques.linked_close = true;
        it.shutdown = ShutdownBy::Close;
    };
    IoUringTuned "linked_shutdown_and_close": |it| {
        it.techniques.linked_close = true;
        it.shutdown = ShutdownBy::Ring;
    };
    IoUringTuned "cqe_skip_success": |it| {
        it.techniques.linked_close = true;
        it.techniques.cqe_skip_success = true;
        it.shutdown = ShutdownBy::Close;
    };
    IoUringTuned "cqe_skip_success_with_shutdown_ring": |it| {
        it.techniques.linked_close = true;
        it.techniques.cqe_skip_success = true;
        it.shutdown = ShutdownBy::Ring;
    };
    IoUringTuned "registered_ring": |it| it.techniques.registered_ring = true;
    IoUringTuned "no_sqarray": |it| it.techniques.no_sqarray = true;
    IoUringTuned "min_wait": |it| it.techniques.min_wait_us = 200;
    IoUringTuned "send_zc": |it| it.techniques.send_zc_min_bytes = 1;
    IoUringTuned "sqpoll": |it| it.techniques.sqpoll = true;
    IoUringTuned "sqpoll_with_registered_ring": |it| {
        it.techniques.sqpoll = true;
        it.techniques.registered_ring = true;
    };
    IoUringTuned "busy_poll": |it| {
        it.techniques.defer_taskrun = true;
        it.busy_poll_us = 20;
    };
    IoUringTuned "all": |it| {
        it.techniques = Techniques {
            bundles: true,
            direct_descriptors: true,
            registered_ring: true,
            no_sqarray: true,
            min_wait_us: 50,
            send_zc_min_bytes: 1000,
            ..Techniques::BEST
        };
        it.shutdown = ShutdownBy::Ring;
    };
}
