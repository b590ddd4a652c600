//! Every competitor sends the response of ringpoll, with and without keep-alive.

use std::path::Path;

use ringpoll_competitors::program::Program;
use ringpoll_competitors::{KEEP_ALIVE_RESPONSE, RESPONSE};

const SERVERS: [(&str, &str); 4] = [
    ("bare_epoll", env!("CARGO_BIN_EXE_bare_epoll")),
    ("mio_server", env!("CARGO_BIN_EXE_mio_server")),
    ("tokio_server", env!("CARGO_BIN_EXE_tokio_server")),
    ("monoio_server", env!("CARGO_BIN_EXE_monoio_server")),
];

fn start(program: &str, flags: &[&str]) -> Program {
    let arguments: Vec<_> = [&["{port}"], flags].concat().into_iter().map(str::to_owned).collect();
    Program::start(Path::new(program), &arguments).unwrap()
}

/// Sends several requests, since a connection may affect the next one.
fn assert_responses(program: &Program) {
    for _ in 0..3 {
        let response = program.request().unwrap();
        assert_eq!(String::from_utf8_lossy(&response), String::from_utf8_lossy(RESPONSE));
    }
}

fn assert_keep_alive_responses(program: &Program) {
    for response in program.keep_alive_requests(3, b"Hello, world!").unwrap() {
        assert_eq!(
            String::from_utf8_lossy(&response),
            String::from_utf8_lossy(KEEP_ALIVE_RESPONSE)
        );
    }
}

#[test]
fn all_servers_respond_with_one_connection_per_request() {
    let blocking = env!("CARGO_BIN_EXE_blocking");
    assert_responses(&start(blocking, &[]));
    assert_responses(&start(blocking, &["--defer-accept", "--send-more"]));
    assert_responses(&start(blocking, &["--shutdown"]));
    assert_responses(&start(SERVERS[0].1, &["--edge", "--send-more"]));
    for (name, program) in SERVERS {
        println!("{name}");
        assert_responses(&start(program, &[]));
        assert_responses(&start(program, &["--defer-accept"]));
    }
}

#[test]
fn all_servers_respond_on_keep_alive_connections() {
    assert_keep_alive_responses(&start(SERVERS[0].1, &["--keep-alive", "--edge"]));
    for (name, program) in SERVERS {
        println!("{name}");
        assert_keep_alive_responses(&start(program, &["--keep-alive"]));
    }
}

#[test]
fn nginx_sends_the_same_body() {
    let is_installed = std::process::Command::new("nginx").arg("-v").output().is_ok();
    if !is_installed {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nginx is not installed");
        println!("skipped: nginx_sends_the_same_body: nginx is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_nginx_server");
    let nginx = start(program, &["--directory", directory, "--defer-accept"]);
    for _ in 0..3 {
        assert!(nginx.request().unwrap().ends_with(b"\r\n\r\nHello, world!"));
    }
    let nginx = start(program, &["--directory", directory, "--keep-alive"]);
    assert_eq!(nginx.keep_alive_requests(3, b"\r\n\r\nHello, world!").unwrap().len(), 3);
}
