//! Runs the test programs one after the other and extracts their results.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::RESULTS;
use crate::work::{Results, Suite, SuiteResult};

pub(super) fn run(suites: &[Suite], results: &mut Results) {
    for suite in suites {
        results.suites.push(run_one(suite));
    }
}

fn run_one(suite: &Suite) -> SuiteResult {
    println!("suite {}", suite.name);
    let log = Path::new(RESULTS).join(format!("{}.log", suite.name.replace([':', '/'], "_")));
    let file = File::create(&log).expect("memory suffices");
    let started = Instant::now();
    let mut child = Command::new(&suite.program)
        .args(&suite.arguments)
        // Skipped tests are failures.
        .env("CI", "true")
        .env("RINGPOLL_TESTS", "full")
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a descriptor"))
        .stderr(file)
        .spawn()
        .expect("it is in the initramfs");
    let limit = Duration::from_secs(suite.limit_s);
    let exit = loop {
        if let Some(status) = child.try_wait().expect("it is a child process") {
            break status.code();
        }
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        thread::sleep(Duration::from_millis(50));
    };
    let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let (passed, failed) = test_counts(&text);
    let skipped = text.lines().filter(|line| line.starts_with("skipped: "));
    let skipped = skipped.map(str::to_owned).collect();
    let failures = if exit == Some(0) { Vec::new() } else { failures(&text) };
    SuiteResult {
        name: suite.name.clone(),
        exit,
        passed,
        failed,
        skipped,
        failures,
        took_s: started.elapsed().as_secs_f64(),
    }
}

/// Returns the start of the program's list of failures. The log of the suite contains all of it.
fn failures(text: &str) -> Vec<String> {
    const MAX_LINES: usize = 80;
    let lines: Vec<_> = text.lines().collect();
    let list = lines.iter().position(|&line| line == "failures:");
    let from = list.unwrap_or(lines.len().saturating_sub(MAX_LINES));
    lines[from..].iter().take(MAX_LINES).map(|&it| it.to_owned()).collect()
}

/// Parses the last `test result: ok. 12 passed; 0 failed; …`: earlier ones are of tests that run
/// in their own process.
fn test_counts(text: &str) -> (u64, u64) {
    let Some(line) = text.lines().rev().find(|line| line.starts_with("test result: ")) else {
        return (0, 0);
    };
    let before = |word: &str| -> u64 {
        let words: Vec<_> = line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        let index = words.iter().position(|&it| it == word);
        index.and_then(|index| words[index - 1].parse().ok()).unwrap_or(0)
    };
    (before("passed"), before("failed"))
}

pub(crate) fn failure_output_is_extracted() {
    let text = "test a ... ok\nfailures:\n\n---- b stdout ----\nleft: 1\n\ntest result: FAILED";
    assert_eq!(failures(text)[2..4], ["---- b stdout ----", "left: 1"]);
    assert_eq!(
        failures("test a ... ok\ntest b has been running"),
        ["test a ... ok", "test b has been running"]
    );
}

pub(crate) fn last_test_result_is_used() {
    let text = "test result: ok. 1 passed; 0 failed; 0 ignored\n\
        test result: FAILED. 12 passed; 3 failed; 0 ignored; finished in 0.1s\nmore\n";
    assert_eq!(test_counts(text), (12, 3));
    assert_eq!(test_counts("killed"), (0, 0));
}
