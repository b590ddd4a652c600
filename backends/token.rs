//! The token that the kernel returns: which operation, and on which connection.
//!
//! epoll returns 64 bits of `data` with each event, io_uring 64 bits of `user_data` with each CQE.
//! Both are this token. It is neither a descriptor nor a pointer: a descriptor is reused as soon as
//! it is closed, and a pointer can outlive its target, so a late event would be taken for one of
//! another connection (axboe/liburing 363). The generation tells the two apart.

use crate::slab::ConnectionId;

/// The operation of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// accept4(2) on the listener.
    Accept = 1,
    /// recv(2) on a connection.
    Recv = 2,
    /// send(2) on a connection.
    Send = 3,
    /// shutdown(2) of a connection.
    Shutdown = 4,
    /// close(2) of a connection. On epoll it is done at once, so no event has this token.
    Close = 5,
    /// The stop of the worker, a [`crate::Stop`].
    Stop = 6,
    /// The tick of one second. On epoll it is the timeout of the wait, so no event has this token.
    Tick = 7,
    /// The cancel of another operation; io_uring only.
    Cancel = 8,
}

impl Operation {
    /// Returns true if the operation belongs to the worker and to no connection.
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
    /// The operation.
    pub operation: Operation,
    /// The connection; [`ConnectionId::NONE`] for an operation of the worker.
    pub id: ConnectionId,
}

impl Token {
    /// Makes the token of an operation on a connection.
    pub const fn new(operation: Operation, id: ConnectionId) -> Self {
        Self { operation, id }
    }

    /// Makes the token of an operation of the worker.
    pub const fn of_worker(operation: Operation) -> Self {
        Self::new(operation, ConnectionId::NONE)
    }

    /// Returns the 64 bits for the kernel.
    pub const fn to_bits(self) -> u64 {
        (self.operation as u64) << 56
            | (self.id.slot as u64 & 0xff_ffff) << 32
            | self.id.generation as u64
    }

    /// Decodes what [`Token::to_bits`] returned; `None` for anything else.
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
