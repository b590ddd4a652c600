//! Network namespaces, in which a test can drop packets without affecting anything else.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};

use crate::{find_tool, is_root};

/// Returns whether this process can create namespaces and filter rules. If not, reports that `test`
/// is skipped.
pub fn can_create(test: &str) -> bool {
    is_root(test) && find_tool(test, "ip").is_some() && find_tool(test, "nft").is_some()
}

/// Runs `work` on a thread in a new network namespace that has only a loopback interface. Threads
/// and programs that `work` starts inherit the namespace, which ends with the last of them.
pub fn spawn<'scope, Result: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> Result + Send + 'scope,
) -> ScopedJoinHandle<'scope, Result> {
    let in_namespace = || {
        // SAFETY: unshare takes no pointers, and CLONE_NEWNET changes only the network namespace of
        // the calling thread.
        let unshared = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(unshared, 0, "unshare: {}", io::Error::last_os_error());
        run("ip", &["link", "set", "lo", "up"], "");
        work()
    };
    thread::Builder::new().name(name).spawn_scoped(scope, in_namespace).expect("a thread")
}

/// Replaces the input rules of the calling thread's namespace. The rules are in nft(8) syntax.
pub fn set_input_rules(rules: &str) {
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
    let path = find_tool("a network namespace", program).expect("can_create found it");
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
