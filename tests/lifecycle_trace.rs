//! The order of the life: every engine takes the same steps, and after each of them the connection
//! wants the same.
//!
//! What stands here was written down once, and holds for all variants. Two things are made equal
//! before it is compared, since they are no part of the life:
//!
//! - How many sends a large answer takes, and how much each of them takes, is the kernel's to
//!   decide, anew each time. Those that took a part stand as one line without a number.
//! - Who reads until EAGAIN, as edge triggering has to, finds bytes behind the request, or the end
//!   of the stream, that others leave unread. Such a step changes nothing: the connection wanted to
//!   send before it and wants to send after it. It is left out, and only then.

mod common;

use common::{Client, REQUEST, Served, StepWatch, engine, response};
use ringpoll_backends::connection::Next;
use ringpoll_backends::{
    Closing, DeadlineLengths, EngineOptions, ListenOptions, Step, Variant, Worker,
};

/// How the life of whoever was answered ends, once it has been told that nothing follows.
const AT_ONCE: &[&str] = &["shut, wants to close", "closed"];
const LINGERING: &[&str] =
    &["shut, wants to receive", "received the end, wants to close", "closed"];

#[test]
fn whole_request() {
    let expected = [
        "accepted, wants to receive",
        "received 27, wants to send",
        "sent 114, wants to shut down",
    ];
    answered_lives_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(REQUEST);
            client.read_to_end();
        },
    );
}

#[test]
fn request_in_two_pieces() {
    let expected = [
        "accepted, wants to receive",
        "received 10, wants to receive",
        "received 17, wants to send",
        "sent 114, wants to shut down",
    ];
    answered_lives_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(&REQUEST[..10]);
            server.watch.wait_until_received(10);
            client.send(&REQUEST[10..]);
            client.read_to_end();
        },
    );
}

/// One answer, whatever follows the request.
#[test]
fn two_requests_in_one_piece() {
    let expected = [
        "accepted, wants to receive",
        "received 54, wants to send",
        "sent 114, wants to shut down",
    ];
    answered_lives_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(&REQUEST.repeat(2));
            client.read_to_end();
        },
    );
}

/// The end of the stream is there before the request is read.
#[test]
fn half_close_behind_a_whole_request() {
    let expected = [
        "accepted, wants to receive",
        "received 27, wants to send",
        "sent 114, wants to shut down",
    ];
    answered_lives_are(
        &expected,
        |_| {},
        |server| {
            let held = server.watch.hold_at(|step| step == Step::Accepted);
            let mut client = server.connect();
            held.wait_until_held();
            client.send(REQUEST);
            client.half_close();
            drop(held);
            client.read_to_end();
        },
    );
}

#[test]
fn head_too_large() {
    let expected = [
        "accepted, wants to receive",
        "received 64, wants to send",
        "sent 130, wants to shut down",
    ];
    answered_lives_are(
        &expected,
        |worker| worker.limits.request_head_bytes = 64,
        |server| {
            let mut client = server.connect();
            client.send(&[b'x'; 64]);
            client.read_to_end();
        },
    );
}

#[test]
fn large_answer() {
    let expected = [
        "accepted, wants to receive",
        "received 27, wants to send",
        "sent a part, wants to send",
        "sent the rest, wants to shut down",
    ];
    answered_lives_are(&expected, large, |server| {
        let mut client = server.connect();
        client.send(REQUEST);
        client.read_to_end();
    });
}

#[test]
fn connect_and_close() {
    let expected = ["accepted, wants to receive", "received the end, wants to close", "closed"];
    lives_are(&expected, |_| {}, |server| drop(server.connect()));
}

#[test]
fn part_and_close() {
    let expected = [
        "accepted, wants to receive",
        "received 10, wants to receive",
        "received the end, wants to close",
        "closed",
    ];
    lives_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(&REQUEST[..10]);
            server.watch.wait_until_received(10);
        },
    );
}

#[test]
fn half_close_after_a_part() {
    let expected = [
        "accepted, wants to receive",
        "received 10, wants to receive",
        "received the end, wants to close",
        "closed",
    ];
    lives_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(&REQUEST[..10]);
            server.watch.wait_until_received(10);
            client.half_close();
            client.read_to_end();
        },
    );
}

#[test]
fn reset_while_idle() {
    let expected =
        ["accepted, wants to receive", "failed with ECONNRESET, wants to close", "closed"];
    lives_are(
        &expected,
        |_| {},
        |server| {
            let client = server.connect();
            server.watch.wait_until_recorded(|&(_, step, _)| step == Step::Accepted);
            client.reset();
        },
    );
}

