//! Agreement of the client's counts with those of the server, for every engine; and messages of
//! all lengths against the services of the engines.

use ringpoll_backends::Variant;
use ringpoll_backends::protocols::{Chargen, Discard, Echo};

use crate::peer::{outcome, plan, reference, request};
use common::{RESPONSE, ServerThread, TestProtocol, engine_is_available, response};
use ringpoll::load::{Direction, EndedBy, Lifetime, Plan, Request};

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
        assert_eq!(reference(&outcome).bytes(), RESPONSE);
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
        assert_eq!(reference(&outcome).body().len(), 3 * 1024 * 1024);
    }
}

#[test]
fn messages_and_streams_agree_with_the_services_of_every_engine() {
    let persistent = Lifetime::Persistent { depth: 3 };
    let stream = |bytes, direction| (Request::stream(bytes, direction), persistent);
    for variant in engines("messages_and_streams_agree_with_the_services_of_every_engine") {
        for bytes in [1, 8192, 100_000] {
            for (protocol, (request, lifetime)) in [
                (TestProtocol::Echo(Echo), (Request::message(bytes), persistent)),
                (TestProtocol::Echo(Echo), (Request::message(bytes), Lifetime::OneRequest)),
                (TestProtocol::Echo(Echo), stream(bytes, Direction::Both)),
                (TestProtocol::Discard(Discard), stream(bytes, Direction::Send)),
                (TestProtocol::Chargen(Chargen::default()), stream(bytes, Direction::Recv)),
            ] {
                let served = ServerThread::start(variant, |worker| worker.protocol = protocol);
                let request = request.expect("a valid length");
                let outcome = outcome(&Plan { request, lifetime, ..plan(served.address, 100) });
                assert!(outcome.is_clean(), "{variant}, {bytes}: {:?}", outcome.failures);
                assert_eq!(outcome.completed, 100, "{variant}, {bytes}");
                let (report, _) = served.stop_and_wait();
                assert_eq!(report.counters.accepted, outcome.connections_opened, "{variant}");
            }
        }
    }
}
