//! What comes back with an answer: which step was asked, and for which connection.
//!
//! epoll hands back 64 bits of `data` with each event, io_uring 64 bits of `user_data` with each
//! completion. Both carry the same token here. It is never a descriptor and never a pointer: a
//! descriptor is reused as soon as it is closed, and a pointer outlives what it points to, so an
//! answer that comes late would be taken for the answer to something else. The generation tells
//! the two apart.

use crate::slots::ConnectionId;

/// The steps that can be asked of the kernel, as they stand in a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// A new connection on the listener.
    Accept = 1,
    /// Bytes from a connection.
    Recv = 2,
    /// Room for bytes to a connection (epoll), or the sending of them (io_uring).
    Send = 3,
    /// The end of a connection's directions.
    Shutdown = 4,
    /// The end of the descriptor. On epoll it is answered at once and never stands in a token.
    Close = 5,
    /// The stop of the worker: see [`crate::Stop`].
    Stop = 6,
    /// The one-second tick. On epoll it is the time limit of the wait and never stands in a token.
    Tick = 7,
    /// The cancelling of another operation; io_uring only.
    Cancel = 8,
}

impl Operation {
    /// Whether it is the worker's own, and belongs to no connection.
    pub const fn is_of_worker(self) -> bool {
        matches!(self, Self::Accept | Self::Stop | Self::Tick | Self::Cancel)
    }

    fn from_tag(tag: u8) -> Option<Self> {
        Some(match tag {
            1 => Self::Accept,
            2 => Self::Recv,
            3 => Self::Send,
            4 => Self::Shutdown,
            5 => Self::Close,
            6 => Self::Stop,
            7 => Self::Tick,
            8 => Self::Cancel,
            _ => return None,
        })
    }
}

/// 64 bits: the operation in the upper 8, the slot in the next 24, the generation in the lower 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// What was asked.
    pub operation: Operation,
    /// For whom. Slot 0, generation 0 where the operation belongs to no connection.
    pub id: ConnectionId,
}

impl Token {
    /// A step of one connection.
    pub const fn new(operation: Operation, id: ConnectionId) -> Self {
        Self { operation, id }
    }

    /// A step of the worker itself.
    pub const fn of_worker(operation: Operation) -> Self {
        Self::new(operation, ConnectionId::NONE)
    }

    /// The form that the kernel carries.
    pub const fn to_bits(self) -> u64 {
        (self.operation as u64) << 56
            | (self.id.slot as u64 & 0xff_ffff) << 32
            | self.id.generation as u64
    }

    /// Reads back what [`Token::to_bits`] wrote; `None` for bits that it never writes.
    pub fn from_bits(bits: u64) -> Option<Self> {
        let operation = Operation::from_tag((bits >> 56) as u8)?;
        let slot = (bits >> 32) as u32 & 0xff_ffff;
        let generation = bits as u32;
        Some(Self::new(operation, ConnectionId { slot, generation }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_and_back() {
        for tag in 0..=255u8 {
            let bits = u64::from(tag) << 56 | 0x00ab_cdef_1234_5678;
            match Token::from_bits(bits) {
                Some(token) => {
                    assert_eq!(token.operation as u8, tag);
                    assert_eq!((token.id.slot, token.id.generation), (0xab_cdef, 0x1234_5678));
                    assert_eq!(token.to_bits(), bits);
                }
                None => assert!(Operation::from_tag(tag).is_none()),
            }
        }
        assert_eq!(Token::of_worker(Operation::Stop).to_bits(), 6 << 56);
    }
}
