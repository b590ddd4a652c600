//! Runs h1spec, a public suite for HTTP/1.1 servers, against every engine with keep-alive. It is in
//! no package registry; with h1spec on the PATH, run
//! `cargo test --test h1spec -- --ignored --nocapture`.

use std::process::Command;

use common::{ServerProcess, engine_is_available, find_tool};
use ringpoll_backends::Variant;

#[test]
#[ignore = "needs h1spec, which is in no package registry"]
fn h1spec_reports_no_failures() {
    let Some(h1spec) = find_tool("h1spec_reports_no_failures", "h1spec") else { return };
    let variants = Variant::ALL.iter().copied();
    for variant in variants.filter(|&it| engine_is_available("h1spec_reports_no_failures", it)) {
        let arguments = ["--backend", variant.name(), "--set", "server.keep_alive=true"];
        let server = ServerProcess::start(&arguments);
        let output = Command::new(&h1spec).arg("--strict").arg(server.address.to_string()).output();
        let output = output.expect("h1spec starts");
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{variant}\n{text}");
        assert!(text.contains("passed"), "{variant}: h1spec ran no test: {output:?}");
        assert!(output.status.success(), "{variant}: {text}");
        let total = &server.stop_and_wait().report()["total"];
        assert_ne!(total["requests"], 0, "{variant}: {total}");
    }
}
