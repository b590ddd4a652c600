//! Where a scenario runs: which engine, in which process, closing how.

use std::fmt;

use ringpoll_backends::{EngineOptions, ShutdownBy, Variant};

use crate::technique_sets::{SETS, TechniqueSet};

/// Whose process the server is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    InProcess,
    Binary,
}

/// How the server closes those whom it has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClosingKind {
    AtOnce,
    Lingering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arm {
    pub(crate) variant: Variant,
    pub(crate) placement: Placement,
    pub(crate) closing: ClosingKind,
    /// Not the engine's default, but these of its techniques; by their place in [`SETS`].
    set: Option<usize>,
}

impl Arm {
    pub(crate) fn all_of(variant: Variant) -> impl Iterator<Item = Self> {
        [Placement::InProcess, Placement::Binary].into_iter().flat_map(move |placement| {
            [ClosingKind::AtOnce, ClosingKind::Lingering].map(|closing| Self {
                variant,
                placement,
                closing,
                set: None,
            })
        })
    }

    /// The same engine with each set of techniques in turn.
    pub(crate) fn all_sets_of(variant: Variant) -> impl Iterator<Item = Self> {
        let sets = SETS.iter().enumerate().filter(move |(_, set)| set.variant == variant);
        sets.flat_map(move |(index, _)| {
            [ClosingKind::AtOnce, ClosingKind::Lingering].map(|closing| Self {
                variant,
                placement: Placement::InProcess,
                closing,
                set: Some(index),
            })
        })
    }

    fn techniques(self) -> Option<&'static TechniqueSet> {
        self.set.map(|index| &SETS[index])
    }

    pub(crate) fn engine_options(self) -> EngineOptions {
        self.techniques().map_or_else(EngineOptions::default, TechniqueSet::options)
    }

    /// Whether nobody but the close may tell the peer that nothing follows. What it says unasked
    /// between the last receive and the close makes that a reset, which overtakes an answer that
    /// was held back for it ([`ShutdownBy::Close`]).
    pub(crate) fn leaves_the_end_to_the_close(self) -> bool {
        self.engine_options().shutdown == ShutdownBy::Close && !self.lingers()
    }

    /// Whether it asks epoll again and again before it sleeps, on purpose. io_uring looks into
    /// memory for that, and makes no call.
    pub(crate) fn asks_epoll_in_vain(self) -> bool {
        self.variant == Variant::EpollTuned && self.engine_options().busy_poll_us > 0
    }

    /// How small the receive buffer of a slow peer may be. On loopback a segment that was sent
    /// without a copy counts with all of its pages at the receiver: a buffer smaller than that never
    /// takes it, however often it is sent again.
    pub(crate) fn receive_buffer_bytes(self, otherwise: usize) -> usize {
        if self.copies_what_it_sends() { otherwise } else { otherwise.max(65_536) }
    }

    /// Whether the kernel copies what is sent before it says that it was.
    pub(crate) fn copies_what_it_sends(self) -> bool {
        let from_where = self.engine_options().techniques.zero_copy_send_bytes;
        self.variant != Variant::IoUringTuned || from_where == 0
    }

    /// Whether connections are entries of a table that only the ring knows, and no descriptors.
    pub(crate) fn has_no_descriptors(self) -> bool {
        self.variant == Variant::IoUringTuned && self.engine_options().techniques.direct_descriptors
    }

    /// Whether it runs each time, and not only with what is left out otherwise.
    pub(crate) fn runs_always(self) -> bool {
        self.techniques().is_none_or(TechniqueSet::runs_always)
    }

    /// Whether its server keeps a processor busy without any work.
    pub(crate) fn burns_a_processor(self) -> bool {
        self.techniques().is_some_and(|set| set.options().techniques.submission_queue_polling)
    }

    pub(crate) fn lingers(self) -> bool {
        self.closing == ClosingKind::Lingering
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let placement = match self.placement {
            Placement::InProcess => "in_process",
            Placement::Binary => "binary",
        };
        let closing = match self.closing {
            ClosingKind::AtOnce => "at_once",
            ClosingKind::Lingering => "lingering",
        };
        match self.techniques() {
            None => write!(formatter, "{}::{placement}::{closing}", self.variant),
            Some(set) => write!(formatter, "{}+{}::{placement}::{closing}", self.variant, set.name),
        }
    }
}

/// What a peer does, and what is expected of the server.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Arm),
    /// Whether it has to hold the loop in the middle of a step, which needs a recorder.
    pub(crate) only_in_process: bool,
}

impl Scenario {
    pub(crate) fn runs_on(&self, arm: Arm) -> bool {
        !self.only_in_process || arm.placement == Placement::InProcess
    }
}

/// Scenarios by the names of their functions.
macro_rules! scenarios {
    ($($run:ident,)* $(; only in process: $($held:ident,)*)?) => {
        pub(crate) const SCENARIOS: &[$crate::arm::Scenario] = &[
            $($crate::arm::Scenario {
                name: stringify!($run), run: $run, only_in_process: false,
            },)*
            $($($crate::arm::Scenario {
                name: stringify!($held), run: $held, only_in_process: true,
            },)*)?
        ];
    };
}

pub(crate) use scenarios;
