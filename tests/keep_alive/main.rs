//! The end of keep-alive connections: at the stop, and at their deadlines.

use std::thread;
use std::time::Duration;

use common::{
    Client, LifecycleWatch, ReceivedStream, RecordedEvent, ServerThread, TestWorker,
    engine_is_available, response, unique_loopback_address, wait_until,
};
use ringpoll_backends::{
    Closing, Counters, DeadlineLengths, EngineOptions, LifecycleEvent, ListenOptions, Techniques,
    Variant,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const LINGERING: Closing = Closing::Lingering { bytes: 65_536 };

struct KeepAliveServer {
    thread: ServerThread,
    watch: LifecycleWatch,
}

impl KeepAliveServer {
    fn start(variant: Variant, body_bytes: usize, configure: impl FnOnce(&mut TestWorker)) -> Self {
        Self::with_options(variant, body_bytes, EngineOptions::default(), configure)
    }

    fn with_options(
        variant: Variant,
        body_bytes: usize,
        options: EngineOptions,
        configure: impl FnOnce(&mut TestWorker),
    ) -> Self {
        let watch = LifecycleWatch::default();
        let listen = ListenOptions {
            send_buffer_bytes: Some(16_384),
            ..ListenOptions::new(unique_loopback_address())
        };
        let thread = ServerThread::with_options(variant, &listen, options, |worker| {
            worker.set_keep_alive(response(body_bytes));
            worker.closing = LINGERING;
            worker.send_more = true;
            worker.deadlines = DeadlineLengths::NONE;
            worker.recorder = Some(watch.recorder());
            configure(worker);
        });
        Self { thread, watch }
    }

    fn connect(&self) -> Client {
        Client::connect(self.thread.address)
    }

    fn connect_and_request(&self) -> Client {
        let mut client = self.connect();
        client.send(GET);
        assert_eq!(client.read(success(13, "").len()), success(13, ""));
        client
    }

    fn wait(mut self) -> Counters {
        self.thread.wait().counters
    }
}

fn success(body_bytes: usize, field: &str) -> Vec<u8> {
    let text = String::from_utf8(response(body_bytes)).unwrap();
    text.replacen("HTTP/1.0", "HTTP/1.1", 1)
        .replacen("\r\n\r\n", &format!("\r\n{field}\r\n"), 1)
        .into_bytes()
}

fn ok_response_and_close(body_bytes: usize) -> Vec<u8> {
    success(body_bytes, "Connection: close\r\n")
}

/// Runs a check on every engine at once: it mostly waits for ticks.
fn for_each_engine(test: &str, check: impl Fn(Variant) + Sync) {
    thread::scope(|scope| {
        for &variant in Variant::ALL {
            let check = &check;
            if engine_is_available(test, variant) {
                scope.spawn(move || check(variant));
            }
        }
    });
}

/// The deadlines are disabled, so that only the stop closes them.
#[test]
fn idle_connections_are_closed_at_the_stop() {
    for_each_engine("idle_connections_are_closed_at_the_stop", |variant| {
        let server = KeepAliveServer::start(variant, 13, |_| {});
        let mut clients: Vec<_> = (0..10).map(|_| server.connect_and_request()).collect();
        server.thread.stop.request();
        for client in &mut clients {
            assert_eq!(client.read_to_end(), ReceivedStream::with_fin(b""), "{variant}");
        }
        let counters = server.wait();
        assert_eq!((counters.drained, counters.force_closed), (10, 0), "{variant}: {counters:?}");
    });
}

/// Connections idle after a response and before the first request. No deadline holds for them, and
/// the drain timeout is an hour: the stop ends each with a FIN and no reset.
#[test]
fn idle_connections_get_a_fin_at_the_stop() {
    const EACH: u64 = 5;
    for_each_engine("idle_connections_get_a_fin_at_the_stop", |variant| {
        for (closing, options) in [Closing::AtOnce, LINGERING]
            .into_iter()
            .flat_map(|closing| receive_options(variant).map(move |options| (closing, options)))
        {
            let server = KeepAliveServer::with_options(variant, 13, options.clone(), |worker| {
                worker.closing = closing;
                worker.drain_timeout = Duration::from_secs(3600);
            });
            let mut clients: Vec<_> = (0..EACH).map(|_| server.connect_and_request()).collect();
            clients.extend((0..EACH).map(|_| server.connect()));
            wait_until("every connection is accepted", || {
                let is_accept = |recorded: &RecordedEvent| recorded.1 == LifecycleEvent::Accepted;
                server.watch.history().into_iter().filter(is_accept).count() == clients.len()
            });
            server.thread.stop.request();
            let case = format!("{variant}, {closing:?}, {options:?}");
            for client in &mut clients {
                assert_eq!(client.read_to_end(), ReceivedStream::with_fin(b""), "{case}");
            }
            let counters = server.wait();
            assert_eq!((counters.accepted, counters.closed), (2 * EACH, 2 * EACH), "{case}");
            assert_eq!(counters.drained + counters.force_closed, 2 * EACH, "{case}: {counters:?}");
            assert_eq!((counters.connection_errors, counters.leaked), (0, 0), "{case}");
            for client in &clients {
                assert!(!client.was_reset_after_fin(), "{case}");
            }
        }
    });
}

/// The ways in which an engine waits for bytes of an idle connection.
fn receive_options(variant: Variant) -> impl Iterator<Item = EngineOptions> + Clone {
    let with = |techniques| EngineOptions { techniques, ..EngineOptions::default() };
    let mut options = vec![EngineOptions::default()];
    if variant == Variant::IoUringTuned {
        options.extend([
            with(Techniques::NONE),
            with(Techniques { provided_buffers: 2, ..Techniques::NONE }),
        ]);
    }
    options.into_iter()
}

/// Within a head and within a body.
#[test]
fn requests_in_progress_at_the_stop_get_connection_close() {
    for_each_engine("requests_in_progress_at_the_stop_get_connection_close", |variant| {
        let server = KeepAliveServer::start(variant, 13, |_| {});
        let mut clients = Vec::new();
        let mut received = 0;
        for split in [1, 20, POST.len() - 1] {
            let mut client = server.connect_and_request();
            client.send(&POST[..split]);
            received += GET.len() + split;
            clients.push((client, split));
        }
        server.watch.wait_until_received(received);
        let mut idle = server.connect_and_request();
        server.thread.stop.request();
        // The end of the idle connection shows that the stop has begun.
        assert_eq!(idle.read_to_end(), ReceivedStream::with_fin(b""), "{variant}");
        for (client, split) in &mut clients {
            client.send(&POST[*split..]);
            assert_eq!(
                client.read_to_end(),
                ReceivedStream::with_fin(&ok_response_and_close(13)),
                "{variant}: {split}"
            );
        }
        drop(clients);
        let counters = server.wait();
        assert_eq!((counters.drained, counters.force_closed), (4, 0), "{variant}: {counters:?}");
    });
}

/// Responses pending at the stop are sent; those not yet passed to the kernel have
/// `Connection: close`.
#[test]
fn pending_responses_are_sent_after_the_stop() {
    for_each_engine("pending_responses_are_sent_after_the_stop", |variant| {
        let server = KeepAliveServer::start(variant, 1 << 20, |_| {});
        let mut idle = server.connect();
        idle.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        idle.read(success(1 << 20, "").len() - (1 << 20));
        let mut client = Client::connect_with_receive_buffer(server.thread.address, 16_384);
        client.send(&[GET, GET, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        client.wait_until_readable(100);
        server.thread.stop.request();
        assert_eq!(idle.read_to_end(), ReceivedStream::with_fin(b""), "{variant}");
        let whole = success(1 << 20, "");
        let head = &ok_response_and_close(1 << 20);
        let head = &head[..head.len() - (1 << 20)];
        let got = client.read_to_end();
        assert!(
            got == ReceivedStream::with_fin(&[&whole, &whole, head].concat()),
            "{variant}: {got:?}"
        );
        drop(client);
        let counters = server.wait();
        assert_eq!((counters.responses, counters.force_closed), (4, 0), "{variant}: {counters:?}");
    });
}

/// A deadline that has passed at the next tick.
const SHORT_DEADLINE: Duration = Duration::from_millis(1);

fn counters_after_expiry(
    variant: Variant,
    deadlines: DeadlineLengths,
    act: impl FnOnce(&KeepAliveServer) -> Client,
) -> Counters {
    let server = KeepAliveServer::start(variant, 13, |worker| worker.deadlines = deadlines);
    let mut client = act(&server);
    client.read_to_end();
    drop(client);
    wait_until("the connection is closed", || {
        server.watch.history().iter().any(|recorded| recorded.1 == LifecycleEvent::Closed)
    });
    server.thread.stop.request();
    server.wait()
}

#[test]
fn each_idle_state_has_its_deadline() {
    for_each_engine("each_idle_state_has_its_deadline", |variant| {
        let none = DeadlineLengths::NONE;
        let between = DeadlineLengths { keep_alive: SHORT_DEADLINE, ..none };
        let counters =
            counters_after_expiry(variant, between, KeepAliveServer::connect_and_request);
        assert_eq!((counters.expired_idle, counters.expired_receiving), (1, 0), "{variant}");

        let head = DeadlineLengths { request_head: SHORT_DEADLINE, ..none };
        let counters = counters_after_expiry(variant, head, |server| {
            let mut client = server.connect_and_request();
            client.send(b"GET");
            client
        });
        assert_eq!((counters.expired_idle, counters.expired_receiving), (0, 1), "{variant}");

        let body = DeadlineLengths { request_body: SHORT_DEADLINE, ..none };
        let counters = counters_after_expiry(variant, body, |server| {
            let mut client = server.connect_and_request();
            client.send(&POST[..POST.len() - 1]);
            client
        });
        assert_eq!((counters.expired_idle, counters.expired_receiving), (0, 1), "{variant}");
    });
}

/// After the lifetime an idle connection is closed; a busy one gets `Connection: close` with its
/// next response.
#[test]
fn lifetime_ends_with_connection_close() {
    for_each_engine("lifetime_ends_with_connection_close", |variant| {
        let lifetime = DeadlineLengths { lifetime: SHORT_DEADLINE, ..DeadlineLengths::NONE };
        let counters =
            counters_after_expiry(variant, lifetime, KeepAliveServer::connect_and_request);
        assert_eq!(counters.expired_lifetime, 1, "{variant}");

        // Its lifetime is extended once, for that response.
        let lifetime =
            DeadlineLengths { lifetime: Duration::from_secs(1), ..DeadlineLengths::NONE };
        let counters = counters_after_expiry(variant, lifetime, |server| {
            let mut client = server.connect_and_request();
            let (end, start) = (&POST[POST.len() - 1..], &POST[..POST.len() - 1]);
            client.send(start);
            // A request is always incomplete, so the connection is never idle.
            let next = [end, start].concat();
            let usual = success(13, "");
            let got = loop {
                client.send(&next);
                let mut got = client.read(usual.len());
                if got != usual {
                    got.extend(client.read_to_end().bytes);
                    break got;
                }
            };
            assert_eq!(got, ok_response_and_close(13), "{variant}");
            client
        });
        assert_eq!((counters.accepted, counters.expired_lifetime), (1, 0), "{variant}");
    });
}
