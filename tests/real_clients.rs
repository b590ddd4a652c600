//! Clients that others wrote, those that want answers and those that want to hold the server up,
//! against every engine of the program itself.

mod common;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Ended, PATIENCE, RESPONSE, ServerProcess, response, tool};
use ringpoll_backends::Variant;

/// What the hostile clients get so much of that they can be slow about it.
const LARGE_BODY_BYTES: usize = 1_000_000;

fn body(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    &response[end + 4..]
}

/// Runs for every variant, all at the same time, against a server of its own that must come to a
/// good end after it.
fn on_every_variant(arguments: &[&str], test: impl Fn(&ServerProcess) + Sync) -> Vec<Ended> {
    thread::scope(|scope| {
        let run = |&variant: &Variant| {
            let test = &test;
            scope.spawn(move || {
                let start = [&["--backend", variant.name()], arguments].concat();
                let server = ServerProcess::start(&start);
                test(&server);
                let ended = server.stopped();
                assert_eq!(ended.status.code(), Some(0), "{variant}: {:?}", ended.stderr);
                let total = &ended.report()["total"];
                assert_eq!(total["accepted"], total["closed"], "{variant}");
                ended
            })
        };
        let threads: Vec<_> = Variant::ALL.iter().map(run).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// A client at work.
struct Running {
    child: Child,
    output: File,
    started: Instant,
}

/// What it wrote, on both streams, and its exit code.
struct Finished {
    output: Vec<u8>,
    exit_code: Option<i32>,
}

impl Running {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let output = tempfile::tempfile().expect("a file");
        let stream = || output.try_clone().expect("a descriptor");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("it is installed");
        Self { child, output, started: Instant::now() }
    }

    /// What it did, if it is done.
    fn finished(&mut self) -> Option<Finished> {
        assert!(self.started.elapsed() < 4 * PATIENCE, "a client waits for ever");
        let status = self.child.try_wait().expect("a child of ours")?;
        let mut output = Vec::new();
        self.output.rewind().expect("a file");
        self.output.read_to_end(&mut output).expect("a file");
        Some(Finished { output, exit_code: status.code() })
    }

    fn wait(mut self) -> Finished {
        loop {
            if let Some(finished) = self.finished() {
                return finished;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// The output of one that was content.
    fn text(self) -> String {
        let text = String::from_utf8_lossy(&self.output).into_owned();
        assert_eq!(self.exit_code, Some(0), "{text}");
        text
    }
}

fn url(server: &ServerProcess) -> String {
    format!("http://{}/", server.address)
}

/// A whole answer, to a whole request of that kind.
fn curl_is_served(curl: &Path, server: &ServerProcess, arguments: &[&str], expected: &[u8]) {
    let always = ["--silent", "--show-error", "--fail", "--max-time", "30"];
    let url = url(server);
    let finished = Running::start(curl, &[&always, arguments, &[url.as_str()]].concat()).wait();
    let said = String::from_utf8_lossy(&finished.output[..finished.output.len().min(200)]);
    assert_eq!(finished.exit_code, Some(0), "{}: {arguments:?}: {said}", server.start_line);
    assert!(finished.output == expected, "{}: {arguments:?}: {said}", server.start_line);
}

#[test]
fn curl_has_its_answer() {
    let Some(curl) = tool("curl_has_its_answer", "curl") else { return };
    on_every_variant(&[], |server| {
        let body = body(RESPONSE);
        curl_is_served(&curl, server, &[], body);
        curl_is_served(&curl, server, &["--http1.0"], body);
        curl_is_served(&curl, server, &["--http1.1"], body);
        curl_is_served(&curl, server, &["--http1.1", "--data", "name=value"], body);
        curl_is_served(&curl, server, &["--http1.1", "--include"], RESPONSE);
    });
}

#[test]
fn curl_has_a_large_answer_in_many_short_sends() {
    let Some(curl) = tool("curl_has_a_large_answer_in_many_short_sends", "curl") else { return };
    let large = response(LARGE_BODY_BYTES);
    let length = format!("server.response_body_bytes={LARGE_BODY_BYTES}");
    let arguments = ["--set", &length, "--set", "server.send_buffer_bytes=4096"];
    for ended in on_every_variant(&arguments, |server| {
        curl_is_served(&curl, server, &["--include"], &large);
    }) {
        assert_ne!(ended.report()["total"]["short_sends"], 0);
    }
}

#[test]
fn apache_bench_has_all_its_answers() {
    let Some(ab) = tool("apache_bench_has_all_its_answers", "ab") else { return };
    let all = on_every_variant(&[], |server| {
        let text = Running::start(&ab, &["-q", "-n", "20000", "-c", "64", &url(server)]);
        let text = text.wait().text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
        };
        let name = &server.start_line;
        assert_eq!(value("Complete requests:").as_deref(), Some("20000"), "{name}: {text}");
        assert_eq!(value("Failed requests:").as_deref(), Some("0"), "{name}: {text}");
        assert_eq!(value("HTML transferred:").as_deref(), Some("260000"), "{name}: {text}");
        // Lines that stand there only if there was any.
        assert_eq!(value("Non-2xx responses:"), None, "{name}: {text}");
        assert_eq!(value("Write errors:"), None, "{name}: {text}");
    });
    for ended in all {
        let answered = ended.report()["total"]["answered"].as_u64().expect("a count");
        // It may open some connections in advance that it does not need any more.
        assert!(answered >= 20_000, "{answered}");
    }
}

#[test]
fn wrk_has_no_errors() {
    let Some(wrk) = tool("wrk_has_no_errors", "wrk") else { return };
    on_every_variant(&[], |server| {
        let arguments = ["-c", "64", "-t", "2", "-d", "2s", &url(server)];
        let text = Running::start(&wrk, &arguments).wait().text();
        let name = &server.start_line;
        // The end of the stream after each answer is no error to it: it connects anew.
        assert!(!text.contains("Socket errors"), "{name}: {text}");
        assert!(!text.contains("Non-2xx"), "{name}: {text}");
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests = requests.and_then(|(count, _)| count.parse::<u64>().ok());
        assert!(requests.is_some_and(|count| count > 0), "{name}: {text}");
    });
}

/// Deadlines and buffers that are short enough for a short test.
fn under_attack() -> Vec<String> {
    [
        format!("server.response_body_bytes={LARGE_BODY_BYTES}"),
        "server.send_buffer_bytes=4096".to_owned(),
        "deadlines.idle_timeout_ms=2500".to_owned(),
        "deadlines.request_head_timeout_ms=2500".to_owned(),
        "deadlines.send_timeout_ms=2500".to_owned(),
    ]
    .into_iter()
    .flat_map(|set| ["--set".to_owned(), set])
    .collect()
}

/// 50 connections for some seconds, and all the time a client that means well: it has its answer,
/// again and again, so often at the least before the attack is over. `counter` counts what was
/// done about the others.
fn is_served_under_attack(test: &str, attack: &[&str], times: usize, counter: &str) {
    let Some(slowhttptest) = tool(test, "slowhttptest") else { return };
    let Some(curl) = tool(test, "curl") else { return };
    let arguments = under_attack();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let large = response(LARGE_BODY_BYTES);
    let all = on_every_variant(&arguments, |server| {
        let url = url(server);
        let always = ["-c", "50", "-r", "50", "-l", "8", "-p", "30", "-u", url.as_str()];
        let mut running = Running::start(&slowhttptest, &[attack, &always].concat());
        let mut served = 0;
        let text = loop {
            curl_is_served(&curl, server, &[], body(&large));
            if let Some(finished) = running.finished() {
                break finished.text();
            }
            served += 1;
            thread::sleep(Duration::from_millis(50));
        };
        assert!(served >= times, "{}: served {served} times: {text}", server.start_line);
        let is_available = |line: &str| line.contains("service available:");
        let last = text.lines().rfind(|line| is_available(line)).unwrap_or_default();
        assert!(last.contains("YES"), "{}: {text}", server.start_line);
    });
    for ended in all {
        let report = ended.report();
        assert_ne!(report["total"][counter], 0, "{test}: {report}");
    }
}

#[test]
fn slow_headers_hold_nobody_up() {
    let attack = ["-H", "-i", "1"];
    is_served_under_attack("slow_headers_hold_nobody_up", &attack, 3, "expired_receiving");
}

/// The answer comes before the body does, so what remains is to linger for the rest of it.
#[test]
fn a_slow_body_holds_nobody_up() {
    let attack = ["-B", "-i", "1", "-s", "8192"];
    is_served_under_attack("a_slow_body_holds_nobody_up", &attack, 1, "answered");
}

/// A head with a thousand ranges is longer than the limit.
#[test]
fn endless_ranges_hold_nobody_up() {
    let attack = ["-R", "-a", "1", "-b", "3000"];
    is_served_under_attack("endless_ranges_hold_nobody_up", &attack, 1, "heads_too_large");
}

#[test]
fn a_slow_reader_holds_nobody_up() {
    let attack = ["-X", "-w", "64", "-y", "128", "-n", "1", "-z", "8"];
    is_served_under_attack("a_slow_reader_holds_nobody_up", &attack, 3, "expired_sending");
}
