//! Each technique of the tuned engines alone, all of them together, and none: whatever is switched
//! on, the peer must not notice.

use ringpoll_backends::capabilities::Capabilities;
use ringpoll_backends::{EngineOptions, ShutdownBy, Techniques, Variant, open};

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

    /// Whether its scenarios run each time, or only when all that is left out is asked for.
    pub(crate) fn runs_always(&self) -> bool {
        ALWAYS.contains(&(self.variant, self.name))
    }

    /// What is switched on and this kernel has is in force: a set whose techniques are not would
    /// show nothing.
    pub(crate) fn is_in_force(&self) {
        let options = self.options();
        let mut asked = options.techniques.names();
        let kernel = Capabilities::probe();
        asked.retain(|name| {
            let has = needs(name).iter().all(|need| kernel.has(need));
            if !has {
                println!("{}: this kernel has no {name}", self.name);
            }
            has
        });
        let backend = open(self.variant, &options).expect("the engine is there");
        let mut in_force = backend.techniques();
        // It takes the place of the other where both are asked for.
        if asked.contains(&"deferred_task_run") {
            asked.retain(|name| *name != "cooperative_task_run");
        }
        in_force.sort_unstable();
        asked.sort_unstable();
        assert_eq!(in_force, asked, "{}: in force and asked for", self.name);
    }
}

/// The sets that run each time: between them they switch on everything but what burns a processor.
const ALWAYS: [(Variant, &str); 5] = [
    (Variant::EpollTuned, "shutdown_close"),
    (Variant::IoUringTuned, "none"),
    (Variant::IoUringTuned, "multishot_receive_into_few_buffers"),
    (Variant::IoUringTuned, "skip_success"),
    (Variant::IoUringTuned, "all"),
];

/// What of the kernel a technique is built on, in the words of `ringpoll doctor`.
fn needs(technique: &str) -> &'static [&'static str] {
    match technique {
        "deferred_task_run" => &["setup_defer_taskrun"],
        "cooperative_task_run" => &["setup_coop_taskrun"],
        "multishot_accept" => &["accept_multishot"],
        "multishot_receive" => &["buffer_ring", "recv_multishot"],
        "provided_buffers" => &["buffer_ring"],
        "bundles" => &["recv_bundle"],
        "direct_descriptors" => &["accept_direct_alloc", "close_direct"],
        "skip_success" => &["link", "skip_success"],
        "linked_close" => &["link"],
        "registered_ring" => &["registered_ring"],
        "no_submission_queue_array" => &["setup_no_sqarray"],
        "minimum_wait" => &["min_wait"],
        "zero_copy_send" => &["send_zero_copy"],
        "submission_queue_polling" => &["setup_sqpoll"],
        other => panic!("nobody has said what {other} needs"),
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

/// Two buffers for all, and a table of direct descriptors for little more than a few: who finds
/// none has to wait.
const FEW: u16 = 2;

sets! {
    EpollTuned "shutdown_close": |it| it.shutdown = ShutdownBy::Close;
    EpollTuned "busy_poll": |it| it.busy_poll_us = 20;
    IoUringTuned "none": |_| {};
    IoUringTuned "deferred_task_run": |it| it.techniques.deferred_task_run = true;
    IoUringTuned "cooperative_task_run": |it| it.techniques.cooperative_task_run = true;
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
    IoUringTuned "direct_descriptors_left_to_the_close": |it| {
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
    IoUringTuned "skip_success": |it| {
        it.techniques.linked_close = true;
        it.techniques.skip_success = true;
        it.shutdown = ShutdownBy::Close;
    };
    IoUringTuned "skip_success_with_shutdown": |it| {
        it.techniques.linked_close = true;
        it.techniques.skip_success = true;
        it.shutdown = ShutdownBy::Ring;
    };
    IoUringTuned "registered_ring": |it| it.techniques.registered_ring = true;
    IoUringTuned "no_submission_queue_array": |it| {
        it.techniques.no_submission_queue_array = true;
    };
    IoUringTuned "minimum_wait": |it| it.techniques.minimum_wait_us = 200;
    IoUringTuned "zero_copy_send": |it| it.techniques.zero_copy_send_bytes = 1;
    IoUringTuned "submission_queue_polling": |it| it.techniques.submission_queue_polling = true;
    IoUringTuned "submission_queue_polling_by_a_registered_ring": |it| {
        it.techniques.submission_queue_polling = true;
        it.techniques.registered_ring = true;
    };
    IoUringTuned "busy_poll": |it| {
        it.techniques.deferred_task_run = true;
        it.busy_poll_us = 20;
    };
    IoUringTuned "all": |it| {
        it.techniques = Techniques {
            bundles: true,
            direct_descriptors: true,
            registered_ring: true,
            no_submission_queue_array: true,
            minimum_wait_us: 50,
            zero_copy_send_bytes: 1000,
            ..Techniques::BEST
        };
        it.shutdown = ShutdownBy::Ring;
    };
}
