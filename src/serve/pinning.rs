//! Pins workers to CPUs.

use ringpoll_backends::{BackendError, ErrorKind};
use rustix::io::Errno;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins the calling thread to the `index`-th of the CPUs that it may use, modulo their number.
///
/// # Errors
/// sched_getaffinity(2) or sched_setaffinity(2) fails, for example because a CPU went offline.
pub(super) fn pin_to_cpu(index: usize) -> Result<(), BackendError> {
    let failed = |operation: &str, error: Errno| {
        let cause = "the worker cannot be pinned to a CPU";
        BackendError::new(ErrorKind::Unexpected, operation, cause)
            .with_source(error.into())
            .with_remedy("set server.pin_workers to false")
    };
    let allowed = sched_getaffinity(None).map_err(|error| failed("sched_getaffinity", error))?;
    let cpus: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&it| allowed.is_set(it)).collect();
    let mut one = CpuSet::new();
    one.set(cpus[index % cpus.len()]);
    sched_setaffinity(None, &one).map_err(|error| failed("sched_setaffinity", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pinned_thread_may_use_one_cpu() {
        std::thread::spawn(|| {
            pin_to_cpu(usize::MAX).unwrap();
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        })
        .join()
        .unwrap();
    }
}
