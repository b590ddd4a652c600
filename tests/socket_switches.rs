//! The switches of `[server]` that concern sockets do on every engine what they say.

mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use common::{
    Client, Exchange, PATIENCE, REQUEST, RESPONSE, Served, StepWatch, engine, wait_until,
};
use ringpoll_backends::{Closing, EngineOptions, ListenOptions, Step, Variant, Worker};
use socket2::SockRef;

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine(test, variant))
}

fn loopback() -> ListenOptions {
    ListenOptions::new("127.0.0.1:0".parse().expect("an address"))
}

fn served(
    variant: Variant,
    listen: &ListenOptions,
    configure: impl FnOnce(&mut Worker),
) -> (Served, StepWatch) {
    let watch = StepWatch::default();
    let served = Served::with_options(variant, listen, EngineOptions::default(), |worker| {
        worker.recorder = Some(watch.recorder());
        configure(worker);
    });
    (served, watch)
}

/// How many segments have come on that connection, those without data included: `tcpi_segs_in` of
/// `struct tcp_info` (linux/tcp.h, Linux 4.2), which the crate libc does not know.
fn segments_received(stream: &TcpStream) -> u32 {
    const SEGMENTS_IN: usize = 140;
    let mut info = [0u8; SEGMENTS_IN + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: both pointers live through the call, and the length says how much room there is.
    let asked = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!((asked, length as usize), (0, info.len()));
    u32::from_ne_bytes(info[SEGMENTS_IN..].try_into().expect("four bytes"))
}

const REQUESTS: usize = 50;

/// The fewest segments in which an answer and its end came, of many. An acknowledgement more can
/// be among them, when the machine is busy.
fn fewest_segments(address: SocketAddr) -> u32 {
    let segments = |_| {
        let mut client = Client::connect(address);
        client.send(REQUEST);
        assert_eq!(client.read_to_end(), Exchange::finished(RESPONSE));
        segments_received(&client.stream)
    };
    (0..REQUESTS).map(segments).min().expect("there were some")
}

#[test]
fn the_answer_and_the_end_share_a_segment() {
    for variant in variants("the_answer_and_the_end_share_a_segment") {
        for closing in [Closing::AtOnce, Closing::Lingering { bytes: 1000 }] {
            for no_delay in [false, true] {
                let [apart, together] = [false, true].map(|send_more| {
                    let listen = ListenOptions { no_delay, ..loopback() };
                    let (served, _) = served(variant, &listen, |worker| {
                        worker.closing = closing;
                        worker.send_more = send_more;
                    });
                    fewest_segments(served.address)
                });
                let arm = format!("{variant}, {closing:?}, no_delay {no_delay}");
                assert_eq!(together + 1, apart, "{arm}: segments of an answer");
            }
        }
    }
}

/// The answer acknowledges the request, where nothing else has.
#[test]
fn the_answer_acknowledges_the_request() {
    for variant in variants("the_answer_acknowledges_the_request") {
        for defer_accept_s in [0, 30] {
            let [at_once, with_the_answer] = [true, false].map(|quick_ack| {
                let listen = ListenOptions { quick_ack, defer_accept_s, ..loopback() };
                let (served, _) = served(variant, &listen, |worker| worker.send_more = true);
                fewest_segments(served.address)
            });
            assert_eq!(with_the_answer + 1, at_once, "{variant}, deferred {defer_accept_s}");
        }
    }
}

/// What an engine may build on that closes without a `shutdown(2)`: the same segment, as long as
/// nothing of the peer's is unread.
#[test]
fn a_bare_close_takes_the_answer_along() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move |flags| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; REQUEST.len()];
        std::io::Read::read_exact(&mut stream, &mut request).unwrap();
        SockRef::from(&stream).send_with_flags(RESPONSE, flags).unwrap();
        stream.flush().unwrap();
    };
    let server = thread::spawn(move || {
        for flags in [0, libc::MSG_MORE] {
            (0..REQUESTS).for_each(|_| serve(flags));
        }
    });
    let [apart, together] = [(); 2].map(|()| fewest_segments(address));
    assert_eq!(together + 1, apart);
    server.join().unwrap();
}

#[test]
fn who_is_silent_is_not_accepted_while_accepting_is_deferred() {
    for variant in variants("who_is_silent_is_not_accepted_while_accepting_is_deferred") {
        // Longer than the test: nobody's time is over.
        let defer_accept_s = 4 * PATIENCE.as_secs() as u32;
        let listen = ListenOptions { defer_accept_s, ..loopback() };
        let (served, watch) = served(variant, &listen, |_| {});
        let mut silent = Client::connect(served.address);
        assert_eq!(Client::request(served.address), Exchange::finished(RESPONSE));
        let accepted = || watch.history().iter().filter(|it| it.1 == Step::Accepted).count();
        assert_eq!(accepted(), 1, "{variant}: the silent one was accepted");
        silent.send(REQUEST);
        assert_eq!(silent.read_to_end(), Exchange::finished(RESPONSE), "{variant}");
        assert_eq!(accepted(), 2, "{variant}");
    }
}

/// Whether the server's end of that connection, which is in this process too, has TCP_NODELAY.
fn has_no_delay(client: &Client) -> Option<bool> {
    let (own, peer) = (client.stream.local_addr().ok()?, client.stream.peer_addr().ok()?);
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?;
    let numbers = descriptors.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    numbers.into_iter().find_map(|number: i32| {
        // SAFETY: it is asked for its addresses and for an option, which fails if it is no longer
        // open or no socket, and can be answered by no socket but the one that has both addresses.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let socket = SockRef::from(&descriptor);
        let ends = (socket.local_addr().ok()?.as_socket(), socket.peer_addr().ok()?.as_socket());
        (ends == (Some(peer), Some(own))).then(|| socket.tcp_nodelay().ok()).flatten()
    })
}

#[test]
fn accepted_connections_inherit_that_nothing_is_delayed() {
    for variant in variants("accepted_connections_inherit_that_nothing_is_delayed") {
        for no_delay in [false, true] {
            let (served, watch) =
                served(variant, &ListenOptions { no_delay, ..loopback() }, |_| {});
            let client = Client::connect(served.address);
            watch.wait_until_recorded(|it| it.1 == Step::Accepted);
            let mut inherited = None;
            wait_until("the server's end is found", || {
                inherited = has_no_delay(&client);
                inherited.is_some()
            });
            assert_eq!(inherited, Some(no_delay), "{variant}");
        }
    }
}
