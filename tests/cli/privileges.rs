//! Dropping root privileges. Needs root: otherwise each test is skipped with a message.

use std::fs;

use ringpoll_backends::Variant;

use crate::program::{Server, ringpoll, stderr_of_failure};

const USER: &str = "daemon";

fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test}: root is needed");
        eprintln!("skipped: {test}: root is needed");
    }
    root
}

/// Returns the distinct `Uid:`, `Gid:` and `Groups:` lines of all threads of a process.
fn identities(process: u32) -> Vec<String> {
    let mut identities = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let lines = status
            .lines()
            .filter(|line| ["Uid:", "Gid:", "Groups:"].iter().any(|name| line.starts_with(name)));
        identities.push(lines.map(str::trim_end).collect::<Vec<_>>().join("\n"));
    }
    identities.sort();
    identities.dedup();
    identities
}

#[test]
fn every_thread_switches_to_the_user_and_serves() {
    if !is_root("every_thread_switches_to_the_user_and_serves") {
        return;
    }
    let user = nix::unistd::User::from_name(USER).unwrap().unwrap();
    let (uid, gid) = (user.uid, user.gid);
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--workers", "2", "--user", USER];
        let server = Server::start(&arguments);
        server.request_hello();
        let expected = format!(
            "Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{gid}"
        );
        assert_eq!(identities(server.process_id()), [expected], "{variant}");
        let ended = server.stop();
        assert!(!ended.stderr.contains("warning: serving as root"), "{}", ended.stderr);
    }
}

#[test]
fn serving_as_root_prints_a_warning() {
    if !is_root("serving_as_root_prints_a_warning") {
        return;
    }
    let ended = Server::start(&[]).stop();
    assert!(ended.stderr.contains("warning: serving as root; --user "), "{}", ended.stderr);
}

#[test]
fn unknown_user_is_a_usage_error() {
    let user = "no-such-user";
    let message =
        stderr_of_failure(&mut ringpoll(&["serve", "--listen", "127.0.0.1:0", "--user", user]), 2);
    assert_eq!(message, format!("server.user: there is no user {user}\n"));
}
