//! Finds warnings and errors of the kernel in its console output.

/// Parts of the messages of kernels from 5.10 on.
const KERNEL_WARNINGS: &[&str] = &[
    "BUG:",
    "WARNING: CPU:",
    "WARNING: possible",
    "WARNING: suspicious",
    "WARNING: bad unlock",
    "WARNING: held lock",
    "WARNING: inconsistent",
    "Oops:",
    "Oops ",
    "kernel BUG at",
    "Kernel panic",
    "Call Trace:",
    "general protection fault",
    "unable to handle",
    "soft lockup",
    "hard LOCKUP",
    "blocked for more than",
    "detected stalls",
    "self-detected stall",
    "detected expedited stalls",
    "KASAN:",
    "KCSAN:",
    "UBSAN:",
    "refcount_t:",
    "Out of memory:",
    "segfault at",
    "traps:",
    "scheduling while atomic",
    "INFO: task",
    "list_add corruption",
    "list_del corruption",
    "stack-protector:",
    "possible circular locking",
];

/// Parts of matching lines that are harmless on such a machine.
const IGNORED: &[&str] = &[];

/// Returns the lines that contain a warning or an error.
pub(crate) fn kernel_warnings(console: &str) -> Vec<String> {
    let is_one = |line: &&str| {
        KERNEL_WARNINGS.iter().any(|it| line.contains(it))
            && !IGNORED.iter().any(|it| line.contains(it))
    };
    console.lines().filter(is_one).map(|line| line.trim().to_owned()).collect()
}

pub(crate) fn kernel_warnings_are_found() {
    let console = "[    0.5] Linux version 6.1\n\
        [    1.0] WARNING: CPU: 0 PID: 1 at io_uring/io_uring.c:1 io_x+0x1/0x2\r\n\
        [    1.1] rcu: INFO: rcu_preempt self-detected stall on CPU\n\
        [    1.2] INFO: task iou-wrk-1:2 blocked for more than 120 seconds.\n\
        [    1.3] BUG: KASAN: use-after-free in x\n\
        [    1.4] ringpoll[70]: segfault at 0 ip 0 sp 0 error 4\n\
        [    1.5] Kernel panic - not syncing: Fatal exception\n\
        [    1.6] Spectre V2 : Mitigation: Retpolines\n";
    let found = kernel_warnings(console);
    assert_eq!(found.len(), 6, "{found:?}");
    assert!(kernel_warnings("[    1.6] Run /init as init process\n").is_empty());
}
