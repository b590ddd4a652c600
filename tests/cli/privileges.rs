//! Root no longer than it is needed. Only root can show it: anybody else is told so by name.

use std::fs;

use ringpoll_backends::Variant;

use crate::program::{Server, complaint, ringpoll};

fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test}: root is needed");
        eprintln!("skipped: {test}: root is needed");
    }
    root
}

/// The `Uid:` and `Gid:` lines of each of its threads, without repetitions.
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
fn every_thread_becomes_the_user_and_still_serves() {
    if !is_root("every_thread_becomes_the_user_and_still_serves") {
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid, nobody.gid);
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--workers", "2", "--user", "nobody"];
        let server = Server::start(&arguments);
        server.ask_for_hello();
        let expected = format!(
            "Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{gid}"
        );
        assert_eq!(identities(server.process_id()), [expected], "{variant}");
        let ended = server.stop();
        assert!(!ended.stderr.contains("warning: serving as root"), "{}", ended.stderr);
    }
}

#[test]
fn serving_as_root_is_warned_of() {
    if !is_root("serving_as_root_is_warned_of") {
        return;
    }
    let ended = Server::start(&[]).stop();
    assert!(ended.stderr.contains("warning: serving as root; --user "), "{}", ended.stderr);
}

#[test]
fn a_user_that_does_not_exist_is_refused() {
    let user = "nobody-of-that-name";
    let said = complaint(&mut ringpoll(&["serve", "--listen", "127.0.0.1:0", "--user", user]), 2);
    assert_eq!(said, format!("server.user: there is no user {user}\n"));
}
