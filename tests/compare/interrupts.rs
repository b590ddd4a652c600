//! Ctrl-C ends a comparison with what it has so far.

use std::fs;

use ringpoll::report::result::Ended;
use rustix::process::{Pid, Signal, kill_process};

use crate::common::wait_until;
use crate::program::Comparison;

/// The processes that the process of this id has started.
fn children_of(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn an_interrupted_comparison_judges_what_it_has_and_leaves_nobody_behind() {
    let mut comparison = Comparison::of(&["epoll:level", "epoll:edge"])
        .with(["--blocks", "1000", "--budget", "100s"]);
    let child = comparison.command.spawn().expect("the program starts");
    let process = child.id();
    let mut servers = Vec::new();
    // Two to be introduced, four of the calibration, three for each heat: the second block has
    // begun.
    wait_until("rounds are run", || {
        servers.extend(children_of(process));
        servers.sort_unstable();
        servers.dedup();
        servers.len() >= 13
    });
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let compared = comparison.ended(output);
    let result = compared.result();
    assert_eq!(result.experiments[0].ended, Ended::Interrupted);
    assert!(!result.experiments[0].rounds.is_empty());
    for server in servers {
        let status = fs::read_to_string(format!("/proc/{server}/comm")).unwrap_or_default();
        assert!(!status.contains("exe") && !status.contains("ringpoll"), "{server}: {status}");
    }
}
