//! The start line, signals, and the report.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;

use ringpoll_backends::Variant;
use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Server, ringpoll};

#[test]
fn start_line_has_address_engine_and_workers() {
    for (variant, engine) in [
        ("epoll:level", "epoll, level-triggered"),
        ("epoll:edge", "epoll, edge-triggered"),
        ("io_uring:single_shot", "io_uring, single shot"),
    ] {
        let server = Server::start(&["--backend", variant]);
        let address = server.address;
        assert_ne!(address.port(), 0);
        assert_eq!(server.start_line, format!("listening on {address} · {engine} · 1 worker"));
        assert_eq!(server.lines_before_start, [""; 0]);
        server.request_hello();
    }
}

#[test]
fn start_line_names_the_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.toml"), "backend = \"epoll\"\n").unwrap();
    let mut command = ringpoll(&["serve", "--listen", "127.0.0.1:0"]);
    let server = Server::start_as(command.current_dir(directory.path()));
    assert!(server.start_line.ends_with(" · 1 worker · config config.toml"));
}

#[test]
fn response_is_that_of_the_reference_programs_or_as_long_as_configured() {
    let server = Server::start(&[]);
    let response = server.request(b"GET / HTTP/1.0\r\n\r\n");
    let expected = "HTTP/1.0 200 OK\r\nDate: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
                    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
    assert_eq!(String::from_utf8(response).unwrap(), expected);
    let server = Server::start(&["--set", "server.response_body_bytes=100000"]);
    let response = String::from_utf8(server.request(b"GET / HTTP/1.0\r\n\r\n")).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with("Content-Length: 100000"), "{head}");
    assert_eq!(body.len(), 100_000);
}

#[test]
fn sigint_and_sigterm_stop_gracefully_with_a_report() {
    for variant in Variant::ALL {
        for signal in [Signal::INT, Signal::TERM] {
            let server = Server::start(&["--backend", variant.name()]);
            server.request_hello();
            server.signal(signal);
            let ended = server.wait();
            assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
            for counter in ["connections", "requests", "received_bytes", "sent_bytes"] {
                assert!(ended.stderr.contains(&format!("\n  {counter} ")), "{}", ended.stderr);
            }
            assert!(ended.stderr.contains("system_calls_per_request"), "{}", ended.stderr);
            assert_eq!(ended.stdout, "");
        }
    }
}

#[test]
fn second_signal_stops_immediately() {
    for variant in Variant::ALL {
        let no_end = ["server.drain_timeout_ms=600000", "deadlines.request_head_timeout_ms=0"];
        let arguments = ["--backend", variant.name(), "--set", no_end[0], "--set", no_end[1]];
        let mut server = Server::start(&arguments);
        // The server waits for a client that has sent part of a request.
        let mut client = server.connect();
        client.write_all(b"GET").unwrap();
        server.request_hello();
        server.signal(Signal::INT);
        while !server.read_line().starts_with("stopping within ") {}
        server.signal(Signal::TERM);
        let ended = server.wait();
        assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()), "{}", ended.status);
    }
}

#[test]
fn report_can_be_json() {
    let requests = 5;
    let server = Server::start(&["--backend", "epoll:level", "--stats", "json"]);
    for _ in 0..requests {
        server.request_hello();
    }
    let ended = server.stop();
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["backend"], "epoll:level");
    assert_eq!(report["workers"], 1);
    assert_eq!(report["total"], report["each_worker"][0]);
    let total = &report["total"];
    assert_eq!(total["accepted"], requests);
    assert_eq!(total["requests"], requests);
    assert_eq!(total["sent_bytes"], requests * 114);
    assert_eq!(total["system_calls"]["sendto"], requests);
    assert!(total["system_calls_per_request"].as_f64().unwrap() > 5.0);
    let waits = total["batch_sizes"].as_array().unwrap().iter().map(|it| &it["waits"]);
    assert_eq!(Value::from(waits.map(|it| it.as_u64().unwrap()).sum::<u64>()), total["waits"]);
}

#[test]
fn address_in_use_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message =
        crate::program::stderr_of_failure(&mut ringpoll(&["serve", "--listen", &address]), 1);
    assert!(message.starts_with(&format!("ringpoll: listen on {address}: ")), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}
