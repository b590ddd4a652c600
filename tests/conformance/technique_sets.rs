//! Sets of techniques of the tuned engines: each technique alone, all together, and none. None of
//! them may change the bytes on the wire.

use std::sync::LazyLock;

use ringpoll_backends::capabilities::Capabilities;
use ringpoll_backends::{Backend, EngineOptions, ShutdownBy, Technique, Techniques, Variant, open};

pub(crate) struct TechniqueSet {
    pub(crate) name: &'static str,
    pub(crate) variant: Variant,
    options: EngineOptions,
}

impl TechniqueSet {
    pub(crate) fn options(&self) -> EngineOptions {
        self.options.clone()
    }

    /// Returns its position in [`REGULAR`]; `None` if its scenarios run only with `--ignored`.
    pub(crate) fn rank(&self) -> Option<usize> {
        REGULAR.iter().position(|&set| set == (self.variant, self.name))
    }

    /// Checks that the engine uses every technique of the set that the kernel supports; otherwise
    /// its scenarios would prove nothing.
    pub(crate) fn check_in_force(&self) {
        let requested = self.options.techniques.names();
        let kernel = Capabilities::probe();
        let mut expected = requested.clone();
        expected.retain(|key| {
            let is_supported = is_supported(&kernel, key);
            if !is_supported {
                println!("{}: this kernel does not support {key}", self.name);
            }
            is_supported
        });
        let replaced = expected.clone();
        expected.retain(|key| !technique(key).yields_to.iter().any(|it| replaced.contains(it)));
        let backend = open(self.variant, &self.options).expect("an available engine");
        assert_eq!(backend.techniques(), expected, "{}: in force and requested", self.name);
    }
}

fn technique(key: &str) -> &'static Technique {
    Technique::find(key).expect("the keys are those of the table")
}

/// Returns true if the kernel has what a technique, and those that it requires, need.
fn is_supported(kernel: &Capabilities, key: &str) -> bool {
    technique(key).capabilities.iter().all(|it| kernel.has(it))
        && technique(key).requires.iter().all(|it| is_supported(kernel, it))
}

/// Sets that run without `--ignored`. Together they use every technique but busy polling.
pub(crate) const REGULAR: [(Variant, &str); 5] = [
    (Variant::IoUringTuned, "none"),
    (Variant::IoUringTuned, "all"),
    (Variant::EpollTuned, "shutdown_close"),
    (Variant::IoUringTuned, "multishot_receive_into_few_buffers"),
    (Variant::IoUringTuned, "shutdown_close"),
];

/// Number of sets at the start of [`REGULAR`] on which the default form runs every scenario.
pub(crate) const EVERY_SCENARIO: usize = 2;

/// So few provided buffers that connections have to wait for one (ENOBUFS).
const FEW: u16 = 2;

/// Each technique alone, and combinations.
pub(crate) static SETS: LazyLock<Vec<TechniqueSet>> = LazyLock::new(|| {
    let alone = Techniques::ALL.iter().map(|it| set(it.key, it.alone(), |_| {}));
    alone.chain(combinations()).chain(of_epoll()).collect()
});

fn set(name: &'static str, techniques: Techniques, change: fn(&mut EngineOptions)) -> TechniqueSet {
    let mut options = EngineOptions { techniques, ..EngineOptions::default() };
    change(&mut options);
    TechniqueSet { name, variant: Variant::IoUringTuned, options }
}

fn combinations() -> [TechniqueSet; 7] {
    let alone = |key| technique(key).alone();
    [
        set("none", Techniques::NONE, |_| {}),
        set("few_provided_buffers", alone("provided_buffers"), |it| {
            it.techniques.provided_buffers = FEW;
        }),
        set("multishot_receive_into_few_buffers", alone("multishot_receive"), |it| {
            it.techniques.provided_buffers = FEW;
        }),
        set("shutdown_ring", Techniques::NONE, |it| it.shutdown = ShutdownBy::Ring),
        set("shutdown_close", Techniques::NONE, |it| it.shutdown = ShutdownBy::Close),
        set("busy_poll", alone("defer_taskrun"), |it| it.busy_poll_us = 20),
        set("all", all_but_sqpoll(), |it| {
            // Some responses are shorter.
            it.techniques.send_zc_min_bytes = 1000;
            it.shutdown = ShutdownBy::Ring;
        }),
    ]
}

/// Returns every technique but SQPOLL, which excludes others.
fn all_but_sqpoll() -> Techniques {
    let mut all = Techniques::NONE;
    for it in Techniques::ALL.iter().filter(|it| it.key != "sqpoll") {
        assert!(all.set(it.key, it.enabled));
    }
    all
}

fn of_epoll() -> [TechniqueSet; 2] {
    let of_epoll = |name, change| TechniqueSet {
        variant: Variant::EpollTuned,
        ..set(name, Techniques::NONE, change)
    };
    [
        of_epoll("shutdown_close", |it| it.shutdown = ShutdownBy::Close),
        of_epoll("busy_poll", |it| it.busy_poll_us = 20),
    ]
}
