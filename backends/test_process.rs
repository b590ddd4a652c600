//! The form of the tests, and a process of its own for a test that counts the descriptors or
//! mappings of the process, or that damages it.

use std::env;
use std::process::Command;

const OWN_PROCESS: &str = "RINGPOLL_TEST_OWN_PROCESS";

/// Returns true if the full form of the tests runs, `RINGPOLL_TESTS=full`. The default one samples.
pub(crate) fn is_full() -> bool {
    env::var_os("RINGPOLL_TESTS").is_some_and(|form| form == "full")
}

/// Returns true in that process. Otherwise runs the test in one, prints its output, and panics if
/// it fails. `name` is the test's path in this crate, such as `slab::tests::generations_wrap`.
pub(crate) fn is_own_process(name: &str) -> bool {
    if env::var_os(OWN_PROCESS).is_some_and(|inside| inside == name) {
        return true;
    }
    let program = env::current_exe().expect("a test knows its own program");
    let output = Command::new(program)
        .args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(OWN_PROCESS, name)
        .output()
        .expect("a test's own program can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}, in a process of its own: {}", output.status);
    assert!(text.contains("1 passed"), "no test is called {name}");
    false
}
