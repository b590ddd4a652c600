//! `registered_ring`: io_uring_enter(2) gets an index instead of the ring's descriptor
//! (IORING_REGISTER_RING_FDS, see io_uring_register_ring_fd(3)).
//!
//! Replaces the descriptor lookup in each system call.
//!
//! Kernel: Linux 5.18.
//!
//! Helps a little in processes with several threads: it saves two atomic operations a call. Hurts
//! nowhere.

use std::os::fd::RawFd;

use crate::kernel::KernelRing;
use crate::techniques::Techniques;

/// Registers the ring if the technique is on, and returns its index. Turns the technique off if the
/// kernel does not support it.
pub(crate) fn register(ring: &mut impl KernelRing, techniques: &mut Techniques) -> Option<RawFd> {
    let index = techniques.registered_ring.then(|| ring.register_ring_fd().ok()).flatten();
    techniques.registered_ring = index.is_some();
    index
}

#[cfg(test)]
mod tests {
    use crate::backend::Backend;
    use crate::engine_options::EngineOptions;
    use crate::open::{Variant, open};
    use crate::techniques::Techniques;

    /// A thread can register sixteen rings (IO_RINGFD_REG_MAX).
    #[test]
    fn dropped_ring_frees_its_registered_index() {
        if !common::io_uring_is_available("dropped_ring_frees_its_registered_index") {
            return;
        }
        let techniques = Techniques { registered_ring: true, ..Techniques::NONE };
        let options = EngineOptions { techniques, ..EngineOptions::default() };
        let names = || open(Variant::IoUringTuned, &options).unwrap().techniques();
        let first = names();
        assert!((0..20).all(|_| names() == first));
    }
}
