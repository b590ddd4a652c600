//! Why io_uring cannot be had. The kernel's word alone does not tell the cases apart.

use ringpoll_backends::BackendError;
use ringpoll_backends::kernel::Obstacle;

use super::diagnosis::{Case, Obstruction};
use super::kernel_faults::Release;
use crate::compare::environment::build_configuration;

/// The first release with io_uring.
const FIRST: Release = Release::new(5, 1, 0);

/// What this refusal means on a kernel of this release.
pub fn of(error: &BackendError, release: &str) -> Obstruction {
    let case = case(error, release);
    let remedy = match case {
        Case::Seccomp => format!(
            "{}; `ringpoll doctor --seccomp-profile` prints what has to be added (Docker: \
             --security-opt seccomp=FILE; systemd: SystemCallFilter=io_uring_setup \
             io_uring_enter io_uring_register)",
            error.remedy
        ),
        Case::OldKernel => "use Linux 5.10 or later, or an epoll backend".to_owned(),
        Case::NotBuilt => {
            "use a kernel that was built with CONFIG_IO_URING=y, or an epoll backend".to_owned()
        }
        _ => error.remedy.clone(),
    };
    let cause = match case {
        Case::NotBuilt => "this kernel was built without CONFIG_IO_URING".to_owned(),
        Case::OldKernel if errno(error) == Some(rustix::io::Errno::NOSYS.raw_os_error()) => {
            "this kernel is older than io_uring".to_owned()
        }
        _ => error.cause.clone(),
    };
    let operation = error.operation.clone();
    Obstruction { case, operation, errno: errno(error), cause, remedy }
}

fn errno(error: &BackendError) -> Option<i32> {
    error.source.as_ref().and_then(std::io::Error::raw_os_error)
}

fn case(error: &BackendError, release: &str) -> Case {
    let Some(source) = &error.source else {
        // A ring was made, and lacks what is needed.
        return Case::OldKernel;
    };
    let too_many_files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    if too_many_files.iter().any(|it| Some(it.raw_os_error()) == source.raw_os_error()) {
        return Case::OpenFiles;
    }
    match Obstacle::behind(source) {
        Obstacle::SwitchedOff => Case::SwitchedOff,
        Obstacle::SwitchedOffForUnprivileged => Case::SwitchedOffForUnprivileged,
        Obstacle::Seccomp => Case::Seccomp,
        Obstacle::SecurityModule => Case::SecurityModule,
        Obstacle::LockedMemory => Case::LockedMemory,
        Obstacle::TooOld => Case::OldKernel,
        absent @ (Obstacle::Absent | Obstacle::AbsentOrSeccomp) => {
            let seccomp = absent == Obstacle::AbsentOrSeccomp;
            absent_case(Release::parse(release), built_in(release), seccomp)
        }
        _ => Case::Other,
    }
}

/// Whether the kernel was built with io_uring, where its configuration can be read.
fn built_in(release: &str) -> Option<bool> {
    let options = build_configuration(release)?;
    Some(options.iter().any(|option| option.name == "CONFIG_IO_URING" && option.value == "y"))
}

/// A call that is not there.
fn absent_case(release: Option<Release>, built_in: Option<bool>, seccomp: bool) -> Case {
    match (release, built_in) {
        (Some(release), _) if release < FIRST => Case::OldKernel,
        (_, Some(false)) => Case::NotBuilt,
        _ if seccomp => Case::Seccomp,
        _ => Case::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_not_there_has_four_causes() {
        let [old, new] = ["4.19.0-27-amd64", "6.12.48"].map(Release::parse);
        assert_eq!(absent_case(old, None, true), Case::OldKernel);
        assert_eq!(absent_case(new, Some(false), true), Case::NotBuilt);
        assert_eq!(absent_case(new, Some(true), true), Case::Seccomp);
        assert_eq!(absent_case(new, None, true), Case::Seccomp);
        assert_eq!(absent_case(new, Some(true), false), Case::Absent);
    }
}
