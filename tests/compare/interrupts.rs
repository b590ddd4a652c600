//! Ctrl-C ends a comparison with the rounds measured so far, and nothing of the live view is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Command;

use ringpoll::result::StopReason;
use rustix::process::{Pid, Signal, kill_process};

use crate::program::Comparison;
use common::{run_on_terminal, wait_until};

/// Returns the IDs of the child processes.
fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn interrupted_comparison_leaves_no_empty_file() {
    for signal in [Signal::HUP, Signal::QUIT] {
        let mut comparison = Comparison::churn(&["epoll:level", "epoll:edge"]);
        let child = comparison.command.spawn().expect("the program starts");
        wait_until("a server is started", || !children_of(child.id()).is_empty());
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let output = child.wait_with_output().expect("it ends");
        let finished = comparison.finished(output);
        // A slow machine may measure a round before the signal arrives.
        if finished.exit_code() == 1 {
            assert!(finished.stderr().contains("interrupted before"), "{}", finished.stderr());
            assert!(!finished.has_json());
        } else {
            finished.result();
        }
    }
}

#[test]
fn interrupted_comparison_has_a_result_and_leaves_no_processes() {
    let mut comparison = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1000", "--budget", "100s", "--rate", "500"]);
    let child = comparison.command.spawn().expect("the program starts");
    let process = child.id();
    let mut servers = Vec::new();
    // Two servers for the probes, four for the calibration, whose number depends on the machine
    // unless the rate is given, and three for each batch: the second block has started.
    wait_until("rounds are measured", || {
        servers.extend(children_of(process));
        servers.sort_unstable();
        servers.dedup();
        servers.len() >= 13
    });
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let finished = comparison.finished(output);
    let result = finished.result();
    assert_eq!(result.experiments[0].stop_reason, StopReason::Interrupted);
    assert!(!result.experiments[0].rounds.is_empty());
    for server in servers {
        let status = fs::read_to_string(format!("/proc/{server}/comm")).unwrap_or_default();
        assert!(!status.contains("exe") && !status.contains("ringpoll"), "{server}: {status}");
    }
}

#[test]
fn live_view_shows_intervals_and_is_removed() {
    for columns in [80, 20] {
        let mut comparison = Comparison::churn(&["epoll:level", "epoll:edge"])
            .with(["--blocks", "1000", "--budget", "100s"]);
        comparison.command.env("TERM", "xterm");
        let has_interval = |screen: &str| screen.lines().any(|it| it.ends_with("%]"));
        let command = std::mem::replace(&mut comparison.command, Command::new(""));
        let shown = run_on_terminal(command, columns, has_interval);
        for text in ["calibrating", "block 1 of ", " s left", "measuring epoll", "so far"] {
            assert!(
                shown.screens.iter().any(|it| it.contains(text)),
                "{text}: {:?}",
                shown.screens
            );
        }
        shown.assert_nothing_is_left();
        let experiment = comparison.finished(shown.output).result().experiments.remove(0);
        assert_eq!(experiment.stop_reason, StopReason::Interrupted);
    }
}

#[test]
fn comparison_without_a_terminal_prints_plain_lines() {
    let mut comparison = Comparison::churn(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1000", "--budget", "100s"]);
    let mut child = comparison.command.spawn().expect("the program starts");
    let mut errors = BufReader::new(child.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("text");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert!(line.starts_with("ringpoll compare: ") && line.contains(" s left"), "{line}");
    assert!(!line.contains('\x1b') && !line.contains('\r'), "{line}");
    comparison.finished(child.wait_with_output().expect("it ends")).result();
}
