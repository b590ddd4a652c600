//! Keeping a worker on one processor.

use ringpoll_backends::{BackendError, ErrorKind};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins the calling thread to the processor of that index among those that it may use; it starts
/// over where there are fewer.
///
/// # Errors
/// When the kernel does not say which there are, or takes one away meanwhile.
pub(super) fn pin_to(index: usize) -> Result<(), BackendError> {
    let failed = |operation: &str, error: Errno| {
        let cause = "the worker cannot be kept on one processor";
        BackendError::new(ErrorKind::Unexpected, operation, cause)
            .with_source(error.into())
            .with_remedy("set server.pin_workers to false")
    };
    let allowed = sched_getaffinity(None).map_err(|error| failed("sched_getaffinity", error))?;
    let processors: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&it| allowed.is_set(it)).collect();
    let mut one = CpuSet::new();
    one.set(processors[index % processors.len()]);
    sched_setaffinity(None, &one).map_err(|error| failed("sched_setaffinity", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_stays_on_one_processor() {
        std::thread::spawn(|| {
            pin_to(usize::MAX).unwrap();
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        })
        .join()
        .unwrap();
    }
}
