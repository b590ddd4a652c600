//! Servers of other projects as people run them: each starts, is measured, and leaves no process.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use ringpoll::result::{ComparisonResult, Round, SystemCallCount};
use tempfile::TempDir;

use crate::program::{Comparison, Finished};
use crate::test_server;
use common::find_tool;

/// A directory with the server of `server.py`, whose path is in the command line of each process.
struct Servers {
    directory: TempDir,
    python: PathBuf,
}

impl Servers {
    /// Returns `None` if `test` is skipped, because Python is not installed.
    fn new(test: &str) -> Option<Self> {
        // A version manager's python3 is slow to start, and in a directory of one user.
        let python = Some(PathBuf::from("/usr/bin/python3")).filter(|it| it.is_file());
        let python = python.or_else(|| find_tool(test, "python3"))?;
        let directory = TempDir::new().expect("a directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::write(directory.path().join("server.py"), include_str!("server.py")).expect("a file");
        Some(Self { directory, python })
    }

    /// Returns the command line of a server that starts in this way.
    fn command(&self, way: &str) -> String {
        format!("{} {}/server.py {way} {{port}}", self.python.display(), self.path())
    }

    fn path(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// Writes a file with one arm, called `server`, and returns its path.
    fn file(&self, command: &str, more: &str) -> String {
        let path = self.directory.path().join("arms.toml");
        let arm = format!("[[arm]]\nname = \"server\"\ncommand = '''{command}'''\n{more}\n");
        fs::write(&path, arm).expect("a file");
        path.display().to_string()
    }

    /// Compares the arm with an engine, in a single block.
    fn compare(&self, command: &str, more: &str) -> Finished {
        self.comparison(command, more).run()
    }

    fn comparison(&self, command: &str, more: &str) -> Comparison {
        let file = self.file(command, more);
        Comparison::churn(&["epoll:level"]).with(["--blocks", "1", "--arms", &file])
    }

    /// Compares the arm with an engine, and checks that every request succeeds and that no process
    /// is left.
    fn measure(&self, command: &str, more: &str) -> ComparisonResult {
        let result = self.compare(command, more).result();
        assert_eq!(result.arms[1].label, "server");
        for round in rounds(&result) {
            assert!(round.requests > 0, "{round:?}");
            assert_eq!(round.failures.total(), 0, "{:?}", round.failures);
        }
        assert_eq!(self.processes(), [""; 0]);
        result
    }

    /// Returns the command lines of the processes that use the directory.
    fn processes(&self) -> Vec<String> {
        let path = self.path();
        let command_lines = fs::read_dir("/proc").expect("proc").flatten().filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read(format!("/proc/{process}/cmdline")).ok()?;
            Some(String::from_utf8_lossy(&words).replace('\0', " "))
        });
        command_lines.filter(|it| it.contains(&path)).collect()
    }
}

/// Returns the rounds of the server.
fn rounds(result: &ComparisonResult) -> impl Iterator<Item = &Round> {
    rounds_of(result, 1)
}

fn rounds_of(result: &ComparisonResult, arm: usize) -> impl Iterator<Item = &Round> {
    let rounds = result.experiments[0].rounds.iter().filter(move |round| round.arm == arm);
    assert!(rounds.clone().count() >= 2, "one at each load level");
    rounds
}

macro_rules! ways {
    ($($way:ident $text:literal)*) => { $(
        #[test]
        fn $way() {
            if let Some(servers) = Servers::new(stringify!($way)) {
                servers.measure(&servers.command($text), "");
            }
        }
    )* };
}

ways! {
    server_that_daemonises "daemonises"
    server_that_executes_itself_again "re-executes"
    server_that_listens_late "listens_late"
    server_on_several_ports "several_ports"
    server_on_all_ipv6_addresses "ipv6"
    server_on_ipv6_addresses_only "only_ipv6"
    server_that_ignores_sigterm "ignores_sigterm"
}

