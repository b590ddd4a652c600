//! Each configuration key sets its own deadline and no other.

use std::net::TcpStream;
use std::thread;

use crate::client::{connect, connect_and_send, read_to_end, wait_until_closed};
use crate::servers::variants;
use common::{REQUEST, RESPONSE, ServerProcess, wait_for_open_connections};

tests![each_config_key_sets_its_own_deadline,];

const KEYS: [&str; 7] = [
    "idle_timeout_ms",
    "request_head_timeout_ms",
    "send_timeout_ms",
    "linger_timeout_ms",
    "connection_lifetime_ms",
    "keep_alive_timeout_ms",
    "request_body_timeout_ms",
];
const COUNTERS: [&str; 5] = [
    "expired_receiving",
    "expired_sending",
    "expired_lingering",
    "expired_lifetime",
    "expired_idle",
];

fn each_config_key_sets_its_own_deadline() {
    let variant = variants().next().expect("epoll is always allowed");
    thread::scope(|scope| {
        for key in KEYS {
            let mut arguments = vec!["--backend".to_owned(), variant.name().to_owned()];
            for other in KEYS {
                let length = if other == key { 1000 } else { 0 };
                arguments.push("--set".to_owned());
                arguments.push(format!("deadlines.{other}={length}"));
            }
            scope.spawn(move || check_expiry(key, &arguments));
        }
    });
}

/// Starts a server with this deadline alone, and a peer that exceeds it.
fn check_expiry(key: &str, arguments: &[String]) {
    let body = match key {
        // Exceeds the buffers of both sides, since the peer does not read.
        "send_timeout_ms" => ["--set", "server.response_body_bytes=524288"],
        _ => ["--set", "server.response_body_bytes=13"],
    };
    let small = ["--set", "server.send_buffer_bytes=32768"];
    let keep_alive = matches!(key, "keep_alive_timeout_ms" | "request_body_timeout_ms");
    let keep_alive = ["--set".to_owned(), format!("server.keep_alive={keep_alive}")];
    let arguments = arguments.iter().map(String::as_str).chain(body).chain(small);
    let arguments = arguments.chain(keep_alive.iter().map(String::as_str));
    let server = ServerProcess::start(&arguments.collect::<Vec<_>>());
    let peer: TcpStream = match key {
        "idle_timeout_ms" | "connection_lifetime_ms" => connect(server.address),
        "request_head_timeout_ms" => connect_and_send(server.address, b"GET"),
        "send_timeout_ms" => connect_and_send(server.address, REQUEST),
        "keep_alive_timeout_ms" => {
            let peer = connect_and_send(server.address, REQUEST);
            peer.peek(&mut [0]).expect("a response");
            peer
        }
        "request_body_timeout_ms" => {
            let head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
            connect_and_send(server.address, head)
        }
        "linger_timeout_ms" => {
            let peer = connect_and_send(server.address, REQUEST);
            assert_eq!(read_to_end(&peer).expect("a response"), RESPONSE);
            peer
        }
        _ => unreachable!("no such key"),
    };
    if key == "send_timeout_ms" {
        peer.peek(&mut [0]).expect("the start of a response");
    } else if key == "keep_alive_timeout_ms" {
        read_to_end(&peer).expect("the end of the stream");
    } else {
        wait_until_closed(&peer);
    }
    wait_for_open_connections(server.address, 0);
    let report = server.stop_and_wait().report();
    let expired = COUNTERS.map(|counter| report["total"][counter].as_u64().expect("a counter"));
    let expected = match key {
        "idle_timeout_ms" | "request_head_timeout_ms" | "request_body_timeout_ms" => {
            [1, 0, 0, 0, 0]
        }
        "send_timeout_ms" => [0, 1, 0, 0, 0],
        "linger_timeout_ms" => [0, 0, 1, 0, 0],
        "keep_alive_timeout_ms" => [0, 0, 0, 0, 1],
        _ => [0, 0, 0, 1, 0],
    };
    assert_eq!(expired, expected, "{key}: {COUNTERS:?}");
    drop(peer);
}
