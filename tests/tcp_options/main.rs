//! The socket options of `[server]` take effect on every engine.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use common::{
    Client, EVENT_TIMEOUT, LifecycleWatch, REQUEST, RESPONSE, ReceivedStream, ServerThread,
    TestWorker, engine_is_available, unique_loopback_address, wait_until,
};
use ringpoll_backends::{Closing, EngineOptions, LifecycleEvent, ListenOptions, Variant};
use socket2::SockRef;

fn variants(test: &str) -> impl Iterator<Item = Variant> {
    Variant::ALL.iter().copied().filter(move |&variant| engine_is_available(test, variant))
}

fn loopback() -> ListenOptions {
    ListenOptions::new(unique_loopback_address())
}

fn start_server(
    variant: Variant,
    listen: &ListenOptions,
    configure: impl FnOnce(&mut TestWorker),
) -> (ServerThread, LifecycleWatch) {
    let watch = LifecycleWatch::default();
    let served = ServerThread::with_options(variant, listen, EngineOptions::default(), |worker| {
        worker.recorder = Some(watch.recorder());
        configure(worker);
    });
    (served, watch)
}

/// Returns the number of segments received on a connection, including those without data:
/// `tcpi_segs_in` of `struct tcp_info` (linux/tcp.h, Linux 4.2), which the crate libc lacks.
fn segments_received(stream: &TcpStream) -> u32 {
    const SEGMENTS_IN: usize = 140;
    let mut info = [0u8; SEGMENTS_IN + 4];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: both pointers are valid during the call, and `length` is the size of `info`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!((result, length as usize), (0, info.len()));
    u32::from_ne_bytes(info[SEGMENTS_IN..].try_into().expect("four bytes"))
}

const REQUESTS: usize = 50;

/// Returns the smallest number of segments in which a response and the FIN arrived, of many
/// requests: on a busy machine an additional ACK is possible.
fn fewest_segments(address: SocketAddr) -> u32 {
    let segments = |_| {
        let mut client = Client::connect(address);
        client.send(REQUEST);
        assert_eq!(client.read_to_end(), ReceivedStream::with_fin(RESPONSE));
        segments_received(&client.stream)
    };
    (0..REQUESTS).map(segments).min().expect("REQUESTS is positive")
}

#[test]
fn send_more_puts_response_and_fin_into_one_segment() {
    for variant in variants("send_more_puts_response_and_fin_into_one_segment") {
        for closing in [Closing::AtOnce, Closing::Lingering { bytes: 1000 }] {
            for no_delay in [false, true] {
                let [separate, joined] = [false, true].map(|send_more| {
                    let listen = ListenOptions { no_delay, ..loopback() };
                    let (served, _) = start_server(variant, &listen, |worker| {
                        worker.closing = closing;
                        worker.send_more = send_more;
                    });
                    fewest_segments(served.address)
                });
                let arm = format!("{variant}, {closing:?}, no_delay {no_delay}");
                assert_eq!(joined + 1, separate, "{arm}: segments of a response");
            }
        }
    }
}

#[test]
fn response_carries_the_ack_unless_quick_ack_is_set() {
    for variant in variants("response_carries_the_ack_unless_quick_ack_is_set") {
        for defer_accept_s in [0, 30] {
            let [quick, delayed] = [true, false].map(|quick_ack| {
                let listen = ListenOptions { quick_ack, defer_accept_s, ..loopback() };
                let (served, _) = start_server(variant, &listen, |worker| worker.send_more = true);
                fewest_segments(served.address)
            });
            assert_eq!(delayed + 1, quick, "{variant}, defer_accept_s {defer_accept_s}");
        }
    }
}

/// An engine that closes without `shutdown(2)` relies on this. The FIN shares the segment only if
/// no received byte is unread.
#[test]
fn close_without_shutdown_sends_fin_with_the_response() {
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
    let [separate, joined] = [(); 2].map(|()| fewest_segments(address));
    assert_eq!(joined + 1, separate);
    server.join().unwrap();
}

#[test]
fn idle_client_is_not_accepted_with_defer_accept() {
    for variant in variants("idle_client_is_not_accepted_with_defer_accept") {
        // Longer than the test, so that the kernel does not give up waiting for data.
        let defer_accept_s = 4 * EVENT_TIMEOUT.as_secs() as u32;
        let listen = ListenOptions { defer_accept_s, ..loopback() };
        let (served, watch) = start_server(variant, &listen, |_| {});
        let mut idle = Client::connect(served.address);
        assert_eq!(Client::request(served.address), ReceivedStream::with_fin(RESPONSE));
        let accepted =
            || watch.history().iter().filter(|it| it.1 == LifecycleEvent::Accepted).count();
        assert_eq!(accepted(), 1, "{variant}: the idle client was accepted");
        idle.send(REQUEST);
        assert_eq!(idle.read_to_end(), ReceivedStream::with_fin(RESPONSE), "{variant}");
        assert_eq!(accepted(), 2, "{variant}");
    }
}

/// Returns TCP_NODELAY of the server's end of a connection, which is in this process too.
fn server_side_no_delay(client: &Client) -> Option<bool> {
    let (own, peer) = (client.stream.local_addr().ok()?, client.stream.peer_addr().ok()?);
    let descriptors = std::fs::read_dir("/proc/self/fd").ok()?;
    let numbers = descriptors.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
    numbers.into_iter().find_map(|number: i32| {
        // SAFETY: only its addresses and an option are read, which fails if the descriptor is
        // closed or no socket; the addresses identify the connection.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let socket = SockRef::from(&descriptor);
        let ends = (socket.local_addr().ok()?.as_socket(), socket.peer_addr().ok()?.as_socket());
        (ends == (Some(peer), Some(own))).then(|| socket.tcp_nodelay().ok()).flatten()
    })
}

#[test]
fn accepted_connections_inherit_no_delay() {
    for variant in variants("accepted_connections_inherit_no_delay") {
        for no_delay in [false, true] {
            let (served, watch) =
                start_server(variant, &ListenOptions { no_delay, ..loopback() }, |_| {});
            let client = Client::connect(served.address);
            watch.wait_until_recorded(|it| it.1 == LifecycleEvent::Accepted);
            let mut inherited = None;
            wait_until("the server's end is found", || {
                inherited = server_side_no_delay(&client);
                inherited.is_some()
            });
            assert_eq!(inherited, Some(no_delay), "{variant}");
        }
    }
}
