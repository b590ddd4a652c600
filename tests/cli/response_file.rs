//! The response body can be a file, which is in memory once.

use std::fs;

use crate::program::{Server, ringpoll, stderr_of_failure};

const MIB: usize = 1024 * 1024;

/// A request whose connection is closed after one response, with and without keep_alive.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn resident_bytes(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn file_is_the_body_of_every_response_and_is_in_memory_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    let file = file.to_str().unwrap();
    for body_bytes in [0, 1000, 200_000, 64 * MIB] {
        let pattern: Vec<u8> = (0..=250).collect();
        let mut body = pattern.repeat(body_bytes / pattern.len() + 1);
        body.truncate(body_bytes);
        fs::write(file, &body).unwrap();
        for backend in ["epoll:level", "epoll:edge", "io_uring:single_shot"] {
            for keep_alive in ["false", "true"] {
                let settings = [
                    format!("server.response_file={file}"),
                    format!("server.keep_alive={keep_alive}"),
                ];
                let arguments = [
                    "--backend",
                    backend,
                    "--workers",
                    "4",
                    "--set",
                    &settings[0],
                    "--set",
                    &settings[1],
                ];
                let server = Server::start(&arguments);
                let responses = [server.request(REQUEST), server.request(REQUEST)];
                for response in responses {
                    let (head, got) = response.split_at(response.len() - body_bytes);
                    let head = String::from_utf8_lossy(head);
                    assert!(head.contains(&format!("Content-Length: {body_bytes}\r\n")), "{head}");
                    assert!(head.ends_with("\r\n\r\n"), "{head}");
                    assert!(got == body, "{backend}, {body_bytes} bytes, keep_alive {keep_alive}");
                }
                // Beyond the body, each worker has its own buffers.
                let resident = resident_bytes(&server);
                let limit = body_bytes + 50 * MIB;
                assert!(
                    resident < limit,
                    "{backend}: {resident} bytes, for a body of {body_bytes}"
                );
                server.stop();
            }
        }
    }
}

#[test]
fn unreadable_file_is_a_usage_error() {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--set", "server.response_file=/nowhere"];
    let message = stderr_of_failure(&mut ringpoll(&arguments), 2);
    assert!(message.contains("server.response_file: /nowhere: "), "{message}");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--set", "server.response_file=/dev"];
    stderr_of_failure(&mut ringpoll(&arguments), 2);
}
