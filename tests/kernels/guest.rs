//! The agent inside a guest: this program executes the host's work and sends the results.

mod compare;
mod keep_alive;
mod observe;
mod path_length;
mod suites;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::message::GuestMessage;
use crate::work::{GuestFault, Results, Work};
pub(crate) use suites::{failure_output_is_extracted, last_test_result_is_used};

/// Directory of the result files.
pub(crate) const RESULTS: &str = "/results";

/// Program under test.
pub(crate) const RINGPOLL: &str = "/programs/ringpoll";

/// Executes `/work.json` and sends the results.
pub(crate) fn main() {
    let work = fs::read_to_string("/work.json").expect("the initramfs contains it");
    let work: Work = serde_json::from_str(&work).expect("the host wrote it");
    fs::create_dir_all(RESULTS).expect("memory suffices");
    panic_or_hang(work.fault);
    let mut results = Results {
        release: first_line("/proc/sys/kernel/osrelease"),
        version: first_line("/proc/version"),
        ..Results::default()
    };
    if work.observe {
        observe::all(&mut results);
    }
    suites::run(&work.suites, &mut results);
    if let Some(plan) = &work.path_length {
        path_length::measure(plan, &mut results);
    }
    if !work.compare.is_empty() {
        compare::run(&work.compare, &mut results);
    }
    let exit_code = match work.fault {
        Some(GuestFault::Exit(code)) => code,
        _ => i32::from(results.suites.iter().any(|suite| suite.exit != Some(0))),
    };
    let json = serde_json::to_vec_pretty(&results).expect("plain data");
    fs::write(Path::new(RESULTS).join("results.json"), json).expect("memory suffices");
    send(exit_code, work.fault);
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn panic_or_hang(fault: Option<GuestFault>) {
    match fault {
        Some(GuestFault::Panic) => {
            let _ = fs::write("/proc/sysrq-trigger", "c");
        }
        Some(GuestFault::Hang) => loop {
            thread::sleep(Duration::from_secs(1));
        },
        _ => {}
    }
}

/// Sends all results as one tar in one message through the second serial port.
fn send(exit_code: i32, fault: Option<GuestFault>) {
    let tar = Command::new("/bin/busybox")
        .args(["tar", "-c", "-f", "-", "-C", RESULTS, "."])
        .output()
        .expect("busybox is in the initramfs");
    assert!(tar.status.success(), "tar: {}", String::from_utf8_lossy(&tar.stderr));
    let mut bytes = GuestMessage { exit_code, bytes: tar.stdout }.to_bytes();
    if fault == Some(GuestFault::TruncatedMessage) {
        bytes.truncate(bytes.len() / 2);
    }
    let mut port = File::options().read(true).write(true).open("/dev/ttyS1").expect("a port");
    // In cooked mode each newline becomes two bytes.
    let mut mode = tcgetattr(&port).expect("a serial port");
    mode.make_raw();
    tcsetattr(&port, OptionalActions::Now, &mode).expect("a serial port");
    port.write_all(&bytes).expect("the port is writable");
    rustix::termios::tcdrain(&port).expect("the port is writable");
}
