//! Third-party clients against every engine: well-behaved ones (curl, ab, wrk) and the attacks of
//! slowhttptest.
//!
//! By default ab sends fewer requests and the slow readers stay for a shorter time than with
//! `RINGPOLL_TESTS=full`.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{EVENT_TIMEOUT, RESPONSE, ServerOutput, ServerProcess, find_tool, is_full, response};
use ringpoll_backends::Variant;

/// Large enough that an attacker can receive it slowly.
const LARGE_BODY_BYTES: usize = 1_000_000;

fn body(response: &[u8]) -> &[u8] {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    &response[end + 4..]
}

/// Runs `test` for all variants in parallel, each with its own server, and asserts that each
/// server stops without errors.
fn run_on_all_variants(
    arguments: &[&str],
    test: impl Fn(&ServerProcess) + Sync,
) -> Vec<ServerOutput> {
    thread::scope(|scope| {
        let run = |&variant: &Variant| {
            let test = &test;
            scope.spawn(move || {
                let start = [&["--backend", variant.name()], arguments].concat();
                let server = ServerProcess::start(&start);
                test(&server);
                let ended = server.stop_and_wait();
                assert_eq!(ended.status.code(), Some(0), "{variant}: {:?}", ended.stderr);
                let total = &ended.report()["total"];
                assert_eq!(total["accepted"], total["closed"], "{variant}");
                ended
            })
        };
        let threads: Vec<_> = Variant::ALL.iter().map(run).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// A running client program.
struct ClientProcess {
    child: Child,
    output: File,
    started: Instant,
}

/// The output of a client program, both streams, and its exit code.
struct ClientResult {
    output: Vec<u8>,
    exit_code: Option<i32>,
}

impl ClientProcess {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let output = tempfile::tempfile().expect("a file");
        let stream = || output.try_clone().expect("a descriptor");
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("the client is installed");
        Self { child, output, started: Instant::now() }
    }

    /// Returns the result if the program has ended.
    fn finished(&mut self) -> Option<ClientResult> {
        assert!(self.started.elapsed() < 4 * EVENT_TIMEOUT, "a client waits without end");
        let status = self.child.try_wait().expect("it is a child process")?;
        let mut output = Vec::new();
        self.output.rewind().expect("a file");
        self.output.read_to_end(&mut output).expect("a file");
        Some(ClientResult { output, exit_code: status.code() })
    }

    fn wait(mut self) -> ClientResult {
        loop {
            if let Some(finished) = self.finished() {
                return finished;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ClientResult {
    /// Asserts success and returns the output.
    fn text(self) -> String {
        let text = String::from_utf8_lossy(&self.output).into_owned();
        assert_eq!(self.exit_code, Some(0), "{text}");
        text
    }
}

fn url(server: &ServerProcess) -> String {
    format!("http://{}/", server.address)
}

/// Sends one request with curl and asserts that the output is `expected`.
fn curl_is_served(curl: &Path, server: &ServerProcess, arguments: &[&str], expected: &[u8]) {
    let always = ["--silent", "--show-error", "--fail", "--max-time", "30"];
    let url = url(server);
    let finished =
        ClientProcess::start(curl, &[&always, arguments, &[url.as_str()]].concat()).wait();
    let start = String::from_utf8_lossy(&finished.output[..finished.output.len().min(200)]);
    assert_eq!(finished.exit_code, Some(0), "{}: {arguments:?}: {start}", server.start_line);
    assert!(finished.output == expected, "{}: {arguments:?}: {start}", server.start_line);
}

#[test]
fn curl_receives_the_response() {
    let Some(curl) = find_tool("curl_receives_the_response", "curl") else { return };
    run_on_all_variants(&[], |server| {
        let body = body(RESPONSE);
        curl_is_served(&curl, server, &[], body);
        curl_is_served(&curl, server, &["--http1.0"], body);
        curl_is_served(&curl, server, &["--http1.1"], body);
        curl_is_served(&curl, server, &["--http1.1", "--data", "name=value"], body);
        curl_is_served(&curl, server, &["--http1.1", "--include"], RESPONSE);
    });
}

#[test]
fn curl_receives_a_large_response_in_many_short_sends() {
    let Some(curl) = find_tool("curl_receives_a_large_response_in_many_short_sends", "curl") else {
        return;
    };
    let large = response(LARGE_BODY_BYTES);
    let length = format!("server.response_body_bytes={LARGE_BODY_BYTES}");
    let arguments = ["--set", &length, "--set", "server.send_buffer_bytes=4096"];
    for ended in run_on_all_variants(&arguments, |server| {
        curl_is_served(&curl, server, &["--include"], &large);
    }) {
        assert_ne!(ended.report()["total"]["short_sends"], 0);
    }
}

#[test]
fn apache_bench_receives_all_responses() {
    let Some(ab) = find_tool("apache_bench_receives_all_responses", "ab") else { return };
    let requests = if is_full() { 20_000 } else { 2_000 };
    let count = requests.to_string();
    let all = run_on_all_variants(&[], |server| {
        let text = ClientProcess::start(&ab, &["-q", "-n", &count, "-c", "64", &url(server)]);
        let text = text.wait().text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
        };
        let name = &server.start_line;
        let body_bytes = (13 * requests).to_string();
        assert_eq!(value("Complete requests:").as_deref(), Some(&*count), "{name}: {text}");
        assert_eq!(value("Failed requests:").as_deref(), Some("0"), "{name}: {text}");
        assert_eq!(value("HTML transferred:").as_deref(), Some(&*body_bytes), "{name}: {text}");
        // ab prints these lines only for a positive count.
        assert_eq!(value("Non-2xx responses:"), None, "{name}: {text}");
        assert_eq!(value("Write errors:"), None, "{name}: {text}");
    });
    for ended in all {
        let responses = ended.report()["total"]["responses"].as_u64().expect("a count");
        // ab may open more connections than it needs.
        assert!(responses >= requests, "{responses}");
    }
}

#[test]
fn wrk_reports_no_errors() {
    let Some(wrk) = find_tool("wrk_has_no_errors", "wrk") else { return };
    run_on_all_variants(&[], |server| {
        let arguments = ["-c", "64", "-t", "2", "-d", "2s", &url(server)];
        let text = ClientProcess::start(&wrk, &arguments).wait().text();
        let name = &server.start_line;
        // The end of the stream after each response is no error for wrk: it reconnects.
        assert!(!text.contains("Socket errors"), "{name}: {text}");
        assert!(!text.contains("Non-2xx"), "{name}: {text}");
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests = requests.and_then(|(count, _)| count.parse::<u64>().ok());
        assert!(requests.is_some_and(|count| count > 0), "{name}: {text}");
    });
}

/// Returns arguments for a large response, a small send buffer and short deadlines.
fn attack_settings() -> Vec<String> {
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

/// Attacks the server with 50 connections and asserts that curl receives its response at least
/// `min_served` times meanwhile, and that `counter` has counted the attackers.
fn serves_curl_during_attack(test: &str, attack: &[&str], min_served: usize, counter: &str) {
    let Some(slowhttptest) = find_tool(test, "slowhttptest") else { return };
    let Some(curl) = find_tool(test, "curl") else { return };
    let arguments = attack_settings();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let large = response(LARGE_BODY_BYTES);
    let all = run_on_all_variants(&arguments, |server| {
        let url = url(server);
        let seconds = if is_full() { "8" } else { "4" };
        let always = ["-c", "50", "-r", "50", "-l", seconds, "-p", "30", "-u", url.as_str()];
        let mut running = ClientProcess::start(&slowhttptest, &[attack, &always].concat());
        let mut served = 0;
        let text = loop {
            curl_is_served(&curl, server, &[], body(&large));
            if let Some(finished) = running.finished() {
                break finished.text();
            }
            served += 1;
            thread::sleep(Duration::from_millis(50));
        };
        assert!(served >= min_served, "{}: served {served} times: {text}", server.start_line);
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
fn slow_headers_do_not_block_other_clients() {
    let attack = ["-H", "-i", "1"];
    serves_curl_during_attack(
        "slow_headers_do_not_block_other_clients",
        &attack,
        3,
        "expired_receiving",
    );
}

/// The server responds before the body arrives and then lingers for the rest of it.
#[test]
fn slow_bodies_do_not_block_other_clients() {
    let attack = ["-B", "-i", "1", "-s", "8192"];
    serves_curl_during_attack("slow_bodies_do_not_block_other_clients", &attack, 1, "responses");
}

/// A request head with a thousand ranges exceeds the limit.
#[test]
fn range_attack_does_not_block_other_clients() {
    let attack = ["-R", "-a", "1", "-b", "3000"];
    serves_curl_during_attack(
        "range_attack_does_not_block_other_clients",
        &attack,
        1,
        "request_heads_too_large",
    );
}

#[test]
fn slow_readers_do_not_block_other_clients() {
    let attack = ["-X", "-w", "64", "-y", "128", "-n", "1", "-z", "8"];
    serves_curl_during_attack(
        "slow_readers_do_not_block_other_clients",
        &attack,
        3,
        "expired_sending",
    );
}
