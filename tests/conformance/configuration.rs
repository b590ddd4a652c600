//! A configuration of the server under test: engine × set of techniques × in process or as a child
//! process × close mode.

use std::fmt;

use ringpoll_backends::{EngineOptions, ShutdownBy, Variant};

use crate::technique_sets::{EVERY_SCENARIO, REGULAR, SETS, TechniqueSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerLocation {
    InProcess,
    ChildProcess,
}

/// Closing of connections after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    AtOnce,
    Lingering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) variant: Variant,
    pub(crate) location: ServerLocation,
    pub(crate) close_mode: CloseMode,
    /// Index in [`SETS`]; `None` for the engine's default techniques.
    set: Option<usize>,
}

impl Configuration {
    /// Returns every configuration of an engine.
    pub(crate) fn all_of(variant: Variant) -> impl Iterator<Item = Self> {
        let locations = [ServerLocation::InProcess, ServerLocation::ChildProcess];
        let defaults = locations.map(|location| (location, None));
        let sets = SETS.iter().enumerate().filter(move |(_, set)| set.variant == variant);
        let sets = sets.map(|(index, _)| (ServerLocation::InProcess, Some(index)));
        defaults.into_iter().chain(sets).flat_map(move |(location, set)| {
            [CloseMode::AtOnce, CloseMode::Lingering].map(|close_mode| Self {
                variant,
                location,
                close_mode,
                set,
            })
        })
    }

    fn techniques(self) -> Option<&'static TechniqueSet> {
        self.set.map(|index| &SETS[index])
    }

    pub(crate) fn engine_options(self) -> EngineOptions {
        self.techniques().map_or_else(EngineOptions::default, TechniqueSet::options)
    }

    /// Returns whether only the close ends the stream of the server. Bytes that arrive between the
    /// last receive and the close then turn the FIN into an RST, which can overtake a response that
    /// `send_more` has delayed for the FIN ([`ShutdownBy::Close`]).
    pub(crate) fn ends_stream_by_close_only(self) -> bool {
        self.engine_options().shutdown == ShutdownBy::Close && !self.lingers()
    }

    /// Returns whether the engine calls epoll_wait repeatedly before it sleeps. io_uring busy-polls
    /// the completion queue in memory, without system calls.
    pub(crate) fn busy_polls_epoll(self) -> bool {
        self.variant == Variant::EpollTuned && self.engine_options().busy_poll_us > 0
    }

    /// Returns the receive buffer of a slow peer: at least `preferred`. On loopback a zero-copy
    /// segment is charged to the receiver with all of its pages: a buffer smaller than that never
    /// accepts it, however often it is retransmitted.
    pub(crate) fn slow_receive_buffer_bytes(self, preferred: usize) -> usize {
        if self.copies_on_send() { preferred } else { preferred.max(65_536) }
    }

    /// Returns whether the kernel copies the bytes of a send (no zero-copy send).
    pub(crate) fn copies_on_send(self) -> bool {
        let send_zc_min_bytes = self.engine_options().techniques.send_zc_min_bytes;
        self.variant != Variant::IoUringTuned || send_zc_min_bytes == 0
    }

    /// Returns whether its scenarios run without `--ignored`.
    pub(crate) fn is_regular(self) -> bool {
        self.techniques().is_none_or(|set| set.rank().is_some())
    }

    /// Returns whether the default form runs the scenario of that index in this configuration.
    ///
    /// Each scenario runs on each engine in both locations and in both close modes, but in two of
    /// the four combinations; on the first [`EVERY_SCENARIO`] regular sets in one close mode each;
    /// and on one of the other regular sets.
    pub(crate) fn is_sampled(self, scenario: usize) -> bool {
        let lingers = usize::from(self.lingers());
        let Some(set) = self.techniques() else {
            let in_child = usize::from(self.location == ServerLocation::ChildProcess);
            return (scenario + self.variant as usize + in_child + lingers).is_multiple_of(2);
        };
        match set.rank() {
            Some(rank @ ..EVERY_SCENARIO) => (scenario + rank + lingers).is_multiple_of(2),
            Some(rank) => {
                let others = REGULAR.len() - EVERY_SCENARIO;
                let position = scenario + rank - EVERY_SCENARIO;
                position.is_multiple_of(others) && (position / others + lingers).is_multiple_of(2)
            }
            None => true,
        }
    }

    /// Returns whether an idle server occupies a CPU (SQPOLL).
    pub(crate) fn occupies_a_cpu(self) -> bool {
        self.techniques().is_some_and(|set| set.options().techniques.sqpoll)
    }

    pub(crate) fn lingers(self) -> bool {
        self.close_mode == CloseMode::Lingering
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let location = match self.location {
            ServerLocation::InProcess => "in_process",
            ServerLocation::ChildProcess => "child_process",
        };
        let close_mode = match self.close_mode {
            CloseMode::AtOnce => "at_once",
            CloseMode::Lingering => "lingering",
        };
        let plus_set = self.techniques().map(|set| format!("+{}", set.name)).unwrap_or_default();
        write!(formatter, "{}{plus_set}::{location}::{close_mode}", self.variant)
    }
}

/// Actions of a peer, with the expected reaction of the server.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Configuration),
    /// Pauses the event loop inside an event, which needs a recorder.
    pub(crate) in_process_only: bool,
}

impl Scenario {
    pub(crate) fn runs_on(&self, configuration: Configuration) -> bool {
        !self.in_process_only || configuration.location == ServerLocation::InProcess
    }
}

/// Lists scenarios by the names of their functions.
macro_rules! scenarios {
    ($($run:ident,)* $(; in process only: $($paused:ident,)*)?) => {
        pub(crate) const SCENARIOS: &[$crate::configuration::Scenario] = &[
            $($crate::configuration::Scenario {
                name: stringify!($run), run: $run, in_process_only: false,
            },)*
            $($($crate::configuration::Scenario {
                name: stringify!($paused), run: $paused, in_process_only: true,
            },)*)?
        ];
    };
}

pub(crate) use scenarios;
