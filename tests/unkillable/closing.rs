//! An answer followed by a close, on a network that loses packets, to a peer that has sent more
//! than anybody wants to read. What nobody reads turns into a reset when the connection is closed,
//! and a reset that is faster than the answer destroys it.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ringpoll_backends::{Closing, Variant};

use crate::client::read_to_end;
use crate::common::{PATIENCE, REQUEST, RESPONSE};
use crate::namespace;
use crate::serving::{serve, variants};

/// Of what the handshake does not need: whoever gets no connection loses no answer.
const LOSE_A_FIFTH: &str = "tcp flags & syn == 0 numgen random mod 100 < 20 drop";
/// A segment that is lost nine times in a row comes after a minute and a half.
const LONG: Duration = Duration::from_secs(150);
/// A reset is not sent again: who has lost it as well as the answer would wait for ever.
const SHORT: Duration = Duration::from_secs(4);
/// At the same time on each variant.
const PEERS: usize = 250;

#[test]
fn a_lingering_close_loses_no_answer_on_a_lossy_network() {
    let name = "a_lingering_close_loses_no_answer_on_a_lossy_network";
    if !namespace::are_possible(name) {
        return;
    }
    let lost = answers_lost_on_every_variant(Closing::Lingering { bytes: 64 * 1024 }, 4);
    for (variant, lost) in lost {
        assert_eq!(lost, 0, "{variant}: so many answers of {} were lost", 4 * PEERS);
    }
}

/// What the check above is for can be seen by it.
#[test]
fn a_close_at_once_loses_answers_on_a_lossy_network() {
    let name = "a_close_at_once_loses_answers_on_a_lossy_network";
    if !namespace::are_possible(name) {
        return;
    }
    for (variant, lost) in answers_lost_on_every_variant(Closing::AtOnce, 1) {
        println!("{variant}: closed at once, {lost} of {PEERS} answers were lost");
        assert!(lost > 0, "{variant}");
    }
}

fn answers_lost_on_every_variant(closing: Closing, requests_each: usize) -> Vec<(Variant, usize)> {
    thread::scope(|scope| {
        let run = |variant: Variant| {
            let work = move || answers_lost(variant, closing, requests_each);
            (variant, namespace::within(scope, variant.to_string(), work))
        };
        let running: Vec<_> = variants().map(run).collect();
        running.into_iter().map(|(variant, it)| (variant, it.join().expect("no panic"))).collect()
    })
}

fn answers_lost(variant: Variant, closing: Closing, requests_each: usize) -> usize {
    let mut server = serve(variant, |worker| {
        worker.closing = closing;
        worker.deadlines.linger = Duration::from_secs(2);
    });
    namespace::filter_input(LOSE_A_FIFTH);
    let patience = if closing == Closing::AtOnce { SHORT } else { LONG };
    let lost = AtomicUsize::new(0);
    thread::scope(|scope| {
        for peer in 0..PEERS {
            let (lost, address) = (&lost, server.address);
            let ask = move || {
                for number in 0..requests_each {
                    let is_answered = ask_and_go_on(address, peer + number, patience);
                    lost.fetch_add(usize::from(!is_answered), Ordering::Relaxed);
                }
            };
            thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn_scoped(scope, ask)
                .expect("a thread");
        }
    });
    namespace::filter_input("");
    server.stop.request();
    let counters = server.ended().counters;
    let requests = (PEERS * requests_each) as u64;
    assert_eq!((counters.requests, counters.answered), (requests, requests), "{variant}");
    assert_eq!(counters.closed, requests, "{variant}");
    lost.into_inner()
}

/// A request with more behind it: at once, a little later, or both. Whether its answer came.
fn ask_and_go_on(address: SocketAddr, number: usize, patience: Duration) -> bool {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    stream.set_read_timeout(Some(patience)).expect("a length of time");
    let more = [b'x'; 3000];
    stream.write_all(REQUEST).expect("room for so little");
    if !number.is_multiple_of(3) {
        let _ = stream.write_all(&more);
    }
    if number % 3 != 1 {
        thread::sleep(Duration::from_millis(1 + 25 * (number % 8) as u64));
        // It may have been reset by now.
        let _ = stream.write_all(&more);
    }
    read_to_end(&stream).is_ok_and(|answer| answer == RESPONSE)
}
