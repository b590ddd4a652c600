//! The key-value server: as a protocol without I/O, on every engine, and with redis-cli and
//! redis-benchmark.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Output as Outcome, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::{find_tool, is_full};
use ringpoll_backends::{Next, Output, Protocol};

use crate::{Example, variants};

#[path = "../../backends/examples/resp.rs"]
#[allow(dead_code, reason = "its main function runs in the example itself")]
mod example;

/// Commands in all forms and their responses. It leaves the store as it was.
const COMMANDS: &[(&[u8], &[u8])] = &[
    (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
    (b"PING\r\n", b"+PONG\r\n"),
    (b"*2\r\n$4\r\npInG\r\n$2\r\nhi\r\n", b"$2\r\nhi\r\n"),
    (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\n\r\n*1\r\n", b"+OK\r\n"),
    (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"$4\r\n\r\n*1\r\n"),
    (b"*0\r\n*-1\r\n\r\n  \n", b""),
    (b"set n  9\n", b"+OK\r\n"),
    (b"INCR n\r\n", b":10\r\n"),
    (b"*2\r\n$4\r\nINCR\r\n$3\r\nnew\r\n", b":1\r\n"),
    (b"*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n", b"-ERR value is not an integer or out of range\r\n"),
    (b"*5\r\n$3\r\nDEL\r\n$1\r\nk\r\n$1\r\nn\r\n$4\r\nnone\r\n$3\r\nnew\r\n", b":3\r\n"),
    (b"GET k\r\n", b"$-1\r\n"),
    (b"*1\r\n$3\r\nGET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n"),
    (b"*1\r\n$4\r\na\r\nb\r\n", b"-ERR unknown command 'a\\r\\nb'\r\n"),
];

/// Bytes after which the connection ends, and the error.
const PROTOCOL_ERRORS: &[(&[u8], &str)] = &[
    (b"*1\r\n4\r\n", "expected '$'"),
    (b"*1\r\n$x\r\n", "invalid bulk length"),
    (b"*1\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$+1\r\n", "invalid bulk length"),
    (b"*1\r\n$01\r\n", "invalid bulk length"),
    (b"*1\r\n$4194305\r\n", "invalid bulk length"),
    (b"*1\r\n$18446744073709551615\r\n", "invalid bulk length"),
    (b"*257\r\n", "invalid multibulk length"),
    (b"*one\r\n", "invalid multibulk length"),
    (b"*1\r\n$1\r\nabc", "expected CRLF after a bulk string"),
    (&[b'a'; 4096], "too long line"),
];

fn stream_of_commands() -> (Vec<u8>, Vec<u8>) {
    let (commands, responses): (Vec<_>, Vec<_>) = COMMANDS.iter().copied().unzip();
    (commands.concat(), responses.concat())
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn command(arguments: &[&[u8]]) -> Vec<u8> {
    let head = format!("*{}\r\n", arguments.len());
    arguments.iter().fold(head.into_bytes(), |all, it| [all, bulk(it)].concat())
}

/// Returns the responses of the protocol without I/O to a stream in pieces.
fn responses(pieces: &[&[u8]]) -> (Vec<u8>, Next) {
    let (mut store, mut output) = (example::Store::default(), Output::default());
    let (mut client, mut next) = (store.on_open(&mut output), Next::Recv);
    for piece in pieces.iter().filter(|it| !it.is_empty()) {
        assert_eq!(next, Next::Recv);
        next = store.on_recv(&mut client, piece, &mut output);
    }
    (output.to_vec(), next)
}

#[test]
fn commands_may_be_split_anywhere() {
    let (commands, expected) = stream_of_commands();
    for second in 0..=commands.len() {
        for first in 0..=second {
            let pieces = [&commands[..first], &commands[first..second], &commands[second..]];
            assert_eq!(responses(&pieces), (expected.clone(), Next::Recv), "{first}, {second}");
        }
    }
    let bytes: Vec<_> = commands.chunks(1).collect();
    assert_eq!(responses(&bytes), (expected, Next::Recv));
}

#[test]
fn protocol_errors_do_not_depend_on_splits() {
    for &(bytes, problem) in PROTOCOL_ERRORS {
        let expected = format!("+PONG\r\n-ERR Protocol error: {problem}\r\n").into_bytes();
        for split in 0..bytes.len() {
            let pieces = [b"PING\r\n", &bytes[..split], &bytes[split..]];
            assert_eq!(responses(&pieces), (expected.clone(), Next::Shutdown), "{split}");
        }
    }
    // The longest of everything is no error.
    let longest = [&[b'a'; 4094][..], b"\r\n"].concat();
    assert_eq!(responses(&[&longest]).1, Next::Recv);
    let value = vec![b'v'; 4 * 1024 * 1024 - 33];
    let set = command(&[b"SET", b"k", &value]);
    assert_eq!(responses(&[&set]), (b"+OK\r\n".to_vec(), Next::Recv));
    let keys = [&[&b"DEL"[..]][..], &[&b"k"[..]; 255]].concat();
    assert_eq!(responses(&[&set, &command(&keys)]).0, b"+OK\r\n:1\r\n");
    // Only the whole command is too long.
    let half = &value[..value.len() / 2 + 1];
    let del = command(&[b"DEL", half, half]);
    assert_eq!(responses(&[&del]).1, Next::Shutdown);
}

#[test]
fn integers_are_in_their_one_form_and_do_not_overflow() {
    let wrong = "-ERR value is not an integer or out of range\r\n";
    let overflow = "-ERR increment or decrement would overflow\r\n";
    for (value, expected) in [
        ("-1", ":0\r\n"),
        ("9223372036854775806", ":9223372036854775807\r\n"),
        ("9223372036854775807", overflow),
        ("-9223372036854775808", ":-9223372036854775807\r\n"),
        ("9223372036854775808", wrong),
        ("+1", wrong),
        ("01", wrong),
        ("-0", wrong),
        ("1.0", wrong),
        ("", wrong),
    ] {
        let set = command(&[b"SET", b"n", value.as_bytes()]);
        let (output, _) = responses(&[&set, b"INCR n\r\nGET n\r\n"]);
        let after =
            if expected.starts_with(':') { &expected[1..expected.len() - 2] } else { value };
        let stored = format!("+OK\r\n{expected}${}\r\n{after}\r\n", after.len());
        assert_eq!(String::from_utf8_lossy(&output), stored, "{value}");
    }
}

#[test]
fn full_store_refuses_values_until_some_are_removed() {
    let (mut store, mut output) = (example::Store::default(), Output::default());
    let mut client = store.on_open(&mut output);
    let mut run = |bytes: &[u8]| {
        let mut output = Output::default();
        assert_eq!(store.on_recv(&mut client, bytes, &mut output), Next::Recv);
        String::from_utf8(output.to_vec()).expect("text")
    };
    let value = vec![0; 4_000_000];
    let set = |key: u8| command(&[b"SET", &[key], &value]);
    let stored = (0..=255).take_while(|&key| run(&set(key)) == "+OK\r\n").count();
    assert_eq!(stored, 67, "values in 256 MiB");
    let refused = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    assert_eq!(run(&set(200)), refused);
    assert_eq!(run(&set(0)), "+OK\r\n", "a value is replaced");
    assert_eq!(run(&command(&[b"DEL", &[1], &[200]])), ":1\r\n");
    assert_eq!(run(&set(200)), "+OK\r\n");
    assert_eq!(run(&set(1)), refused);
}

#[test]
fn resp_responds_on_every_engine_however_commands_are_split() {
    let (commands, expected) = stream_of_commands();
    for variant in variants("resp_responds_on_every_engine_however_commands_are_split") {
        let server = Example::start("resp", variant);
        for split in 0..commands.len() {
            let (first, second) = commands.split_at(split);
            assert_eq!(server.exchange(&[first, second]), expected, "{variant}: {split}");
        }
        for &(bytes, problem) in PROTOCOL_ERRORS {
            let mut stream = server.connect();
            stream.write_all(&[b"PING\r\n", bytes].concat()).expect("a socket");
            let mut received = String::new();
            // The server ends the stream first.
            stream.read_to_string(&mut received).expect("an end of the stream");
            assert_eq!(received, format!("+PONG\r\n-ERR Protocol error: {problem}\r\n"));
        }
    }
}

#[test]
fn resp_drops_a_command_that_the_end_of_the_stream_cuts() {
    let set = command(&[b"SET", b"cut", b"value"]);
    for variant in variants("resp_drops_a_command_that_the_end_of_the_stream_cuts") {
        let server = Example::start("resp", variant);
        for end in 0..set.len() {
            assert_eq!(server.exchange(&[b"PING\r\n", &set[..end]]), b"+PONG\r\n", "{variant}");
        }
        assert_eq!(server.exchange(&[b"GET cut\r\n"]), b"$-1\r\n", "{variant}");
    }
}

#[test]
fn resp_sends_large_values_and_then_the_end() {
    let value: Vec<u8> = (0..3_000_000).map(|index| (index / 7 % 251) as u8).collect();
    let set = command(&[b"SET", b"large", &value]);
    let gets = b"GET large\r\n".repeat(10);
    let values = bulk(&value).repeat(10);
    for variant in variants("resp_sends_large_values_and_then_the_end") {
        let server = Example::start("resp", variant);
        assert_eq!(server.exchange(&[&set]), b"+OK\r\n", "{variant}");
        // The end of the stream arrives while commands wait for the output to be sent.
        assert!(server.exchange(&[&gets]) == values, "{variant}");
        let error = b"-ERR Protocol error: expected '$'\r\n";
        let received = server.exchange(&[&gets, b"*1\r\nwrong\r\n"]);
        assert!(received == [&values[..], error].concat(), "{variant}");
        let cut = server.exchange(&[&gets, b"GET lar"]);
        assert!(cut == values, "{variant}");
    }
}

/// Returns the peak resident memory of a process, in bytes (proc_pid_status(5)).
fn peak_memory_bytes(process: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

/// Sends values and requests for them, and counts the bytes that the kernel took.
fn send_counting(mut stream: &TcpStream, commands: &[u8], sent: &AtomicUsize) {
    let mut rest = commands;
    while !rest.is_empty() {
        match stream.write(&rest[..rest.len().min(64 * 1024)]) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
        sent.store(commands.len() - rest.len(), Ordering::Relaxed);
    }
    stream.shutdown(Shutdown::Write).expect("a socket");
}

#[test]
fn peer_that_does_not_read_is_not_read_from() {
    const VALUES: u8 = 100;
    const VALUE_BYTES: usize = 1_000_000;
    let value = |index| vec![index; VALUE_BYTES];
    let pair = |index| [command(&[b"SET", b"k", &value(index)]), b"GET k\r\n".to_vec()].concat();
    let commands: Vec<u8> = (0..VALUES).flat_map(pair).collect();
    for variant in variants("peer_that_does_not_read_is_not_read_from") {
        let server = Example::start("resp", variant);
        let (mut stream, sent) = (server.connect(), AtomicUsize::new(0));
        thread::scope(|scope| {
            let sender = stream.try_clone().expect("a descriptor");
            let (commands, sent) = (&commands, &sent);
            scope.spawn(move || send_counting(&sender, commands, sent));
            // Until the server no longer receives. If it is only slow, the test checks less.
            let mut before = usize::MAX;
            while before != sent.load(Ordering::Relaxed) {
                before = sent.load(Ordering::Relaxed);
                thread::sleep(Duration::from_millis(300));
            }
            assert!(before < commands.len(), "{variant}: everything was received");
            for index in 0..VALUES {
                let expected = [b"+OK\r\n", &bulk(&value(index))[..]].concat();
                let mut received = vec![0; expected.len()];
                stream.read_exact(&mut received).expect("a response");
                assert!(received == expected, "{variant}: {index}");
            }
        });
        assert_eq!(stream.read(&mut [0]).expect("an end of the stream"), 0, "{variant}");
        let peak_bytes = peak_memory_bytes(server.child.id());
        assert!(peak_bytes < commands.len() / 2, "{variant}: {peak_bytes} bytes");
    }
}

#[test]
fn output_that_a_peer_does_not_read_is_bounded() {
    // One receive has many commands. Copied values are memory of their connection.
    const COUNT: usize = 8_000;
    let value = [b'v'; 16 * 1024];
    let expected = bulk(&value);
    for variant in variants("output_that_a_peer_does_not_read_is_bounded") {
        let server = Example::start("resp", variant);
        assert_eq!(server.exchange(&[&command(&[b"SET", b"k", &value])]), b"+OK\r\n");
        let mut stream = server.connect();
        stream.write_all(&b"GET k\r\n".repeat(COUNT)).expect("a socket");
        let mut received = vec![0; expected.len()];
        for index in 0..COUNT {
            stream.read_exact(&mut received).expect("a response");
            assert!(received == expected, "{variant}: {index}");
        }
        let peak_bytes = peak_memory_bytes(server.child.id());
        assert!(peak_bytes < COUNT * value.len() / 8, "{variant}: {peak_bytes} bytes");
    }
}

/// Runs a client program to its end, with `input` as its standard input.
fn run(tool: &std::path::Path, server: &Example, arguments: &[&str], input: &str) -> Outcome {
    let mut child = Command::new(tool)
        .args(["-h", "127.0.0.1", "-p", &server.address.port().to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the client is installed");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(input.as_bytes()).expect("the client reads");
    drop(pipe);
    child.wait_with_output().expect("the client ends")
}

#[test]
fn redis_cli_gets_the_responses() {
    let Some(cli) = find_tool("redis_cli_gets_the_responses", "redis-cli") else { return };
    for variant in variants("redis_cli_gets_the_responses") {
        let server = Example::start("resp", variant);
        let cli = |arguments: &[&str], input: &str| {
            let outcome = run(&cli, &server, arguments, input);
            String::from_utf8(outcome.stdout).expect("text").trim_end().to_owned()
        };
        for (arguments, expected) in [
            (&["ping"][..], "PONG"),
            (&["set", "k", "a b"], "OK"),
            (&["get", "k"], "a b"),
            (&["incr", "k"], "ERR value is not an integer or out of range"),
            (&["incr", "n"], "1"),
            (&["get"], "ERR wrong number of arguments for 'get' command"),
            (&["config", "get", "save"], "ERR unknown command 'config'"),
            (&["-3", "incr", "n"], "2"),
            (&["--no-raw", "del", "k", "n"], "(integer) 2"),
            (&["--no-raw", "get", "n"], "(nil)"),
        ] {
            assert_eq!(cli(arguments, ""), expected, "{variant}: {arguments:?}");
        }
        assert_eq!(cli(&[], "set k 1\nincr k\nget k\n"), "OK\n2\n2", "{variant}");
        let many = "SET k 1\r\nINCR k\r\nGET k\r\n".repeat(5_000);
        let piped = cli(&["--pipe"], &many);
        assert!(piped.contains("errors: 0,") && piped.ends_with(" 15000"), "{variant}: {piped}");
    }
}

#[test]
fn redis_benchmark_completes_its_requests() {
    let test = "redis_benchmark_completes_its_requests";
    let Some(benchmark) = find_tool(test, "redis-benchmark") else { return };
    let requests: u64 = if is_full() { 20_000 } else { 2_000 };
    let count = requests.to_string();
    for variant in variants(test) {
        let server = Example::start("resp", variant);
        let mut increments = 0;
        for (depth, clients, value_bytes) in
            [("1", "20", "3"), ("16", "20", "3"), ("4", "3", "50000")]
        {
            let arguments = ["-n", &count, "-P", depth, "-c", clients, "-d", value_bytes, "--csv"];
            let tests = ["-t", "ping_inline,ping_mbulk,set,get,incr"];
            let outcome = run(&benchmark, &server, &[&arguments[..], &tests].concat(), "");
            let text = String::from_utf8(outcome.stdout).expect("text");
            let errors = String::from_utf8_lossy(&outcome.stderr);
            assert!(outcome.status.success(), "{variant}: {text} {errors}");
            let rows: Vec<_> =
                text.lines().skip(1).filter_map(|line| line.split('"').nth(1)).collect();
            let expected = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR"];
            assert_eq!(rows, expected, "{variant}: {text} {errors}");
            increments += requests;
        }
        // It rounds the number of requests up to whole pipelines.
        let value = server.exchange(&[b"GET counter:__rand_int__\r\n"]);
        let value = String::from_utf8(value).expect("text");
        let value: u64 = value.lines().nth(1).and_then(|it| it.parse().ok()).expect("a counter");
        assert!((increments..increments + 1000).contains(&value), "{variant}: {value}");
        let value = server.exchange(&[b"GET key:__rand_int__\r\n"]);
        assert!(value.starts_with(b"$50000\r\n"), "{variant}");
    }
}
