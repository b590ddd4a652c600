//! A process of its own for a test that counts the descriptors or mappings of the process, or that
//! damages it.

use std::env;
use std::process::Command;

const OWN_PROCESS: &str = "RINGPOLL_TEST_OWN_PROCESS";

/// Returns true in that process. Otherwise runs the test in one and prints its output. `name` is
/// the test's path in its crate, such as `slab::tests::generations_wrap`.
///
/// # Panics
/// If the test fails there.
pub fn is_own_process(name: &str) -> bool {
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
