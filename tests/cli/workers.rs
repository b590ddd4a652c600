//! Several workers on one address, and never a second server among them.

use ringpoll_backends::Variant;
use serde_json::Value;

use crate::program::{Server, complaint, ringpoll};

#[test]
fn two_workers_share_one_address() {
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--workers", "2", "--stats", "json"];
        let server =
            Server::start(&[&arguments[..], &["--set", "server.pin_workers=true"]].concat());
        // Behind it stand the techniques in force, where there are any to choose from.
        let parts: Vec<_> = server.start_line.split(" · ").collect();
        assert_eq!(parts[2], "2 workers", "{}", server.start_line);
        assert_eq!(parts.len() > 3, *variant == Variant::IoUringTuned, "{}", server.start_line);
        let requests = 64;
        for _ in 0..requests {
            server.ask_for_hello();
        }
        let ended = server.stop();
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["workers"], 2);
        assert_eq!(report["total"]["requests"], requests);
        // The kernel deals connections out by a hash of both addresses, so each gets some.
        for worker in report["each_worker"].as_array().unwrap() {
            assert_ne!(worker["requests"], 0, "{report}");
        }
    }
}

#[test]
fn a_second_server_on_the_address_is_refused_however_many_workers_there_are() {
    let refused = |first: &str, second: &str| {
        let server = Server::start(&["--workers", first]);
        let address = server.address.to_string();
        let mut command = ringpoll(&["serve", "--listen", &address, "--workers", second]);
        let said = complaint(&mut command, 1);
        assert!(said.starts_with(&format!("ringpoll: listen on {address}: ")), "{said}");
        server.ask_for_hello();
    };
    // Together, since each tries for two seconds to get the address.
    std::thread::scope(|scope| {
        for (first, second) in [("2", "2"), ("1", "2"), ("2", "1")] {
            scope.spawn(move || refused(first, second));
        }
    });
}
