//! Each technique of the tuned engines alone, all of them together, and none: whatever is switched
//! on, the peer must not notice.

use ringpoll_backends::{EngineOptions, ShutdownBy, Techniques, Variant};

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
