//! Connections that persist have an end, too: at the stop, and when they say nothing.

mod common;

use std::time::Duration;

use common::{Client, Exchange, Recorded, Served, StepWatch, engine, response, wait_until};
use ringpoll_backends::{
    Closing, Counters, DeadlineLengths, EngineOptions, KeepAlive, ListenOptions, Replies, Step,
    Techniques, Variant, Worker,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const LINGERING: Closing = Closing::Lingering { bytes: 65_536 };

struct Persistent {
    served: Served,
    watch: StepWatch,
}

impl Persistent {
    fn start(variant: Variant, body_bytes: usize, configure: impl FnOnce(&mut Worker)) -> Self {
        Self::with_options(variant, body_bytes, EngineOptions::default(), configure)
    }

    fn with_options(
        variant: Variant,
        body_bytes: usize,
        options: EngineOptions,
        configure: impl FnOnce(&mut Worker),
    ) -> Self {
        let watch = StepWatch::default();
        let listen = ListenOptions {
            send_buffer_bytes: Some(16_384),
            ..ListenOptions::new("127.0.0.1:0".parse().unwrap())
        };
        let served = Served::with_options(variant, &listen, options, |worker| {
            let replies = Replies::new(response(body_bytes).into()).unwrap();
            worker.keep_alive = Some(KeepAlive::new(replies.into()));
            worker.closing = LINGERING;
            worker.send_more = true;
            worker.deadlines = DeadlineLengths::NONE;
            worker.recorder = Some(watch.recorder());
            configure(worker);
        });
        Self { served, watch }
    }

    fn connect(&self) -> Client {
        Client::connect(self.served.address)
    }

    fn asked(&self) -> Client {
        let mut client = self.connect();
        client.send(GET);
        assert_eq!(client.read(answer(13, "").len()), answer(13, ""));
        client
    }

    fn ended(mut self) -> Counters {
        self.served.ended().counters
    }
}

fn answer(body_bytes: usize, field: &str) -> Vec<u8> {
    let text = String::from_utf8(response(body_bytes)).unwrap();
    text.replacen("HTTP/1.0", "HTTP/1.1", 1)
        .replacen("\r\n\r\n", &format!("\r\n{field}\r\n"), 1)
        .into_bytes()
}

fn last(body_bytes: usize) -> Vec<u8> {
    answer(body_bytes, "Connection: close\r\n")
}

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

/// It takes no tick, and no deadline: there are none.
#[test]
fn who_is_idle_at_the_stop_is_closed() {
    for variant in variants("who_is_idle_at_the_stop_is_closed") {
        let server = Persistent::start(variant, 13, |_| {});
        let mut clients: Vec<_> = (0..10).map(|_| server.asked()).collect();
        server.served.stop.request();
        for client in &mut clients {
            assert_eq!(client.read_to_end(), Exchange::finished(b""), "{variant}");
        }
        let counters = server.ended();
        assert_eq!((counters.drained, counters.cut_off), (10, 0), "{variant}: {counters:?}");
    }
}

/// Those who have asked, and those who never said a word: no deadline holds for them, and the
/// drain would wait for an hour. It ends by itself, and each is told so by a FIN and nothing else.
#[test]
fn silence_at_the_stop_ends_in_good_order() {
    const EACH: u64 = 5;
    for variant in variants("silence_at_the_stop_ends_in_good_order") {
        for (closing, options) in [Closing::AtOnce, LINGERING]
            .into_iter()
            .flat_map(|closing| ways_to_wait(variant).map(move |options| (closing, options)))
        {
            let server = Persistent::with_options(variant, 13, options.clone(), |worker| {
                worker.closing = closing;
                worker.drain_timeout = Duration::from_secs(3600);
            });
            let have_asked = (0..EACH).map(|_| server.asked());
            let mut clients: Vec<_> = have_asked.collect();
            clients.extend((0..EACH).map(|_| server.connect()));
            wait_until("all of them are in", || {
                let is_in = |recorded: &Recorded| recorded.1 == Step::Accepted;
                server.watch.history().into_iter().filter(is_in).count() == clients.len()
            });
            server.served.stop.request();
            let case = format!("{variant}, {closing:?}, {options:?}");
            for client in &mut clients {
                assert_eq!(client.read_to_end(), Exchange::finished(b""), "{case}");
            }
            let counters = server.ended();
            assert_eq!((counters.accepted, counters.closed), (2 * EACH, 2 * EACH), "{case}");
            assert_eq!(counters.drained + counters.cut_off, 2 * EACH, "{case}: {counters:?}");
            assert_eq!((counters.connection_errors, counters.not_given_back), (0, 0), "{case}");
            for client in &clients {
                assert!(!client.was_reset_after_its_end(), "{case}");
            }
        }
    }
}

/// The forms in which an engine can wait for somebody who says nothing.
fn ways_to_wait(variant: Variant) -> impl Iterator<Item = EngineOptions> + Clone {
    let with = |techniques| EngineOptions { techniques, ..EngineOptions::default() };
    let mut ways = vec![EngineOptions::default()];
    if variant == Variant::IoUringTuned {
        ways.extend([
            with(Techniques::NONE),
            with(Techniques { provided_buffers: 2, ..Techniques::NONE }),
            with(Techniques { direct_descriptors: true, ..Techniques::NONE }),
            with(Techniques { direct_descriptors: true, ..Techniques::BEST }),
        ]);
    }
    ways.into_iter()
}

/// In the middle of a head, in the middle of a body, and with the answer not taken yet.
#[test]
fn who_is_served_at_the_stop_is_told_that_nothing_follows() {
    for variant in variants("who_is_served_at_the_stop_is_told_that_nothing_follows") {
        let server = Persistent::start(variant, 13, |_| {});
        let mut clients = Vec::new();
        let mut received = 0;
        for cut in [1, 20, POST.len() - 1] {
            let mut client = server.asked();
            client.send(&POST[..cut]);
            received += GET.len() + cut;
            clients.push((client, cut));
        }
        server.watch.wait_until_received(received);
        let mut idle = server.asked();
        server.served.stop.request();
        // The stop was heard when its end has come.
        assert_eq!(idle.read_to_end(), Exchange::finished(b""), "{variant}");
        for (client, cut) in &mut clients {
            client.send(&POST[*cut..]);
            assert_eq!(client.read_to_end(), Exchange::finished(&last(13)), "{variant}: {cut}");
        }
        drop(clients);
        let counters = server.ended();
        assert_eq!((counters.drained, counters.cut_off), (4, 0), "{variant}: {counters:?}");
    }
}

/// Of answers that were due before the stop, those that the kernel does not have yet say so.
#[test]
fn answers_under_way_at_the_stop_come_to_their_end() {
    for variant in variants("answers_under_way_at_the_stop_come_to_their_end") {
        let server = Persistent::start(variant, 1 << 20, |_| {});
        let mut idle = server.connect();
        idle.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        idle.read(answer(1 << 20, "").len() - (1 << 20));
        let mut client = Client::connect_with_receive_buffer(server.served.address, 16_384);
        client.send(&[GET, GET, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        client.wait_for(100);
        server.served.stop.request();
        assert_eq!(idle.read_to_end(), Exchange::finished(b""), "{variant}");
        let whole = answer(1 << 20, "");
        let head = &last(1 << 20);
        let head = &head[..head.len() - (1 << 20)];
        let got = client.read_to_end();
        assert!(got == Exchange::finished(&[&whole, &whole, head].concat()), "{variant}: {got:?}");
        drop(client);
        let counters = server.ended();
        assert_eq!((counters.answered, counters.cut_off), (4, 0), "{variant}: {counters:?}");
    }
}

/// Short enough for a test, and longer than what it does meanwhile need take.
const SHORT: Duration = Duration::from_millis(1);

fn ends_by(
    variant: Variant,
    deadlines: DeadlineLengths,
    act: impl FnOnce(&Persistent) -> Client,
) -> Counters {
    let server = Persistent::start(variant, 13, |worker| worker.deadlines = deadlines);
    let mut client = act(&server);
    client.read_to_end();
    drop(client);
    wait_until("it is closed", || {
        server.watch.history().iter().any(|recorded| recorded.1 == Step::Closed)
    });
    server.served.stop.request();
    server.ended()
}

#[test]
fn each_silence_has_its_deadline() {
    for variant in variants("each_silence_has_its_deadline") {
        let none = DeadlineLengths::NONE;
        let between = DeadlineLengths { keep_alive: SHORT, ..none };
        let counters = ends_by(variant, between, |server| server.asked());
        assert_eq!((counters.expired_idle, counters.expired_receiving), (1, 0), "{variant}");

        let head = DeadlineLengths { request_head: SHORT, ..none };
        let counters = ends_by(variant, head, |server| {
            let mut client = server.asked();
            client.send(b"GET");
            client
        });
        assert_eq!((counters.expired_idle, counters.expired_receiving), (0, 1), "{variant}");

        let body = DeadlineLengths { request_body: SHORT, ..none };
        let counters = ends_by(variant, body, |server| {
            let mut client = server.asked();
            client.send(&POST[..POST.len() - 1]);
            client
        });
        assert_eq!((counters.expired_idle, counters.expired_receiving), (0, 1), "{variant}");
    }
}

/// The time of all together is over: who waits for nothing is put out, who asks all the time is
/// told with an answer.
#[test]
fn a_life_ends_with_an_answer() {
    for variant in variants("a_life_ends_with_an_answer") {
        let life = DeadlineLengths { life: SHORT, ..DeadlineLengths::NONE };
        let counters = ends_by(variant, life, |server| server.asked());
        assert_eq!(counters.expired_life, 1, "{variant}");

        // It has the same time once more, in which the answer comes that says so.
        let life = DeadlineLengths { life: Duration::from_secs(1), ..DeadlineLengths::NONE };
        let counters = ends_by(variant, life, |server| {
            let mut client = server.asked();
            let (end, start) = (&POST[POST.len() - 1..], &POST[..POST.len() - 1]);
            client.send(start);
            // Something has been begun all the time, so it is never silent.
            let next = [end, start].concat();
            let usual = answer(13, "");
            let got = loop {
                client.send(&next);
                let mut got = client.read(usual.len());
                if got != usual {
                    got.extend(client.read_to_end().bytes);
                    break got;
                }
            };
            assert_eq!(got, last(13), "{variant}");
            client
        });
        assert_eq!((counters.accepted, counters.expired_life), (1, 0), "{variant}");
    }
}
