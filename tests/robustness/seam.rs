//! Protocols that use the seam in ways in which none that ships does: what they append is sent
//! once, and no connection hangs.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use ringpoll_backends::{Awaits, Next, Output, Variant};

use crate::client::{connect, connect_and_send, read_to_end, wait_until_closed};
use crate::servers::{for_each_variant, serve};
use common::{Functions, ServerThread, TestProtocol};

tests![
    output_of_the_stop_is_sent_to_an_idle_peer,
    output_of_the_stop_follows_what_is_sent_already,
    end_of_stream_is_handled_once,
    end_of_stream_ends_a_connection_whatever_follows,
    output_without_bytes_sends_nothing,
    message_taken_back_and_not_replaced_is_not_sent,
    messages_without_responses_restart_the_deadline,
];

/// Longer than any test waits.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

const STEPS: [Next; 3] = [Next::Recv, Next::Send, Next::Shutdown];

fn serve_functions(variant: Variant, functions: Functions) -> ServerThread {
    serve(variant, |worker| {
        worker.protocol = TestProtocol::Functions(functions);
        worker.drain_timeout = NO_TIMEOUT;
    })
}

/// Returns a function that appends a farewell, for each step that can follow.
fn farewell(next: Next) -> fn(&mut Output) -> Next {
    match next {
        Next::Recv => |output| {
            output.push_static(b"bye");
            Next::Recv
        },
        Next::Send => |output| {
            output.push_static(b"bye");
            Next::Send
        },
        _ => |output| {
            output.push_static(b"bye");
            Next::Shutdown
        },
    }
}

fn output_of_the_stop_is_sent_to_an_idle_peer() {
    for_each_variant(|variant| {
        for next in STEPS {
            let on_stop = farewell(next);
            let mut server =
                serve_functions(variant, Functions { on_stop, ..Functions::default() });
            let streams: Vec<_> = (0..3).map(|_| connect(server.address)).collect();
            server.stop.request();
            for stream in &streams {
                assert_eq!(read_to_end(stream).unwrap(), b"bye", "{variant} {next:?}");
            }
            let counters = server.wait().counters;
            assert_eq!((counters.drained, counters.force_closed), (3, 0), "{variant} {next:?}");
            assert_eq!(counters.connection_errors, 0, "{variant} {next:?}");
        }
    });
}

fn output_of_the_stop_follows_what_is_sent_already() {
    const BYTES: usize = 8 << 20;
    for_each_variant(|variant| {
        let functions = Functions {
            on_recv: |_, output| {
                output.push_copy(&vec![b'x'; BYTES]);
                Next::Recv
            },
            on_stop: farewell(Next::Shutdown),
            ..Functions::default()
        };
        let mut server = serve_functions(variant, functions);
        let stream = connect_and_send(server.address, b"a");
        stream.peek(&mut [0]).expect("the start of the output");
        server.stop.request();
        let received = read_to_end(&stream).unwrap();
        assert_eq!(received.len(), BYTES + 3, "{variant}");
        assert!(received.ends_with(b"xbye"), "{variant}");
        let counters = server.wait().counters;
        assert_eq!((counters.drained, counters.force_closed), (1, 0), "{variant}");
    });
}

fn end_of_stream_is_handled_once() {
    for_each_variant(|variant| {
        for next in STEPS {
            let on_end_of_stream = farewell(next);
            let functions = Functions { on_end_of_stream, ..Functions::default() };
            let server = serve_functions(variant, functions);
            let stream = connect_and_send(server.address, b"a");
            stream.shutdown(Shutdown::Write).expect("it is connected");
            assert_eq!(read_to_end(&stream).unwrap(), b"bye", "{variant} {next:?}");
            let counters = server.stop_and_wait().0.counters;
            assert_eq!((counters.accepted, counters.closed), (1, 1), "{variant} {next:?}");
            assert_eq!(counters.premature_eof, 0, "{variant} {next:?}");
        }
    });
}

fn end_of_stream_ends_a_connection_whatever_follows() {
    for_each_variant(|variant| {
        let ends: [fn(&mut Output) -> Next; 4] =
            [|_| Next::Recv, |_| Next::Send, |_| Next::Shutdown, |_| Next::Close];
        for on_end_of_stream in ends {
            let functions = Functions { on_end_of_stream, ..Functions::default() };
            let server = serve_functions(variant, functions);
            let stream = connect_and_send(server.address, b"a");
            stream.shutdown(Shutdown::Write).expect("it is connected");
            assert_eq!(read_to_end(&stream).unwrap(), b"", "{variant}");
            assert_eq!(server.stop_and_wait().0.counters.closed, 1, "{variant}");
        }
    });
}

fn output_without_bytes_sends_nothing() {
    for_each_variant(|variant| {
        let on_recv = |bytes: &[u8], output: &mut Output| {
            output.push_static(b"");
            output.push_copy(b"");
            output.push_shared(&[].into(), 0..0);
            output.end_message();
            if bytes.ends_with(b"e") { Next::Shutdown } else { Next::Send }
        };
        let server = serve_functions(variant, Functions { on_recv, ..Functions::default() });
        let mut stream = connect_and_send(server.address, b"a");
        stream.write_all(b"e").expect("it is connected");
        assert_eq!(read_to_end(&stream).unwrap(), b"", "{variant}");
        let counters = server.stop_and_wait().0.counters;
        assert_eq!((counters.responses, counters.sent_bytes), (0, 0), "{variant}");
    });
}

/// The peer does not read, so that output is pending, and no engine waits for what is gone.
fn message_taken_back_and_not_replaced_is_not_sent() {
    for_each_variant(|variant| {
        let functions = Functions {
            on_recv: |_, output| {
                output.push_static(b"first");
                output.end_message();
                Next::Recv
            },
            on_stop: |output| {
                output.take_back(5);
                Next::Recv
            },
            ..Functions::default()
        };
        let mut server = serve_functions(variant, functions);
        let streams: Vec<_> = (0..64).map(|_| connect_and_send(server.address, b"a")).collect();
        server.stop.request();
        for stream in &streams {
            let received = read_to_end(stream).unwrap();
            assert!([&b""[..], b"first"].contains(&&received[..]), "{variant}: {received:?}");
        }
        assert_eq!(server.wait().counters.force_closed, 0, "{variant}");
    });
}

/// No output restarts the deadline of a protocol that sends nothing, such as syslog.
fn messages_without_responses_restart_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(1500);
    for_each_variant(|variant| {
        for awaits in [Awaits::NextMessage, Awaits::Head] {
            let on_recv = |_: &[u8], output: &mut Output| {
                output.count_request();
                Next::Recv
            };
            let server = serve(variant, |worker| {
                worker.protocol =
                    TestProtocol::Functions(Functions { on_recv, awaits, ..Functions::default() });
                worker.deadlines.idle = DEADLINE;
                worker.deadlines.keep_alive = DEADLINE;
                worker.deadlines.request_head = DEADLINE;
            });
            let mut stream = connect(server.address);
            for _ in 0..8 {
                stream.write_all(b"message\n").expect("the server receives");
                thread::sleep(DEADLINE / 3);
            }
            let open = server.open_descriptors() - 1;
            assert_eq!(open, 1, "{variant}, {awaits:?}: the deadline of the accept is in force");
            wait_until_closed(&stream);
            let counters = server.stop_and_wait().0.counters;
            assert_eq!((counters.requests, counters.closed), (8, 1), "{variant}, {awaits:?}");
        }
    });
}
