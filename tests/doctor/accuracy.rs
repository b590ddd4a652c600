//! Accuracy of the diagnosis, tested with code that is independent of the probes.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use io_uring::{IoUring, opcode, squeue::Flags, types};
use ringpoll_backends::{Technique, Techniques};
use serde_json::Value;

use crate::commands::{diagnosis, doctor};
use common::find_tool;

fn run_doctor() -> Value {
    diagnosis(&mut doctor(&["--json"])).0
}

/// Queues an SQE without pointers.
fn push(ring: &mut IoUring, entry: io_uring::squeue::Entry) {
    // SAFETY: no caller passes an SQE with pointers.
    unsafe { ring.submission().push(&entry) }.unwrap();
}

#[test]
fn reported_setup_flags_match_io_uring_setup() {
    type Configure = fn(&mut io_uring::Builder) -> &mut io_uring::Builder;
    let flags: [(&str, Configure); 6] = [
        ("setup_submit_all", |it| it.setup_submit_all()),
        ("setup_coop_taskrun", |it| it.setup_coop_taskrun()),
        ("setup_single_issuer", |it| it.setup_single_issuer()),
        ("setup_defer_taskrun", |it| it.setup_single_issuer().setup_defer_taskrun()),
        ("setup_no_sqarray", |it| it.setup_no_sqarray()),
        ("setup_r_disabled", |it| it.setup_r_disabled()),
    ];
    let found = run_doctor();
    for (name, configure) in flags {
        let mut builder = IoUring::builder();
        let made = configure(&mut builder).build(4).is_ok();
        assert_eq!(found["capabilities"][name], made, "{name}");
    }
}

#[test]
fn reported_cqe_skip_success_suppresses_completions() {
    if run_doctor()["capabilities"]["cqe_skip_success"] != true {
        return;
    }
    let mut ring = IoUring::new(4).unwrap();
    push(&mut ring, opcode::Nop::new().build().user_data(1).flags(Flags::SKIP_SUCCESS));
    push(&mut ring, opcode::Nop::new().build().user_data(2));
    ring.submit_and_wait(1).unwrap();
    let completed: Vec<_> = ring.completion().map(|entry| entry.user_data()).collect();
    assert_eq!(completed, [2]);
}

#[test]
fn reported_close_direct_closes_the_file() {
    if run_doctor()["capabilities"]["close_direct"] != true {
        return;
    }
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut ring = IoUring::new(4).unwrap();
    ring.submitter().register_files(&[near.as_raw_fd()]).unwrap();
    drop(near);
    push(&mut ring, opcode::Close::new(types::Fixed(0)).build());
    ring.submit_and_wait(1).unwrap();
    assert_eq!(ring.completion().next().unwrap().result(), 0);
    assert_eq!(far.read(&mut [0]).unwrap(), 0);
}

#[test]
fn reported_poll_multishot_stays_armed() {
    if run_doctor()["capabilities"]["poll_multishot"] != true {
        return;
    }
    let (mut near, mut far) = UnixStream::pair().unwrap();
    let mut ring = IoUring::new(4).unwrap();
    let readable = opcode::PollAdd::new(types::Fd(near.as_raw_fd()), libc::POLLIN as u32);
    push(&mut ring, readable.multi(true).build());
    ring.submit().unwrap();
    for _ in 0..3 {
        far.write_all(b"x").unwrap();
        ring.submit_and_wait(1).unwrap();
        assert!(io_uring::cqueue::more(ring.completion().next().unwrap().flags()));
        near.read_exact(&mut [0]).unwrap();
    }
}

#[test]
fn server_auto_choice_matches_report() {
    let found = run_doctor();
    let variant: ringpoll_backends::Variant =
        found["auto"]["variant"].as_str().unwrap().parse().unwrap();
    assert_eq!(variant.is_io_uring(), found["io_uring_usable"].as_bool().unwrap());
    let server = common::ServerProcess::start(&["--backend", "auto", "--listen", "127.0.0.1:0"]);
    assert_eq!(server.start_line.contains(" · io_uring, "), variant.is_io_uring());
}

fn techniques_of_a_server(settings: &[String]) -> Vec<String> {
    let mut arguments = vec!["--backend", "io_uring:tuned", "--listen", "127.0.0.1:0"];
    arguments.extend(settings.iter().flat_map(|it| ["--set", it]));
    let server = common::ServerProcess::start(&arguments);
    let mut words = server.start_line.split(" · ").skip_while(|it| !it.contains("worker")).skip(1);
    words.next().unwrap_or_default().trim().split(", ").map(str::to_owned).collect()
}

#[test]
fn server_techniques_match_report() {
    let found = run_doctor();
    if found["io_uring_usable"] != true {
        println!("skipped: io_uring is refused: {}", found["auto"]["reason"]);
        return;
    }
    let all = found["techniques"].as_array().unwrap();
    let in_force: Vec<_> = all.iter().filter(|it| it["in_force"] == true).collect();
    let in_force: Vec<_> = in_force.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(techniques_of_a_server(&[]), in_force);
}

/// Enables each technique with only the techniques that it requires.
#[test]
fn techniques_not_reported_missing_can_be_enabled() {
    for reported in run_doctor()["techniques"].as_array().unwrap() {
        let name = reported["name"].as_str().unwrap();
        let alone = Technique::find(name).unwrap().alone();
        let needs: Vec<_> = alone.names().into_iter().filter(|it| *it != name).collect();
        assert_eq!(reported["needs"], serde_json::json!(needs));
        let setting = |it: &Technique| it.setting(it.value_in(&alone));
        let settings: Vec<_> = Techniques::ALL.iter().map(setting).collect();
        let has = techniques_of_a_server(&settings).iter().any(|it| it == name);
        assert_eq!(has, reported["state"] != "missing", "{reported}");
    }
}

#[test]
fn strace_shows_no_leaked_descriptors() {
    let Some(strace) = find_tool("strace_shows_no_leaked_descriptors", "strace") else { return };
    let directory = tempfile::tempdir().unwrap();
    let trace = directory.path().join("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-e", "signal=none", "-e", "trace=%desc,%network,io_uring_setup"]);
    command.arg("-o").arg(&trace).arg(env!("CARGO_BIN_EXE_ringpoll")).args(["doctor", "--json"]);
    assert!(command.output().unwrap().status.code().is_some_and(|code| code == 0 || code == 3));
    let trace = std::fs::read_to_string(trace).unwrap();
    let (mut open, mut rings) = (std::collections::BTreeSet::new(), 0);
    for line in trace.lines() {
        let Some((call, result)) = line.rsplit_once(" = ") else { continue };
        let call = call.split_once(' ').map_or(call, |(_, call)| call.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        let number = result.split_whitespace().next().and_then(|it| it.parse::<i32>().ok());
        match (name, number) {
            ("io_uring_setup" | "socket" | "accept4" | "accept", Some(made)) if made >= 0 => {
                rings += i32::from(name == "io_uring_setup");
                open.insert(made);
            }
            ("socketpair", Some(0)) => {
                let numbers = call.rsplit_once('[').unwrap().1.trim_end_matches([')', ']']);
                open.extend(numbers.split(", ").map(|it| it.parse::<i32>().unwrap()));
            }
            ("close", Some(0)) => {
                let number = call["close(".len()..].split(')').next().unwrap();
                open.remove(&number.parse().unwrap());
            }
            _ => {}
        }
    }
    assert!(rings > 50, "only {rings} rings: the trace is incomplete");
    // Two are not closed by close(2): the probes of IORING_OP_CLOSE close them.
    assert!(open.len() <= 2, "leaked: {open:?}");
}
