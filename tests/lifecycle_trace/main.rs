//! Golden traces of the lifecycle: the events of one connection, and the step after each, are the
//! same on every engine.
//!
//! Two differences are not part of the lifecycle, and removed before the comparison:
//!
//! - The number and sizes of sends of a large response depend on the kernel. Partial sends are one
//!   line without a count.
//! - An engine that receives until EAGAIN, as edge-triggered epoll must, also receives bytes after
//!   the request or the end of the stream, which others leave unread. Such a receive does not
//!   change the next step, which is to send. It is left out.

use common::{
    Client, LifecycleWatch, REQUEST, ServerThread, TestWorker, engine_is_available, response,
    unique_loopback_address,
};
use ringpoll_backends::{
    Closing, DeadlineLengths, EngineOptions, LifecycleEvent, ListenOptions, Next, Variant,
};

/// The end of a trace after the response, for each way to close.
const CLOSE_AT_ONCE: &[&str] = &["shutdown, next close", "closed"];
const LINGERING_CLOSE: &[&str] = &["shutdown, next recv", "received the end, next close", "closed"];

#[test]
fn whole_request() {
    let expected = ["accepted, next recv", "received 27, next send", "sent 114, next shutdown"];
    traces_with_response_are(
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
        "accepted, next recv",
        "received 10, next recv",
        "received 17, next send",
        "sent 114, next shutdown",
    ];
    traces_with_response_are(
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

/// HTTP/1.0: one response, whatever follows the request.
#[test]
fn two_requests_in_one_piece() {
    let expected = ["accepted, next recv", "received 54, next send", "sent 114, next shutdown"];
    traces_with_response_are(
        &expected,
        |_| {},
        |server| {
            let mut client = server.connect();
            client.send(&REQUEST.repeat(2));
            client.read_to_end();
        },
    );
}

/// The end of the stream arrives before the request is received.
#[test]
fn half_close_after_a_whole_request() {
    let expected = ["accepted, next recv", "received 27, next send", "sent 114, next shutdown"];
    traces_with_response_are(
        &expected,
        |_| {},
        |server| {
            let held = server.watch.pause_at(|event| event == LifecycleEvent::Accepted);
            let mut client = server.connect();
            held.wait_until_paused();
            client.send(REQUEST);
            client.half_close();
            drop(held);
            client.read_to_end();
        },
    );
}

#[test]
fn request_head_too_large() {
    let expected = ["accepted, next recv", "received 64, next send", "sent 130, next shutdown"];
    traces_with_response_are(
        &expected,
        |worker| worker.set_request_head_bytes(64),
        |server| {
            let mut client = server.connect();
            client.send(&[b'x'; 64]);
            client.read_to_end();
        },
    );
}

#[test]
fn large_response() {
    let expected = [
        "accepted, next recv",
        "received 27, next send",
        "sent a part, next send",
        "sent the rest, next shutdown",
    ];
    traces_with_response_are(&expected, set_large_response, |server| {
        let mut client = server.connect();
        client.send(REQUEST);
        client.read_to_end();
    });
}

#[test]
fn connect_and_close() {
    let expected = ["accepted, next recv", "received the end, next close", "closed"];
    traces_are(&expected, |_| {}, |server| drop(server.connect()));
}

#[test]
fn partial_request_and_close() {
    let expected =
        ["accepted, next recv", "received 10, next recv", "received the end, next close", "closed"];
    traces_are(
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
fn half_close_after_partial_request() {
    let expected =
        ["accepted, next recv", "received 10, next recv", "received the end, next close", "closed"];
    traces_are(
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
    let expected = ["accepted, next recv", "failed with ECONNRESET, next close", "closed"];
    traces_are(
        &expected,
        |_| {},
        |server| {
            let client = server.connect();
            server.watch.wait_until_recorded(|&(_, event, _)| event == LifecycleEvent::Accepted);
            client.reset();
        },
    );
}

/// The reset arrives after the request was received.
#[test]
fn reset_before_the_response() {
    let expected = [
        "accepted, next recv",
        "received 27, next send",
        "failed with ECONNRESET, next close",
        "closed",
    ];
    traces_are(
        &expected,
        |_| {},
        |server| {
            let held = server.watch.pause_at(|event| matches!(event, LifecycleEvent::Received(_)));
            let mut client = server.connect();
            client.send(REQUEST);
            held.wait_until_paused();
            client.reset();
        },
    );
}

#[test]
fn reset_within_a_large_response() {
    let expected = [
        "accepted, next recv",
        "received 27, next send",
        "sent a part, next send",
        "failed with ECONNRESET, next close",
        "closed",
    ];
    traces_are(&expected, set_large_response, |server| {
        let mut client = Client::connect_with_receive_buffer(server.address(), 4096);
        client.send(REQUEST);
        client.read(1000);
        client.reset();
    });
}

/// A response that the kernel accepts in parts.
fn set_large_response(worker: &mut TestWorker) {
    worker.set_response(response(1 << 20));
}

/// A server whose events are recorded.
struct TracedServer {
    thread: ServerThread,
    watch: LifecycleWatch,
}

impl TracedServer {
    fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    fn address(&self) -> std::net::SocketAddr {
        self.thread.address
    }
}

/// Checks the trace of a connection without a response, which does not depend on the way to close.
fn traces_are(expected: &[&str], configure: fn(&mut TestWorker), peer: fn(&TracedServer)) {
    trace_is(expected, Closing::AtOnce, configure, peer);
    trace_is(expected, Closing::Lingering { bytes: 1 << 16 }, configure, peer);
}

/// Checks the traces of a connection with a response, for each way to close.
fn traces_with_response_are(
    expected: &[&str],
    configure: fn(&mut TestWorker),
    peer: fn(&TracedServer),
) {
    trace_is(&[expected, CLOSE_AT_ONCE].concat(), Closing::AtOnce, configure, peer);
    let lingering = Closing::Lingering { bytes: 1 << 16 };
    trace_is(&[expected, LINGERING_CLOSE].concat(), lingering, configure, peer);
}

fn trace_is(
    expected: &[&str],
    closing: Closing,
    configure: fn(&mut TestWorker),
    peer: fn(&TracedServer),
) {
    for &variant in Variant::ALL {
        if engine_is_available("lifecycle_trace", variant) {
            let trace = trace(variant, closing, configure, peer);
            assert_eq!(trace, expected, "{variant}, {closing:?}");
        }
    }
}

/// Returns the trace of the one connection that the peer makes.
fn trace(
    variant: Variant,
    closing: Closing,
    configure: fn(&mut TestWorker),
    peer: fn(&TracedServer),
) -> Vec<String> {
    let watch = LifecycleWatch::default();
    let listen = ListenOptions {
        send_buffer_bytes: Some(4096),
        ..ListenOptions::new(unique_loopback_address())
    };
    let thread = ServerThread::with_options(variant, &listen, EngineOptions::default(), |worker| {
        worker.deadlines = DeadlineLengths::NONE;
        worker.closing = closing;
        worker.recorder = Some(watch.recorder());
        configure(worker);
    });
    let server = TracedServer { thread, watch };
    peer(&server);
    server.watch.wait_until_recorded(|&(_, event, _)| event == LifecycleEvent::Closed);
    let history = server.watch.history();
    let (first, ..) = history[0];
    assert!(history.iter().all(|&(id, ..)| id == first), "one connection: {history:?}");
    format_trace(history.into_iter().map(|(_, event, next)| (event, next)))
}

fn format_trace(history: impl Iterator<Item = (LifecycleEvent, Option<Next>)>) -> Vec<String> {
    let (mut lines, mut previous) = (Vec::new(), None);
    let mut is_in_parts = false;
    for (event, next) in history {
        let changes_nothing =
            matches!(event, LifecycleEvent::Received(_)) && previous == Some(Next::Send);
        if changes_nothing && next == previous {
            continue;
        }
        previous = next;
        let what = match (event, next) {
            (LifecycleEvent::Sent(_), Some(Next::Send)) => "sent a part".to_owned(),
            (LifecycleEvent::Sent(_), _) if is_in_parts => "sent the rest".to_owned(),
            (LifecycleEvent::Received(0), _) => "received the end".to_owned(),
            (LifecycleEvent::Received(count), _) => format!("received {count}"),
            (LifecycleEvent::Sent(count), _) => format!("sent {count}"),
            (LifecycleEvent::Failed(libc::ECONNRESET), _) => "failed with ECONNRESET".to_owned(),
            (LifecycleEvent::Failed(errno), _) => format!("failed with {errno}"),
            (event, _) => format!("{event:?}").to_lowercase(),
        };
        is_in_parts |= what == "sent a part";
        let next = match next {
            Some(Next::Recv) => ", next recv",
            Some(Next::Send) => ", next send",
            Some(Next::Shutdown) => ", next shutdown",
            Some(Next::Close) => ", next close",
            None => "",
        };
        let line = what + next;
        if lines.last() != Some(&line) || !line.starts_with("sent a part") {
            lines.push(line);
        }
    }
    lines
}
