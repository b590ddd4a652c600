//! Queue entries that can be read and written: the io-uring crate can only build SQEs and only read
//! CQEs.

use std::mem::transmute;

use io_uring::{cqueue, squeue};

/// A completion queue entry, with the layout of `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawCqe {
    /// The `user_data` of the SQE.
    pub user_data: u64,
    /// A count, a descriptor or -errno.
    pub result: i32,
    /// IORING_CQE_F_*
    pub flags: u32,
}

impl From<&cqueue::Entry> for RawCqe {
    fn from(entry: &cqueue::Entry) -> Self {
        Self { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
    }
}

impl From<RawCqe> for cqueue::Entry {
    fn from(raw: RawCqe) -> Self {
        // SAFETY: the entry is a `struct io_uring_cqe`, of which this is the layout; every bit
        // pattern is valid for integers.
        unsafe { transmute(raw) }
    }
}

/// A submission queue entry, with the layout of `struct io_uring_sqe`.
#[allow(missing_docs, reason = "the fields of io_uring_enter(2), some of which are unions")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawSqe {
    pub opcode: u8,
    pub flags: u8,
    pub priority: u16,
    pub fd: i32,
    pub offset: u64,
    pub address: u64,
    pub length: u32,
    pub operation_flags: u32,
    pub user_data: u64,
    pub buffer_group: u16,
    pub personality: u16,
    pub file_index: u32,
    rest: [u8; 16],
}

impl From<&squeue::Entry> for RawSqe {
    fn from(entry: &squeue::Entry) -> Self {
        // SAFETY: the entry is a `struct io_uring_sqe`, of which this is the layout; every bit
        // pattern is valid for integers.
        unsafe { transmute(entry.clone()) }
    }
}

impl From<RawSqe> for squeue::Entry {
    fn from(raw: RawSqe) -> Self {
        // SAFETY: as above: both structs are integers only.
        unsafe { transmute(raw) }
    }
}
