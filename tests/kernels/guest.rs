//! Inside a guest: this same program, as the one that does the work and reports.

mod compare;
mod cost;
mod observe;
mod persistent;
mod suites;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::frame::Frame;
use crate::work::{Misbehaviour, Results, Work};
pub(crate) use suites::{the_last_result_counts, what_failed_is_told};

/// Where the results are gathered, one file each.
pub(crate) const RESULTS: &str = "/results";

/// The program under test.
pub(crate) const RINGPOLL: &str = "/payload/ringpoll";

/// Does what `/work.json` says and sends what it has found.
pub(crate) fn main() {
    let work = fs::read_to_string("/work.json").expect("the host has put it there");
    let work: Work = serde_json::from_str(&work).expect("it is the host's");
    fs::create_dir_all(RESULTS).expect("there is room");
    misbehave_at_once(work.misbehave);
    let mut results = Results {
        release: first_line("/proc/sys/kernel/osrelease"),
        version: first_line("/proc/version"),
        ..Results::default()
    };
    if work.observe {
        observe::all(&mut results);
    }
    suites::run(&work.suites, &mut results);
    if let Some(plan) = &work.cost {
        cost::measure(plan, &mut results);
    }
    if !work.compare.is_empty() {
        compare::run(&work.compare, &mut results);
    }
    let exit_code = match work.misbehave {
        Some(Misbehaviour::Exit(code)) => code,
        _ => i32::from(results.suites.iter().any(|suite| suite.exit != Some(0))),
    };
    let json = serde_json::to_vec_pretty(&results).expect("it is plain data");
    fs::write(Path::new(RESULTS).join("results.json"), json).expect("there is room");
    send(exit_code, work.misbehave);
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn misbehave_at_once(misbehaviour: Option<Misbehaviour>) {
    match misbehaviour {
        Some(Misbehaviour::Panic) => {
            let _ = fs::write("/proc/sysrq-trigger", "c");
        }
        Some(Misbehaviour::Silence) => loop {
            thread::sleep(Duration::from_secs(1));
        },
        _ => {}
    }
}

/// All results as one tar in one frame, through the second serial port.
fn send(exit_code: i32, misbehaviour: Option<Misbehaviour>) {
    let tar = Command::new("/bin/busybox")
        .args(["tar", "-c", "-f", "-", "-C", RESULTS, "."])
        .output()
        .expect("busybox is there");
    assert!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
    let mut bytes = Frame { exit_code, bytes: tar.stdout }.to_bytes();
    if misbehaviour == Some(Misbehaviour::HalfAFrame) {
        bytes.truncate(bytes.len() / 2);
    }
    let mut port = File::options().read(true).write(true).open("/dev/ttyS1").expect("a port");
    // Otherwise each newline becomes two bytes.
    let mut mode = tcgetattr(&port).expect("a serial port");
    mode.make_raw();
    tcsetattr(&port, OptionalActions::Now, &mode).expect("a serial port");
    port.write_all(&bytes).expect("somebody listens");
    rustix::termios::tcdrain(&port).expect("somebody listens");
}
