//! Each key of the configuration sets the deadline that it is named for, and no other.

use std::net::TcpStream;
use std::thread;

use crate::client::{connect, connect_and_send, is_ended, read_to_end};
use crate::common::{REQUEST, RESPONSE, ServerProcess, wait_until_held};
use crate::serving::variants;

const KEYS: [&str; 7] =
    ["idle", "request_head", "send", "linger", "life", "keep_alive", "request_body"];
const COUNTERS: [&str; 5] =
    ["expired_receiving", "expired_sending", "expired_lingering", "expired_life", "expired_idle"];

#[test]
fn each_key_sets_its_own_deadline() {
    let variant = variants().next().expect("epoll is always allowed");
    thread::scope(|scope| {
        for key in KEYS {
            let mut arguments = vec!["--backend".to_owned(), variant.name().to_owned()];
            for other in KEYS {
                let length = if other == key { 1000 } else { 0 };
                arguments.push("--set".to_owned());
                arguments.push(format!("deadlines.{other}_timeout_ms={length}"));
            }
            scope.spawn(move || ends_by(key, &arguments));
        }
    });
}

/// A peer that gives only this deadline a reason; and one that gives it none.
fn ends_by(key: &str, arguments: &[String]) {
    let body = match key {
        // Far more than the buffers of both sides hold together, while nobody reads.
        "send" => ["--set", "server.response_body_bytes=524288"],
        _ => ["--set", "server.response_body_bytes=13"],
    };
    let small = ["--set", "server.send_buffer_bytes=32768"];
    let persists = matches!(key, "keep_alive" | "request_body");
    let keep_alive = ["--set".to_owned(), format!("server.keep_alive={persists}")];
    let arguments = arguments.iter().map(String::as_str).chain(body).chain(small);
    let arguments = arguments.chain(keep_alive.iter().map(String::as_str));
    let server = ServerProcess::start(&arguments.collect::<Vec<_>>());
    let peer: TcpStream = match key {
        "idle" | "life" => connect(server.address),
        "request_head" => connect_and_send(server.address, b"GET"),
        "send" => connect_and_send(server.address, REQUEST),
        "keep_alive" => {
            let peer = connect_and_send(server.address, REQUEST);
            peer.peek(&mut [0]).expect("an answer");
            peer
        }
        "request_body" => {
            let head = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
            connect_and_send(server.address, head)
        }
        "linger" => {
            let peer = connect_and_send(server.address, REQUEST);
            assert_eq!(read_to_end(&peer).expect("an answer"), RESPONSE);
            peer
        }
        _ => unreachable!("no such key"),
    };
    if key == "send" {
        peer.peek(&mut [0]).expect("the beginning of an answer");
    } else if key == "keep_alive" {
        read_to_end(&peer).expect("an answer, and its end");
    } else {
        is_ended(&peer);
    }
    wait_until_held(server.address, 0);
    let report = server.stopped().report();
    let expired = COUNTERS.map(|counter| report["total"][counter].as_u64().expect("a counter"));
    let expected = match key {
        "idle" | "request_head" | "request_body" => [1, 0, 0, 0, 0],
        "send" => [0, 1, 0, 0, 0],
        "linger" => [0, 0, 1, 0, 0],
        "keep_alive" => [0, 0, 0, 0, 1],
        _ => [0, 0, 0, 1, 0],
    };
    assert_eq!(expired, expected, "{key}: {COUNTERS:?}");
    drop(peer);
}
