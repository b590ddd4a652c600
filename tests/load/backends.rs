//! Our own engines count what the client counts.

use ringpoll_backends::Variant;

use crate::common::{RESPONSE, Served, engine, response};
use crate::peer::{outcome, plan, request};
use ringpoll::load::{EndedBy, Plan};

const REQUESTS: u64 = 2000;

/// Each engine that this kernel allows.
fn engines(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

#[test]
fn client_and_server_agree_on_what_was_done() {
    for variant in engines("client_and_server_agree_on_what_was_done") {
        let served = Served::start(variant, |_| {});
        let outcome = outcome(&plan(served.address, REQUESTS));
        let (report, left_open) = served.stopped();

        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!((outcome.begun, outcome.completed), (REQUESTS, REQUESTS));
        assert_eq!((outcome.ended_by, outcome.unfinished), (EndedBy::Plan, 0));
        assert_eq!(outcome.reference.bytes(), RESPONSE);
        assert_eq!(outcome.bytes_received, REQUESTS * RESPONSE.len() as u64);
        assert_eq!(outcome.bytes_sent, REQUESTS * request().bytes().len() as u64);
        assert_eq!(outcome.uncorrected.len(), REQUESTS);
        assert_eq!(outcome.corrected, outcome.uncorrected);
        assert_eq!(outcome.most_under_way, 4);
        assert!(outcome.duration.as_nanos() as u64 >= outcome.uncorrected.max() / 2);
        assert!(!outcome.own_cost.cpu().is_zero());
        // One more: the answer that all others were held against.
        assert_eq!(report.counters.requests, REQUESTS + 1, "{variant}");
        assert_eq!(left_open, 0, "{variant}");
    }
}

#[test]
fn threads_share_the_work() {
    for variant in engines("threads_share_the_work") {
        let served = Served::start(variant, |_| {});
        let plan = Plan { threads: 3, ..plan(served.address, REQUESTS) };
        let outcome = outcome(&plan);
        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!((outcome.completed, outcome.uncorrected.len()), (REQUESTS, REQUESTS));
        assert_eq!(served.stopped().0.counters.requests, REQUESTS + 1);
    }
}

#[test]
fn an_answer_larger_than_any_window_is_verified_whole() {
    let answer = response(3 * 1024 * 1024);
    for variant in engines("an_answer_larger_than_any_window_is_verified_whole") {
        let served = Served::start(variant, |worker| worker.response = answer.clone().into());
        let outcome = outcome(&plan(served.address, 20));
        assert!(outcome.is_clean(), "{variant}: {:?}", outcome.failures);
        assert_eq!(outcome.bytes_received, 20 * answer.len() as u64);
        assert_eq!(outcome.reference.body_bytes(), 3 * 1024 * 1024);
    }
}
