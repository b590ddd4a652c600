//! Queue entries that can be read and written: the io-uring crate can only build SQEs and only read
//! CQEs.

use std::mem::transmute;

use ::io_uring::squeue;

/// A completion queue entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cqe {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Cqe {
    pub(crate) fn result(&self) -> i32 {
        self.result
    }

    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    pub(crate) fn user_data(&self) -> u64 {
        self.user_data
    }
}

/// A submission queue entry with the layout of `struct io_uring_sqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSqe {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) priority: u16,
    pub(crate) fd: i32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) operation_flags: u32,
    pub(crate) user_data: u64,
    rest: [u8; 24],
}

impl RawSqe {
    pub(crate) fn from_entry(entry: &squeue::Entry) -> Self {
        // SAFETY: the entry is a `struct io_uring_sqe`, of which this is the layout; every bit
        // pattern is valid for integers.
        unsafe { transmute(entry.clone()) }
    }

    pub(crate) fn into_entry(self) -> squeue::Entry {
        // SAFETY: as above: both structs are integers only.
        unsafe { transmute(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::io_uring::{opcode, types};

    #[test]
    fn raw_sqe_has_the_kernel_layout() {
        let bytes = [0u8; 7];
        let entry = opcode::Send::new(types::Fd(-5), bytes.as_ptr(), 7).flags(0x4000).build();
        let raw = RawSqe::from_entry(&entry.user_data(0x1234));
        assert_eq!((raw.opcode, raw.fd, raw.length), (opcode::Send::CODE, -5, 7));
        assert_eq!((raw.address, raw.user_data), (bytes.as_ptr() as u64, 0x1234));
        assert_eq!(raw.operation_flags, 0x4000);
        assert_eq!(raw.into_entry().get_user_data(), 0x1234);
    }
}
