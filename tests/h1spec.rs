//! A public suite for HTTP/1.1 servers, run against every engine with connections that persist:
//! h1spec, which is in no package registry and so is looked for where programs are. It is one of
//! the longer tests: `cargo test --test h1spec -- --ignored --nocapture`.

mod common;

use std::process::Command;

use common::{ServerProcess, engine, tool};
use ringpoll_backends::Variant;

#[test]
#[ignore = "needs h1spec, which is in no package registry"]
fn a_public_suite_finds_nothing() {
    let Some(h1spec) = tool("a_public_suite_finds_nothing", "h1spec") else { return };
    let variants = Variant::ALL.iter().copied();
    for variant in variants.filter(|&it| engine("a_public_suite_finds_nothing", it)) {
        let arguments = ["--backend", variant.name(), "--set", "server.keep_alive=true"];
        let server = ServerProcess::start(&arguments);
        let output = Command::new(&h1spec).arg("--strict").arg(server.address.to_string()).output();
        let output = output.expect("it can be started");
        let told = String::from_utf8_lossy(&output.stdout);
        println!("{variant}\n{told}");
        assert!(told.contains("passed"), "{variant}: it has tested nothing: {output:?}");
        assert!(output.status.success(), "{variant}: {told}");
        let total = &server.stopped().report()["total"];
        assert_ne!(total["requests"], 0, "{variant}: {total}");
    }
}
