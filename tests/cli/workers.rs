//! Several workers share an address, which a second server cannot use.

use ringpoll_backends::Variant;
use serde_json::Value;

use crate::program::{Server, ringpoll, stderr_of_failure};

#[test]
fn two_workers_share_one_address() {
    for variant in Variant::ALL {
        let arguments = ["--backend", variant.name(), "--workers", "2", "--stats", "json"];
        let server =
            Server::start(&[&arguments[..], &["--set", "server.pin_workers=true"]].concat());
        // The techniques in force follow, if the engine has techniques.
        let parts: Vec<_> = server.start_line.split(" · ").collect();
        assert_eq!(parts[2], "2 workers", "{}", server.start_line);
        assert_eq!(parts.len() > 3, *variant == Variant::IoUringTuned, "{}", server.start_line);
        let requests = 64;
        for _ in 0..requests {
            server.request_hello();
        }
        let ended = server.stop();
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(report["workers"], 2);
        assert_eq!(report["total"]["requests"], requests);
        // The kernel distributes connections by a hash of both addresses, so each worker gets some.
        for worker in report["each_worker"].as_array().unwrap() {
            assert_ne!(worker["requests"], 0, "{report}");
        }
    }
}

#[test]
fn second_server_on_an_address_is_refused_with_any_number_of_workers() {
    let refused = |first: &str, second: &str| {
        let server = Server::start(&["--workers", first]);
        let address = server.address.to_string();
        let mut command = ringpoll(&["serve", "--listen", &address, "--workers", second]);
        let message = stderr_of_failure(&mut command, 1);
        assert!(message.starts_with(&format!("ringpoll: listen on {address}: ")), "{message}");
        server.request_hello();
    };
    // In parallel, because each retries the address for two seconds.
    std::thread::scope(|scope| {
        for (first, second) in [("2", "2"), ("1", "2"), ("2", "1")] {
            scope.spawn(move || refused(first, second));
        }
    });
}