/// The request has been heard, and its answer cannot be sent any more.
#[test]
fn reset_before_the_answer() {
    let expected = [
        "accepted, wants to receive",
        "received 27, wants to send",
        "failed with ECONNRESET, wants to close",
        "closed",
    ];
    lives_are(
        &expected,
        |_| {},
        |server| {
            let held = server.watch.hold_at(|step| matches!(step, Step::Received(_)));
            let mut client = server.connect();
            client.send(REQUEST);
            held.wait_until_held();
            client.reset();
        },
    );
}

#[test]
fn reset_in_the_middle_of_a_large_answer() {
    let expected = [
        "accepted, wants to receive",
        "received 27, wants to send",
        "sent a part, wants to send",
        "failed with ECONNRESET, wants to close",
        "closed",
    ];
    lives_are(&expected, large, |server| {
        let mut client = Client::connect_with_receive_buffer(server.address(), 4096);
        client.send(REQUEST);
        client.read(1000);
        client.reset();
    });
}

/// An answer that the kernel takes in parts.
fn large(worker: &mut Worker) {
    worker.response = response(1 << 20).into();
}

/// A server that is watched, and its client.
struct Watched {
    served: Served,
    watch: StepWatch,
}

impl Watched {
    fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    fn address(&self) -> std::net::SocketAddr {
        self.served.address
    }
}

/// The same life whether it is closed at once or lingers; a peer that is not answered is closed
/// the same way by both.
fn lives_are(expected: &[&str], configure: fn(&mut Worker), peer: fn(&Watched)) {
    life_is(expected, Closing::AtOnce, configure, peer);
    life_is(expected, Closing::Lingering { bytes: 1 << 16 }, configure, peer);
}

/// The same where the peer is answered.
fn answered_lives_are(expected: &[&str], configure: fn(&mut Worker), peer: fn(&Watched)) {
    life_is(&[expected, AT_ONCE].concat(), Closing::AtOnce, configure, peer);
    let lingering = Closing::Lingering { bytes: 1 << 16 };
    life_is(&[expected, LINGERING].concat(), lingering, configure, peer);
}

fn life_is(expected: &[&str], closing: Closing, configure: fn(&mut Worker), peer: fn(&Watched)) {
    for &variant in Variant::ALL {
        if engine("lifecycle_trace", variant) {
            let life = life(variant, closing, configure, peer);
            assert_eq!(life, expected, "{variant}, {closing:?}");
        }
    }
}

/// The steps of the one connection that the peer makes.
fn life(
    variant: Variant,
    closing: Closing,
    configure: fn(&mut Worker),
    peer: fn(&Watched),
) -> Vec<String> {
    let watch = StepWatch::default();
    let listen = ListenOptions {
        send_buffer_bytes: Some(4096),
        ..ListenOptions::new("127.0.0.1:0".parse().expect("an address"))
    };
    let served = Served::with_options(variant, &listen, EngineOptions::default(), |worker| {
        worker.deadlines = DeadlineLengths::NONE;
        worker.closing = closing;
        worker.recorder = Some(watch.recorder());
        configure(worker);
    });
    let watched = Watched { served, watch };
    peer(&watched);
    watched.watch.wait_until_recorded(|&(_, step, _)| step == Step::Closed);
    let history = watched.watch.history();
    let (first, ..) = history[0];
    assert!(history.iter().all(|&(id, ..)| id == first), "one connection: {history:?}");
    told(history.into_iter().map(|(_, step, next)| (step, next)))
}

fn told(history: impl Iterator<Item = (Step, Option<Next>)>) -> Vec<String> {
    let (mut lines, mut wanted) = (Vec::new(), None);
    let mut is_in_parts = false;
    for (step, next) in history {
        let changes_nothing = matches!(step, Step::Received(_)) && wanted == Some(Next::Send);
        if changes_nothing && next == wanted {
            continue;
        }
        wanted = next;
        let what = match (step, next) {
            (Step::Sent(_), Some(Next::Send)) => "sent a part".to_owned(),
            (Step::Sent(_), _) if is_in_parts => "sent the rest".to_owned(),
            (Step::Received(0), _) => "received the end".to_owned(),
            (Step::Received(count), _) => format!("received {count}"),
            (Step::Sent(count), _) => format!("sent {count}"),
            (Step::Failed(libc::ECONNRESET), _) => "failed with ECONNRESET".to_owned(),
            (Step::Failed(errno), _) => format!("failed with {errno}"),
            (step, _) => format!("{step:?}").to_lowercase(),
        };
        is_in_parts |= what == "sent a part";
        let wants = match next {
            Some(Next::Recv) => ", wants to receive",
            Some(Next::Send) => ", wants to send",
            Some(Next::Shutdown) => ", wants to shut down",
            Some(Next::Close) => ", wants to close",
            None => "",
        };
        let line = what + wants;
        if lines.last() != Some(&line) || !line.starts_with("sent a part") {
            lines.push(line);
        }
    }
    lines
}
