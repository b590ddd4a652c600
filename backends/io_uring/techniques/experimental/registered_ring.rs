//! `registered_ring`: io_uring_enter(2) gets an index instead of the ring's descriptor
//! (IORING_REGISTER_RING_FDS, see io_uring_register_ring_fd(3)).
//!
//! Replaces the descriptor lookup in each system call.
//!
//! Kernel: Linux 5.18.
//!
//! Helps a little in processes with several threads: it saves two atomic operations a call. Hurts
//! nowhere.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use ::io_uring::IoUring;

use super::min_wait;

const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const ENTER_EXT_ARG: u32 = 8;
const ENTER_REGISTERED_RING: u32 = 16;

/// `struct io_uring_rsrc_update`
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// `struct io_uring_getevents_arg`
#[repr(C)]
struct GeteventsArg {
    signal_mask: u64,
    signal_mask_bytes: u32,
    min_wait_us: u32,
    time: u64,
}

/// The index of a ring, valid on the thread that registered it. The registration keeps the ring
/// open until that thread ends, so this must be dropped before the ring.
pub(crate) struct RegisteredRing {
    index: u32,
    ring: RawFd,
}

impl RegisteredRing {
    /// # Errors
    /// EINVAL if the kernel does not support it.
    pub(crate) fn new(ring: &IoUring) -> io::Result<Self> {
        let mut update =
            RsrcUpdate { offset: u32::MAX, reserved: 0, data: ring.as_raw_fd() as u64 };
        // SAFETY: the update lives through the call, which writes the index to it.
        let registered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                ring.as_raw_fd(),
                REGISTER_RING_FDS,
                &raw mut update,
                1,
            )
        };
        match registered {
            1 => Ok(Self { index: update.offset, ring: ring.as_raw_fd() }),
            0 => Err(io::ErrorKind::Unsupported.into()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Calls io_uring_enter(2) with the index.
    #[cfg_attr(
        any(test, feature = "simulation"),
        allow(dead_code, reason = "tests enter through their own queues")
    )]
    pub(crate) fn enter(
        &self,
        ring: &mut IoUring,
        want: usize,
        min_wait_us: u32,
    ) -> io::Result<usize> {
        let queue = ring.submission();
        let (length, overflow, work) = (queue.len(), queue.cq_overflow(), queue.taskrun());
        let asleep = queue.need_wakeup();
        drop(queue);
        let mut flags = ENTER_REGISTERED_RING;
        if want > 0 || overflow || work {
            flags |= ENTER_GETEVENTS;
        }
        if ring.params().is_setup_sqpoll() && asleep {
            flags |= ENTER_SQ_WAKEUP;
        }
        let time = min_wait::max_wait_address();
        let mut arguments =
            GeteventsArg { signal_mask: 0, signal_mask_bytes: 0, min_wait_us, time };
        let (pointer, bytes) = if min_wait_us > 0 {
            flags |= ENTER_EXT_ARG;
            (&raw mut arguments, size_of::<GeteventsArg>())
        } else {
            (std::ptr::null_mut(), 0)
        };
        // SAFETY: the arguments live through the call, and `bytes` is their size. The callers that
        // pushed the SQEs have promised that the memory they point to is valid.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.index,
                length as u32,
                want as u32,
                flags,
                pointer,
                bytes,
            )
        };
        usize::try_from(entered).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for RegisteredRing {
    fn drop(&mut self) {
        let mut update = RsrcUpdate { offset: self.index, reserved: 0, data: 0 };
        // SAFETY: the update lives through the call. The ring is still open: its owner drops this
        // first.
        unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.ring,
                UNREGISTER_RING_FDS,
                &raw mut update,
                1,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::{Backend, EngineOptions, Variant, open};
    use crate::io_uring::faults::tests::skip_if_refused;
    use crate::io_uring::techniques::Techniques;

    /// A thread can register sixteen rings (IO_RINGFD_REG_MAX).
    #[test]
    fn dropped_ring_frees_its_registered_index() {
        if skip_if_refused("io_uring::techniques::registered_ring::tests") {
            return;
        }
        let techniques = Techniques { registered_ring: true, ..Techniques::NONE };
        let options = EngineOptions { techniques, ..EngineOptions::default() };
        let names = || open(Variant::IoUringTuned, &options).unwrap().techniques();
        let first = names();
        assert!((0..20).all(|_| names() == first));
    }
}
