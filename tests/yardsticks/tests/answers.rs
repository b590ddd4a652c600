//! Every yardstick gives the answer that ringpoll gives, in every life that it has.

use std::path::Path;

use ringpoll_yardsticks::program::Program;
use ringpoll_yardsticks::{ANSWER, PERSISTENT_ANSWER};

const OURS: [(&str, &str); 4] = [
    ("bare_epoll", env!("CARGO_BIN_EXE_bare_epoll")),
    ("mio_server", env!("CARGO_BIN_EXE_mio_server")),
    ("tokio_server", env!("CARGO_BIN_EXE_tokio_server")),
    ("monoio_server", env!("CARGO_BIN_EXE_monoio_server")),
];

fn start(program: &str, flags: &[&str]) -> Program {
    let arguments: Vec<_> = [&["{port}"], flags].concat().into_iter().map(str::to_owned).collect();
    Program::start(Path::new(program), &arguments).unwrap()
}

/// Several, one after the other: what a connection leaves behind is met by the next one.
fn answers_each(program: &Program) {
    for _ in 0..3 {
        let answer = program.answer().unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(ANSWER));
    }
}

fn answers_on(program: &Program) {
    let answers = program.persistent_answers(3, b"Hello, world!").unwrap();
    for answer in answers {
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(PERSISTENT_ANSWER));
    }
}

#[test]
fn one_connection_a_request() {
    let floor = env!("CARGO_BIN_EXE_blocking");
    answers_each(&start(floor, &[]));
    answers_each(&start(floor, &["--defer-accept", "--send-more"]));
    answers_each(&start(floor, &["--shutdown"]));
    answers_each(&start(OURS[0].1, &["--edge", "--send-more"]));
    for (name, program) in OURS {
        println!("{name}");
        answers_each(&start(program, &[]));
        answers_each(&start(program, &["--defer-accept"]));
    }
}

#[test]
fn connections_that_persist() {
    answers_on(&start(OURS[0].1, &["--keep-alive", "--edge"]));
    for (name, program) in OURS {
        println!("{name}");
        answers_on(&start(program, &["--keep-alive"]));
    }
}

#[test]
fn nginx_has_the_same_body() {
    let is_there = std::process::Command::new("nginx").arg("-v").output().is_ok();
    if !is_there {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nginx is not installed");
        println!("skipped: nginx_has_the_same_body: nginx is not installed");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let program = env!("CARGO_BIN_EXE_nginx_server");
    let nginx = start(program, &["--directory", directory, "--defer-accept"]);
    for _ in 0..3 {
        assert!(nginx.answer().unwrap().ends_with(b"\r\n\r\nHello, world!"));
    }
    let nginx = start(program, &["--directory", directory, "--keep-alive"]);
    assert_eq!(nginx.persistent_answers(3, b"\r\n\r\nHello, world!").unwrap().len(), 3);
}
