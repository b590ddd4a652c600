//! The operations of one connection that are in flight; there may be several at once.

use std::ops::{BitOr, BitOrAssign};

use crate::io_uring::techniques::direct_descriptors::Descriptor;
use crate::io_uring::techniques::linked_close::Chain;

/// A set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Operations(u8);

impl Operations {
    pub(super) const RECV: Self = Self(1);
    pub(super) const SEND: Self = Self(2);
    pub(super) const SHUTDOWN: Self = Self(4);
    pub(super) const CLOSE: Self = Self(8);

    pub(super) fn intersects(self, other: Self) -> bool {
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
    /// Returns the SEND and the operations linked to it.
    pub(super) fn operations(self) -> Operations {
        match self {
            Self::Close => Operations::SEND | Operations::CLOSE,
            Self::Shutdown => Operations::SEND | Operations::SHUTDOWN,
            Self::ShutdownAndClose => Operations::SEND | Operations::SHUTDOWN | Operations::CLOSE,
        }
    }
}

/// The buffer that the RECV in flight uses, and so who owns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReceiveBuffer {
    /// The connection's own buffer.
    Own,
    /// A buffer of the provided buffer ring.
    Provided,
}

/// State of the connection in one slot. A new connection starts with a new value.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) descriptor: Descriptor,
    /// Operations whose result has not arrived.
    pub(super) pending: Operations,
    /// Those of the pending operations that have been cancelled.
    pub(super) cancelled: Operations,
    /// CQEs still to be posted. The notification of a zero-copy send may arrive long after its
    /// result, when the peer has acknowledged the bytes.
    pub(super) outstanding: u32,
    pub(super) receive_buffer: ReceiveBuffer,
    /// The loop iteration in which the multishot RECV completed last, and the bytes received in it.
    pub(super) iteration: u32,
    pub(super) iteration_bytes: usize,
    /// The peer has exceeded its read budget: from then on each receive is single-shot.
    pub(super) is_over_read_budget: bool,
    /// The RECV failed with ENOBUFS and is submitted again when buffers are free.
    pub(super) is_waiting_for_buffer: bool,
    /// The last receive did not fill its buffer, so the socket was empty.
    pub(super) is_socket_empty: bool,
    /// The operations linked to the SEND, and the length of what it sends.
    pub(super) chain: Option<(Chain, usize)>,
    /// The SHUTDOWN in flight is the SHUT_RD of a stop and not the step of the lifecycle.
    pub(super) is_closing_receive_side: bool,
    /// The descriptor is closed, and a CQE may be outstanding.
    pub(super) is_closed: bool,
}

impl InFlight {
    pub(super) fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            pending: Operations::default(),
            cancelled: Operations::default(),
            outstanding: 0,
            receive_buffer: ReceiveBuffer::Own,
            iteration: 0,
            iteration_bytes: 0,
            is_over_read_budget: false,
            is_waiting_for_buffer: false,
            is_socket_empty: false,
            chain: None,
            is_closing_receive_side: false,
            is_closed: false,
        }
    }

    /// Records a submission that will post this number of CQEs.
    pub(super) fn submitted(&mut self, operations: Operations, completions: u32) {
        assert!(!self.pending.intersects(operations), "the operation is in flight already");
        self.pending |= operations;
        self.cancelled.remove(operations);
        self.outstanding += completions;
    }
}
