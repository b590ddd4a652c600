//! For tests that count what belongs to the whole process, descriptors or mappings, or that spoil
//! it: each runs in a process of its own, where no other test's thread is in the way.

use std::env;
use std::process::Command;

const INSIDE: &str = "RINGPOLL_TEST_INSIDE";

/// Whether this is that process. If not, the test of that name is run in one, which must succeed,
/// and what it prints is printed.
///
/// `name` is the test's whole path within this crate, such as `slots::tests::a_generation_wraps`.
pub(crate) fn is_inside(name: &str) -> bool {
    if env::var_os(INSIDE).is_some_and(|inside| inside == name) {
        return true;
    }
    let program = env::current_exe().expect("a test knows its own program");
    let output = Command::new(program)
        .args([name, "--exact", "--nocapture", "--include-ignored", "--test-threads=1"])
        .env(INSIDE, name)
        .output()
        .expect("a test's own program can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}, in a process of its own: {}", output.status);
    assert!(text.contains("1 passed"), "no test is called {name}");
    false
}
