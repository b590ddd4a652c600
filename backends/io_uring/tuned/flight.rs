//! What the kernel has of one connection: several operations may be in flight at once.

use std::ops::{BitOr, BitOrAssign};

use crate::io_uring::techniques::direct_descriptors::Name;
use crate::io_uring::techniques::linked_close::Chain;

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Operations(u8);

impl Operations {
    pub(super) const RECV: Self = Self(1);
    pub(super) const SEND: Self = Self(2);
    pub(super) const SHUTDOWN: Self = Self(4);
    pub(super) const CLOSE: Self = Self(8);

    pub(super) fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl BitOr for Operations {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Operations {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl Chain {
    /// The send, and what is linked to it.
    pub(super) fn operations(self) -> Operations {
        match self {
            Self::Close => Operations::SEND | Operations::CLOSE,
            Self::Shutdown => Operations::SEND | Operations::SHUTDOWN,
            Self::ShutdownAndClose => Operations::SEND | Operations::SHUTDOWN | Operations::CLOSE,
        }
    }
}

/// Which receive is in flight, and so who owns the buffer that its bytes will stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// One into the connection's own buffer.
    Own,
    /// Into provided buffers.
    Provided,
}

/// By slot; as new for each connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) name: Name,
    /// What has not been answered.
    pub(super) pending: Operations,
    /// What of it has been cancelled: once is enough.
    pub(super) cancelled: Operations,
    /// How many completions are still to come: few, but for those that tell that the bytes of a
    /// send are free, which come as late as the peer's acknowledgements.
    pub(super) due: u32,
    pub(super) receive: Receive,
    /// How much it has brought in which turn, in bytes.
    pub(super) turn: u32,
    pub(super) turn_bytes: usize,
    /// It has brought more in one turn than it may: it is asked for each receive from then on.
    pub(super) is_greedy: bool,
    /// There was no provided buffer left: the receive waits for one.
    pub(super) is_parked: bool,
    /// All that has come was taken, when it was last looked at.
    pub(super) is_drained: bool,
    /// What was linked to the send, and how much that sends.
    pub(super) chain: Option<(Chain, usize)>,
    /// The SHUTDOWN in flight is not the connection's own step: it puts an end behind a silence.
    pub(super) is_heard_out: bool,
    /// The descriptor is gone, and something is still in flight.
    pub(super) is_closed: bool,
}

impl Flight {
    pub(super) fn new(name: Name) -> Self {
        Self {
            name,
            pending: Operations::default(),
            cancelled: Operations::default(),
            due: 0,
            receive: Receive::Own,
            turn: 0,
            turn_bytes: 0,
            is_greedy: false,
            is_parked: false,
            is_drained: false,
            chain: None,
            is_heard_out: false,
            is_closed: false,
        }
    }

    /// So much is asked of the kernel now, and so many completions will come of it.
    pub(super) fn asked(&mut self, operations: Operations, completions: u32) {
        assert!(!self.pending.meet(operations), "it is in flight already");
        self.pending |= operations;
        self.cancelled.remove(operations);
        self.due += completions;
    }
}
