//! What stands in the queues, to be read and written: the crate io-uring lets entries only be
//! built, and completions only be read.

use std::mem::transmute;

use ::io_uring::squeue;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Entry {
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

/// A submission queue entry, laid out as the kernel has it (`struct io_uring_sqe`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawEntry {
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

impl RawEntry {
    pub(crate) fn of(entry: &squeue::Entry) -> Self {
        // SAFETY: the entry is the kernel's struct and nothing else, of which this is the layout;
        // every bit pattern is valid for integers.
        unsafe { transmute(entry.clone()) }
    }

    pub(crate) fn into_entry(self) -> squeue::Entry {
        // SAFETY: as above, the other way round: the kernel's struct is integers too.
        unsafe { transmute(self) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::io_uring::{opcode, types};

    #[test]
    fn the_layout_is_the_kernels() {
        let bytes = [0u8; 7];
        let entry = opcode::Send::new(types::Fd(-5), bytes.as_ptr(), 7).flags(0x4000).build();
        let raw = RawEntry::of(&entry.user_data(0x1234));
        assert_eq!((raw.opcode, raw.fd, raw.length), (opcode::Send::CODE, -5, 7));
        assert_eq!((raw.address, raw.user_data), (bytes.as_ptr() as u64, 0x1234));
        assert_eq!(raw.operation_flags, 0x4000);
        assert_eq!(raw.into_entry().get_user_data(), 0x1234);
    }
}
