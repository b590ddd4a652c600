//! The kernel that ships.

use ::io_uring::IoUring;

use crate::engine_options::EngineOptions;
use crate::error::BackendError;
use crate::io_uring::set_up;
use crate::kernel::{Kernel, RingSetup};

/// The kernel that ships.
#[derive(Debug)]
pub struct RealKernel;

impl Kernel for RealKernel {
    type Ring = IoUring;

    fn set_up_ring(requested: &EngineOptions) -> Result<RingSetup<IoUring>, BackendError> {
        set_up(requested)
    }
}
