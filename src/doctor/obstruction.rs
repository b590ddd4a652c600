//! Reason why io_uring is unavailable. The errno alone is ambiguous.

use ringpoll_backends::BackendError;
use ringpoll_backends::refusal::Obstacle;

use super::diagnosis::{Obstruction, ObstructionKind};
use super::kernel_build;
use super::kernel_faults::Release;

/// First release with io_uring.
const FIRST_RELEASE: Release = Release::new(5, 1, 0);

/// Explains a refusal by a kernel with this `uname -r`.
pub fn explain(error: &BackendError, release: &str) -> Obstruction {
    let kind = classify(error, release);
    let remedy = match kind {
        ObstructionKind::Seccomp => format!(
            "{}; `ringpoll doctor --seccomp-profile` prints the entry to add (Docker: \
             --security-opt seccomp=FILE; systemd: SystemCallFilter=io_uring_setup \
             io_uring_enter io_uring_register)",
            error.remedy
        ),
        ObstructionKind::OldKernel => "use Linux 5.10 or later, or an epoll backend".to_owned(),
        ObstructionKind::NotBuilt => {
            "use a kernel that was built with CONFIG_IO_URING=y, or an epoll backend".to_owned()
        }
        _ => error.remedy.clone(),
    };
    let cause = match kind {
        ObstructionKind::NotBuilt => "this kernel was built without CONFIG_IO_URING".to_owned(),
        ObstructionKind::OldKernel
            if errno(error) == Some(rustix::io::Errno::NOSYS.raw_os_error()) =>
        {
            "this kernel is older than io_uring".to_owned()
        }
        _ => error.cause.clone(),
    };
    let operation = error.operation.clone();
    Obstruction { kind, operation, errno: errno(error), cause, remedy }
}

fn errno(error: &BackendError) -> Option<i32> {
    error.source.as_ref().and_then(std::io::Error::raw_os_error)
}

fn classify(error: &BackendError, release: &str) -> ObstructionKind {
    let Some(source) = &error.source else {
        // The ring was set up, but lacks operations that the server needs.
        return ObstructionKind::OldKernel;
    };
    let too_many_files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    if too_many_files.iter().any(|it| Some(it.raw_os_error()) == source.raw_os_error()) {
        return ObstructionKind::OpenFiles;
    }
    match Obstacle::of(source) {
        Obstacle::Disabled => ObstructionKind::Disabled,
        Obstacle::DisabledForUnprivileged => ObstructionKind::DisabledForUnprivileged,
        Obstacle::Seccomp => ObstructionKind::Seccomp,
        Obstacle::SecurityModule => ObstructionKind::SecurityModule,
        Obstacle::LockedMemory => ObstructionKind::LockedMemory,
        Obstacle::TooOld => ObstructionKind::OldKernel,
        absent @ (Obstacle::Absent | Obstacle::AbsentOrSeccomp) => {
            let seccomp = absent == Obstacle::AbsentOrSeccomp;
            classify_enosys(Release::parse(release), is_built_in(release), seccomp)
        }
        _ => ObstructionKind::Other,
    }
}

/// Returns true if the kernel was built with io_uring, or `None` if its configuration cannot be
/// read.
fn is_built_in(release: &str) -> Option<bool> {
    let options = kernel_build::options(release)?;
    Some(options.iter().any(|(name, value)| name == "CONFIG_IO_URING" && value == "y"))
}

/// Classifies ENOSYS.
fn classify_enosys(
    release: Option<Release>,
    built_in: Option<bool>,
    seccomp: bool,
) -> ObstructionKind {
    match (release, built_in) {
        (Some(release), _) if release < FIRST_RELEASE => ObstructionKind::OldKernel,
        (_, Some(false)) => ObstructionKind::NotBuilt,
        _ if seccomp => ObstructionKind::Seccomp,
        _ => ObstructionKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enosys_has_four_causes() {
        let [old, new] = ["4.19.0-27-amd64", "6.12.48"].map(Release::parse);
        assert_eq!(classify_enosys(old, None, true), ObstructionKind::OldKernel);
        assert_eq!(classify_enosys(new, Some(false), true), ObstructionKind::NotBuilt);
        assert_eq!(classify_enosys(new, Some(true), true), ObstructionKind::Seccomp);
        assert_eq!(classify_enosys(new, None, true), ObstructionKind::Seccomp);
        assert_eq!(classify_enosys(new, Some(true), false), ObstructionKind::Unavailable);
    }
}
