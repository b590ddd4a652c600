//! A network namespace of its own, in which packets can be lost without harm to anybody else.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};

use crate::common::{root, tool};

/// Whether the test of that name can have namespaces; if not, it has said so.
pub(crate) fn are_possible(test: &str) -> bool {
    root(test) && tool(test, "ip").is_some() && tool(test, "nft").is_some()
}

/// Runs `work` on a thread in a network namespace that has nothing but a loopback interface. Each
/// thread and each program that it starts is in there as well. It is gone when all have ended.
pub(crate) fn within<'scope, Result: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> Result + Send + 'scope,
) -> ScopedJoinHandle<'scope, Result> {
    let in_there = || {
        // SAFETY: unshare takes no pointers; of what threads share, CLONE_NEWNET concerns only
        // the network, and only for this one.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(unshared, 0, "unshare: {}", io::Error::last_os_error());
        run("ip", &["link", "set", "lo", "up"], "");
        work()
    };
    thread::Builder::new().name(name).spawn_scoped(scope, in_there).expect("a thread")
}

/// The rules of the calling thread's namespace from now on, in nft's own language.
pub(crate) fn filter_input(rules: &str) {
    let rules = format!(
        "table inet test
         delete table inet test
         table inet test {{
             chain input {{
                 type filter hook input priority 0
                 {rules}
             }}
         }}"
    );
    run("nft", &["-f", "-"], &rules);
}

fn run(program: &str, arguments: &[&str], input: &str) {
    let path = tool("a network namespace", program).expect("it was there before");
    let mut child = Command::new(path)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads its input");
    drop(stdin);
    assert!(child.wait().expect("a child of ours").success(), "{program} {arguments:?} {input}");
}