#[test]
fn server_that_forks_counts_all_processes() {
    let Some(servers) = Servers::new("server_that_forks_counts_all_processes") else { return };
    let result = servers.measure(&servers.command("forks"), "");
    for round in rounds(&result) {
        assert_eq!(round.server.tasks, 3, "{round:?}");
    }
}

#[test]
fn output_of_a_server_that_logs_does_not_block_it() {
    let Some(servers) = Servers::new("output_of_a_server_that_logs_does_not_block_it") else {
        return;
    };
    // A pipe holds 64 KiB, and the server writes more than that for each request.
    servers.measure(&servers.command("logs"), "");
}

#[test]
fn script_that_starts_a_server_is_an_arm() {
    let Some(servers) = Servers::new("script_that_starts_a_server_is_an_arm") else { return };
    let script = servers.directory.path().join("two words.sh");
    let server = servers.command("plain").replace("{port}", "$1");
    // The shell waits, and does not forward SIGTERM.
    fs::write(&script, format!("#!/bin/sh\n{server} \"$2\" &\nwait\n")).expect("a file");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("a mode");
    let result = servers.measure(&format!(r#""{}" {{port}} 'a "b" c'"#, script.display()), "");
    let response = result.differences.iter().find(|it| it.key == "response").expect("they differ");
    let expected = "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\na \"b\" c".len();
    let described = response.values[1].as_ref().expect("a response");
    assert!(described.starts_with(&format!("{expected} bytes")), "{described}");
}

#[test]
fn surroundings_of_a_server_are_those_of_the_file() {
    let Some(servers) = Servers::new("surroundings_of_a_server_are_those_of_the_file") else {
        return;
    };
    fs::create_dir(servers.directory.path().join("inner")).expect("a directory");
    let result = servers.measure(
        &servers.command("environment"),
        "environment = { PORT = '{port}', ADDRESS = '{address}' }\ndirectory = 'inner'\n\
         limits = { open_files = 333 }\nsettle_ms = 10\n\
         before = ['touch made-before', ['sh', '-c', 'echo x >> count']]\n\
         after = [\"mv made-before 'made after'\"]",
    );
    let inner = servers.directory.path().join("inner");
    assert!(inner.join("made after").exists());
    assert_eq!(fs::read_to_string(inner.join("count")).expect("a file"), "x\n");
    let settings = &result.arms[1].settings;
    let limit = settings.iter().find(|it| it.key == "limits.open_files").expect("the limit");
    assert_eq!((&*limit.value, &limit.origin), ("333", &format!("{}/arms.toml", servers.path())));
}

#[test]
fn readiness_is_a_line_or_a_response() {
    let Some(servers) = Servers::new("readiness_is_a_line_or_a_response") else { return };
    servers.measure(&servers.command("ready_later"), "ready = { line = 'ready to' }");
    let unavailable = servers.command("unavailable_at_first");
    servers.measure(&unavailable, "ready = { get = '/' }");
    // A socket that listens is not enough for this server: its first response has another status.
    let finished = servers.compare(&unavailable, "");
    assert_eq!(finished.exit_code(), 1, "{}", finished.stderr());
    assert!(finished.stderr().contains("arm server: no request succeeded: wrong bytes"));
}

#[test]
fn processes_that_commands_before_a_server_leave_end_with_the_comparison() {
    let test = "processes_that_commands_before_a_server_leave_end_with_the_comparison";
    let Some(servers) = Servers::new(test) else { return };
    let backend = servers.command("daemonises").replace("{port}", "1");
    servers.measure(&servers.command("plain"), &format!("before = ['{backend}']"));
}

#[test]
fn failing_command_before_a_server_is_quoted() {
    let Some(servers) = Servers::new("failing_command_before_a_server_is_quoted") else { return };
    let more = "before = ['sh -c \"echo why; exit 3\"']\nafter = ['touch after']";
    let more = format!("{more}\ndirectory = '.'");
    let finished = servers.compare(&servers.command("plain"), &more);
    assert_eq!(finished.exit_code(), 1);
    let expected = "arm server: before: sh -c echo why; exit 3: exit status: 3\n  why\n";
    assert!(finished.stderr().contains(expected), "{}", finished.stderr());
    assert!(servers.directory.path().join("after").exists());
}

#[test]
fn response_that_differs_from_start_to_start_is_not_a_failure() {
    const TEST: &str = "response_that_differs_from_start_to_start_is_not_a_failure";
    let Some(servers) = Servers::new(TEST) else { return };
    let result = servers.measure(&servers.command("instance"), "");
    let verified = &result.experiments[0].verified[1];
    assert!(verified.contains("except X-Instance (varying)"), "{verified}");
    assert!(!result.experiments[0].verified[0].contains("X-Instance"));
}

#[test]
fn limits_are_of_the_server_only() {
    let Some(servers) = Servers::new("limits_are_of_the_server_only") else { return };
    // Too little for the interpreter, and for a further thread.
    let limits = "limits = { address_space_bytes = 12000000 }";
    let finished = servers.compare(&servers.command("daemonises"), limits);
    assert_ne!(finished.exit_code(), 0);
    assert!(!finished.stderr().contains("panicked"), "{}", finished.stderr());
    assert!(finished.stderr().contains("arm server"), "{}", finished.stderr());
    assert_eq!(servers.processes(), [""; 0]);
}

#[test]
fn limit_above_the_hard_limit_is_refused_with_the_key() {
    let Some(servers) = Servers::new("limit_above_the_hard_limit_is_refused_with_the_key") else {
        return;
    };
    let limits = "limits = { open_files = 9000000000 }";
    let mut comparison = servers.comparison(&servers.command("plain"), limits);
    comparison = comparison.with(["--json", "-"]);
    if rustix::process::geteuid().is_root() {
        comparison.command.uid(65_534).gid(65_534);
    }
    let finished = comparison.run();
    assert_eq!(finished.exit_code(), 2, "{}", finished.stderr());
    let expected = "arm server: limits.open_files: 9000000000: ";
    assert!(finished.stderr().contains(expected), "{}", finished.stderr());
}

#[test]
fn errors_of_the_file_name_it() {
    let Some(servers) = Servers::new("errors_of_the_file_name_it") else { return };
    let finished = servers.compare(&servers.command("plain"), "setle_ms = 1");
    assert_eq!(finished.exit_code(), 2);
    let stderr = finished.stderr();
    let file = format!("--arms {}/arms.toml: arm server: ", servers.path());
    assert!(stderr.contains(&file) && stderr.contains("unknown field `setle_ms`"), "{stderr}");
}

/// Each request starts a process that uses the CPU for 2 ms and exits.
#[test]
fn cpu_time_of_exited_processes_is_counted() {
    let Some(servers) = Servers::new("cpu_time_of_exited_processes_is_counted") else { return };
    let measure = |comparison: Comparison| {
        let comparison = comparison.with(["--rate", "50", "--round", "400ms", "--json", "-"]);
        let finished = comparison.run();
        assert_eq!(finished.exit_code(), 0, "{}", finished.stderr());
        let result: ComparisonResult = serde_json::from_str(&finished.stdout()).expect("a result");
        for round in rounds(&result) {
            let each_us = round.server.cpu_ns / 1000 / round.requests;
            assert!((1_000..200_000).contains(&each_us), "{each_us} µs; {round:?}");
        }
        assert_eq!(servers.processes(), [""; 0]);
    };
    let command = servers.command("forks_for_each");
    measure(servers.comparison(&command, ""));
    // An unprivileged user has no control group, so the parent's count is read.
    if rustix::process::geteuid().is_root() {
        let mut comparison = servers.comparison(&command, "");
        comparison.command.uid(65_534).gid(65_534);
        measure(comparison);
    }
}

/// Returns the system calls per request of an arm; `None` if this user may not count them.
fn system_calls_per_request(result: &ComparisonResult, arm: usize) -> Option<f64> {
    let (mut all_calls, mut all_requests) = (0, 0);
    for round in rounds_of(result, arm) {
        match round.system_calls.as_ref().expect("the server is another program") {
            SystemCallCount::Counted { calls, requests } => {
                (all_calls, all_requests) = (all_calls + calls, all_requests + requests);
            }
            SystemCallCount::NotAvailable { reason } => {
                assert!(!rustix::process::geteuid().is_root(), "{reason}");
                assert!(reason.contains("Try it as root"), "{reason}");
                eprintln!("skipped: system calls are not available: {reason}");
                return None;
            }
        }
    }
    assert!(all_requests > 50, "{all_requests}");
    Some(all_calls as f64 / all_requests as f64)
}

/// The second server makes 16 more for each request.
#[test]
fn system_calls_of_another_server_are_counted_exactly() {
    let arms = ["right", "calls:16"].map(test_server::arm);
    let arms = arms.each_ref().map(String::as_str);
    let result = Comparison::churn(&arms).with(["--blocks", "1"]).run().result();
    let each = |arm| system_calls_per_request(&result, arm);
    let (Some(few), Some(many)) = (each(0), each(1)) else { return };
    // It accepts, receives, sends and closes; in a debug build Rust checks a descriptor before.
    assert!((3.98..5.05).contains(&few), "{few}");
    assert!((15.9..16.1).contains(&(many - few)), "{few} and {many}");
    let notes = &result.experiments[0].notes;
    assert!(notes.iter().any(|it| it.contains("raw_syscalls:sys_enter")), "{notes:?}");
}

#[test]
fn system_calls_of_all_processes_are_counted() {
    let Some(servers) = Servers::new("system_calls_of_all_processes_are_counted") else { return };
    let each = |way| system_calls_per_request(&servers.measure(&servers.command(way), ""), 1);
    let (Some(one), Some(three)) = (each("plain"), each("forks")) else { return };
    // A count of one of three processes would be a third.
    assert!((0.9..1.1).contains(&(three / one)), "{one} and {three}");
    // The time of each call that the child makes in 2 ms would have to be longer than 10 µs.
    let comparison = servers.comparison(&servers.command("forks_for_each"), "");
    // A slow server, which would otherwise have no response in a slice on a busy machine.
    let result = comparison.with(["--rate", "50", "--round", "400ms"]).run().result();
    let in_children = system_calls_per_request(&result, 1).expect("the others are available");
    assert!(in_children > 200.0, "{in_children}");
}

#[test]
fn reason_without_a_count_of_system_calls_is_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: the other tests run as an unprivileged user already");
        return;
    }
    let test = "reason_without_a_count_of_system_calls_is_named";
    let Some(servers) = Servers::new(test) else { return };
    let mut comparison = servers.comparison(&servers.command("plain"), "").with(["--json", "-"]);
    comparison.command.uid(65_534).gid(65_534);
    let finished = comparison.run();
    assert_eq!(finished.exit_code(), 0, "{}", finished.stderr());
    let result: ComparisonResult = serde_json::from_str(&finished.stdout()).expect("a result");
    for round in rounds(&result) {
        let reason = match round.system_calls.as_ref().expect("a count, or its reason") {
            SystemCallCount::NotAvailable { reason } => reason,
            SystemCallCount::Counted { .. } => {
                eprintln!("skipped: every user may count system calls on this machine");
                return;
            }
        };
        assert!(reason.contains("Try it as root"), "{reason}");
        let note = format!("System calls per request of server are not available: {reason}.");
        assert!(result.experiments[0].notes.contains(&note), "{:?}", result.experiments[0].notes);
        assert!(finished.stderr().contains("not available: "), "{}", finished.stderr());
    }
}

#[test]
fn no_process_is_left_when_the_comparison_is_killed() {
    let Some(servers) = Servers::new("no_process_is_left_when_the_comparison_is_killed") else {
        return;
    };
    let mut comparison = servers.comparison(&servers.command("daemonises"), "");
    let mut running = comparison.command.spawn().expect("the program starts");
    let is_server = |line: &String| line.contains("daemonises") && !line.contains("compare");
    common::wait_until("a server runs", || servers.processes().iter().any(is_server));
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    common::wait_until("no process is left", || servers.processes().is_empty());
}
