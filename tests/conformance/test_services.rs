//! Echo, discard and chargen (RFC 862, 863, 864): every byte for every split and size, half-close,
//! peers that do not read, and resets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use crate::configuration::{Configuration, scenarios};
use crate::pieces::seeded_random;
use crate::server::TestServer;
use crate::settings::{Service, Settings};
use common::{Client, EVENT_TIMEOUT, REQUEST, ReceivedStream, chargen_byte};

scenarios![
    echo_at_every_split,
    echo_of_many_sizes,
    echo_ends_after_half_close,
    echo_stops_reading_from_a_peer_that_does_not_read,
    echo_survives_resets,
    discard_sends_nothing,
    chargen_sends_the_pattern,
    chargen_survives_peers_that_stop,
];

/// Longer than a receive, and than the output that may wait.
const LONG_BYTES: usize = 300_000;

/// Time after which a send that has not progressed counts as blocked.
const BLOCKED: Duration = Duration::from_millis(300);

fn start(configuration: Configuration, service: Service) -> TestServer {
    TestServer::with_settings(configuration, &Settings { service, ..Settings::default() })
}

/// Returns bytes in which each position differs from its neighbours.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8 ^ (index / 251) as u8).collect()
}

fn connect(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a socket");
    stream.set_nodelay(true).expect("a socket");
    stream
}

/// Sends in pieces of random lengths and ends the stream, while all that comes back is received.
fn exchange(server: &TestServer, sent: &[u8], longest_piece: usize) -> Vec<u8> {
    let stream = connect(server);
    let pieces = pieces(sent, longest_piece);
    server.count_pieces(pieces.len());
    thread::scope(|scope| {
        let sending = &stream;
        scope.spawn(move || {
            let mut sending = sending;
            for piece in pieces {
                sending.write_all(piece).expect("the server receives");
            }
            sending.shutdown(Shutdown::Write).expect("a connected socket");
        });
        let mut received = Vec::new();
        (&stream).read_to_end(&mut received).expect("the server ends its stream");
        received
    })
}

/// Splits bytes into pieces of random lengths.
fn pieces(mut bytes: &[u8], longest: usize) -> Vec<&[u8]> {
    let mut random = seeded_random();
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.usize(1..=longest).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn echo_at_every_split(configuration: Configuration) {
    let server = start(configuration, Service::Echo);
    for split in 1..REQUEST.len() {
        let before = server.received_bytes();
        let mut client = server.connect_and_send(&REQUEST[..split]);
        server.wait_until_received(before + split);
        client.send(&REQUEST[split..]);
        server.count_pieces(1);
        client.half_close();
        let got = client.read_to_end();
        server.check(&format!("split at {split}"), &got, &ReceivedStream::with_fin(REQUEST));
    }
    server.finish();
}

fn echo_of_many_sizes(configuration: Configuration) {
    let server = start(configuration, Service::Echo);
    for bytes in [0, 1, 2, 27, 1023, 1024, 1025, 16_384, 16_385, 65_536, 65_537, LONG_BYTES] {
        let sent = pattern(bytes);
        for longest_piece in [bytes.div_ceil(20).max(1), LONG_BYTES] {
            let got = exchange(&server, &sent, longest_piece);
            assert!(got == sent, "{configuration}: {bytes} bytes in pieces of {longest_piece}");
            server.count_case();
        }
    }
    server.check_still_serves();
    server.finish();
}

/// The bytes that are left are sent, and then the FIN, with a small send buffer.
fn echo_ends_after_half_close(configuration: Configuration) {
    let settings =
        Settings { service: Service::Echo, send_buffer_bytes: Some(4096), ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    let sent = pattern(LONG_BYTES);
    assert!(exchange(&server, &sent, LONG_BYTES) == sent, "{configuration}");
    // It ends its stream without having sent anything.
    let client = server.connect();
    client.half_close();
    let mut client = client;
    server.check("no byte", &client.read_to_end(), &ReceivedStream::with_fin(b""));
    drop(client);
    server.finish();
}

/// Sends until that blocks. Returns the number of bytes sent.
fn send_until_blocked(stream: &TcpStream, sent: &[u8]) -> usize {
    stream.set_write_timeout(Some(BLOCKED)).expect("a socket");
    let mut count = 0;
    while count < sent.len() {
        match (&*stream).write(&sent[count..]) {
            Ok(written) => count += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("the server ends the connection: {error}"),
        }
    }
    count
}

fn echo_stops_reading_from_a_peer_that_does_not_read(configuration: Configuration) {
    let settings =
        Settings { service: Service::Echo, send_buffer_bytes: Some(16_384), ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    let stream = connect(&server);
    let sent = pattern(64 << 20);
    let count = send_until_blocked(&stream, &sent);
    assert!(count < sent.len(), "{configuration}: the server reads without limit");
    server.count_pieces(count / 512);
    let mut received = vec![0; count];
    (&stream).read_exact(&mut received).expect("the server sends all that it received");
    assert!(received == sent[..count], "{configuration}");
    server.count_case();
    stream.shutdown(Shutdown::Write).expect("a connected socket");
    assert_eq!((&stream).read(&mut [0]).expect("the server ends its stream"), 0);
    drop(stream);
    server.check_still_serves();
    server.finish();
}

fn echo_survives_resets(configuration: Configuration) {
    let server = start(configuration, Service::Echo);
    for sent in [0, 1, REQUEST.len(), LONG_BYTES] {
        for reads in [false, true] {
            let mut client = server.connect();
            client.try_send(&pattern(sent)[..sent.min(60_000)]);
            if reads && sent > 0 {
                client.read(1);
            }
            client.reset();
            server.count_pieces(60);
            server.count_case();
        }
    }
    server.check_still_serves();
    server.finish();
}

fn discard_sends_nothing(configuration: Configuration) {
    let server = start(configuration, Service::Discard);
    for bytes in [0, 1, 1025, LONG_BYTES] {
        assert_eq!(exchange(&server, &pattern(bytes), 20_000), b"", "{configuration}: {bytes}");
        server.count_case();
    }
    let client = server.connect_and_send(REQUEST);
    client.reset();
    server.check_still_serves();
    let totals = server.finish();
    assert!(totals.count("received_bytes") >= (LONG_BYTES + 1026) as u64, "{configuration}");
    assert_eq!(totals.count("sent_bytes"), 0, "{configuration}");
}

fn chargen_sends_the_pattern(configuration: Configuration) {
    let server = start(configuration, Service::Chargen);
    let expected: Vec<_> = (0..LONG_BYTES).map(chargen_byte).collect();
    let mut client = server.connect();
    let mut received = client.read(LONG_BYTES / 2);
    // The peer may end its stream and read on.
    client.half_close();
    received.extend(client.read(LONG_BYTES - received.len()));
    assert!(received == expected, "{configuration}");
    server.count_case();
    client.reset();
    server.finish();
}

fn chargen_survives_peers_that_stop(configuration: Configuration) {
    let settings = Settings {
        service: Service::Chargen,
        send_buffer_bytes: Some(16_384),
        ..Settings::default()
    };
    let server = TestServer::with_settings(configuration, &settings);
    for reads in [0, 1, 74, 100_000] {
        let mut stalled = Client::connect_with_receive_buffer(server.address, 16_384);
        let mut other = server.connect();
        let received = stalled.read(reads);
        assert!(received.iter().enumerate().all(|(at, &byte)| byte == chargen_byte(at)));
        // A peer that does not read delays no other.
        assert_eq!(other.read(1000).len(), 1000, "{configuration}");
        other.reset();
        stalled.reset();
        server.count_case();
    }
    server.finish();
}
