//! Agreement of the client's counts with those of the server, for every engine.

use ringpoll_backends::Variant;

use crate::peer::{outcome, plan, request};
use common::{RESPONSE, ServerThread, engine_is_available, response};
use ringpoll::load::{EndedBy, Plan};

const REQUESTS: u64 = 2000;

/// Returns the engines that this kernel supports.
fn engines(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

#[test]
fn client_and_server_counts_agree() {
    for variant in engines("client_and_server_counts_agree") {
        let served = ServerThread::start(variant, |_| {});
        let outcome = outcome(&plan(served.address, REQUESTS));
        let (report, left_open) = served.stop_and_wait();

        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!((outcome.started, outcome.completed), (REQUESTS, REQUESTS));
        assert_eq!((outcome.ended_by, outcome.unfinished), (EndedBy::Plan, 0));
        assert_eq!(outcome.reference.bytes(), RESPONSE);
        assert_eq!(outcome.bytes_received, REQUESTS * RESPONSE.len() as u64);
        assert_eq!(outcome.bytes_sent, REQUESTS * request().bytes().len() as u64);
        assert_eq!(outcome.uncorrected.len(), REQUESTS);
        assert_eq!(outcome.corrected, outcome.uncorrected);
        assert_eq!(outcome.max_in_flight, 4);
        assert!(outcome.duration.as_nanos() as u64 >= outcome.uncorrected.max() / 2);
        assert!(!outcome.client_cpu.total().is_zero());
        // One more: the request for the reference response.
        assert_eq!(report.counters.requests, REQUESTS + 1, "{variant}");
        assert_eq!(left_open, 0, "{variant}");
    }
}

#[test]
fn threads_share_the_requests() {
    for variant in engines("threads_share_the_requests") {
        let served = ServerThread::start(variant, |_| {});
        let plan = Plan { threads: 3, ..plan(served.address, REQUESTS) };
        let outcome = outcome(&plan);
        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!((outcome.completed, outcome.uncorrected.len()), (REQUESTS, REQUESTS));
        assert_eq!(served.stop_and_wait().0.counters.requests, REQUESTS + 1);
    }
}

#[test]
fn response_larger_than_the_receive_window_is_verified() {
    let large = response(3 * 1024 * 1024);
    for variant in engines("response_larger_than_the_receive_window_is_verified") {
        let served = ServerThread::start(variant, |worker| worker.set_response(large.clone()));
        let outcome = outcome(&plan(served.address, 20));
        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!(outcome.bytes_received, 20 * large.len() as u64);
        assert_eq!(outcome.reference.body_bytes(), 3 * 1024 * 1024);
    }
}
