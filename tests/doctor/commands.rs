//! Runs `ringpoll doctor`, also where system calls, capabilities or memory are refused.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::Value;

pub(crate) fn doctor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    command.arg("doctor").args(arguments).stdin(Stdio::null());
    command
}

/// Runs the command, and returns its JSON and its exit code.
pub(crate) fn diagnosis(command: &mut Command) -> (Value, i32) {
    let output = command.output().unwrap();
    let code = output.status.code().unwrap();
    (serde_json::from_str(&stdout_of(&output)).unwrap(), code)
}

/// Returns the standard output of a command without error output.
pub(crate) fn stdout_of(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Makes this system call fail with `errno` in the command.
pub(crate) fn refuse_call(command: &mut Command, call: i64, errno: i32) -> &mut Command {
    let architecture = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, vec![])]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        architecture,
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    let apply =
        move || apply_filter(&program).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    // SAFETY: between fork and exec it makes two system calls and does not allocate.
    unsafe { command.pre_exec(apply) }
}

/// Drops a capability in the command, also if the tests run as root.
pub(crate) fn without_capability(command: &mut Command, capability: libc::c_ulong) -> &mut Command {
    let drop_capability = move || {
        // An unprivileged process cannot drop it, and does not have it.
        // SAFETY: PR_CAPBSET_DROP takes a number and no pointers.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { command.pre_exec(drop_capability) }
}

/// Limits the locked memory of the command as for an unprivileged user.
pub(crate) fn with_locked_memory_limit(command: &mut Command, bytes: u64) -> &mut Command {
    const CAP_IPC_LOCK: libc::c_ulong = 14;
    let lower = move || {
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        setrlimit(Resource::Memlock, limit).map_err(io::Error::from)
    };
    let command = without_capability(command, CAP_IPC_LOCK);
    // SAFETY: between fork and exec it makes one system call and does not allocate.
    unsafe { command.pre_exec(lower) }
}
