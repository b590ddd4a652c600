//! Many connections at the same time, and peers that send without end.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::closing::premature_eof;
use crate::configuration::{Configuration, scenarios};
use crate::outcomes::Outcomes;
use crate::server::TestServer;
use crate::settings::Settings;
use common::{Client, EVENT_TIMEOUT, REQUEST, RESPONSE, ReceivedStream};

scenarios![
    thousand_open_connections,
    burst_of_thousand_requests,
    thousand_connect_and_close,
    thousand_resets,
    more_connections_than_slots,
    endless_senders_do_not_starve_others,
];

const CONNECTIONS: usize = 1000;

/// Serialises the tests that need two descriptors for each of many connections.
fn lock_descriptors() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    crate::lock(&ONE)
}

fn check_responses(server: &TestServer, clients: Vec<Client>) {
    for mut client in clients {
        server.check("one of many", &client.read_to_end(), &ReceivedStream::with_fin(RESPONSE));
    }
}

/// All connections are open before the first response.
fn thousand_open_connections(configuration: Configuration) {
    let _exclusive = lock_descriptors();
    let server = TestServer::start(configuration);
    let start = &REQUEST[..10];
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect_and_send(start)).collect();
    server.wait_until_open(CONNECTIONS);
    clients.iter_mut().for_each(|client| client.send(&REQUEST[10..]));
    check_responses(&server, clients);
    server.finish_with(Outcomes::responses(CONNECTIONS as u64));
}

/// All connections and requests are queued before the server accepts the first.
fn burst_of_thousand_requests(configuration: Configuration) {
    let _exclusive = lock_descriptors();
    let server = TestServer::start(configuration);
    let paused = server.pause();
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect_and_send(REQUEST)).collect();
    drop(paused);
    check_responses(&server, clients);
    server.finish_with(Outcomes::responses(CONNECTIONS as u64));
}

fn thousand_connect_and_close(configuration: Configuration) {
    let _exclusive = lock_descriptors();
    let server = TestServer::start(configuration);
    for _ in 0..CONNECTIONS {
        drop(server.connect());
        server.count_case();
    }
    server.check_still_serves();
    server.finish_with(premature_eof(CONNECTIONS));
}

/// All connections are idle, and reset before the server handles the first reset.
fn thousand_resets(configuration: Configuration) {
    let _exclusive = lock_descriptors();
    let server = TestServer::start(configuration);
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    server.wait_until_open(CONNECTIONS);
    let paused = server.pause();
    for client in clients {
        client.reset();
        server.count_case();
    }
    drop(paused);
    server.check_still_serves();
    let expected = Outcomes { connection_errors: CONNECTIONS as u64, ..Outcomes::default() };
    server.finish_with(expected);
}

/// Connections without a slot wait in the accept queue and are served later.
fn more_connections_than_slots(configuration: Configuration) {
    let settings = Settings { connections: 4, ..Settings::default() };
    let server = TestServer::with_settings(configuration, &settings);
    let paused = server.pause();
    let clients: Vec<_> = (0..200).map(|_| server.connect_and_send(REQUEST)).collect();
    drop(paused);
    // A lingering close keeps the slot until its peer closes, so each closes after its response.
    check_responses(&server, clients);
    server.finish_with(Outcomes::responses(200));
}

/// Three peers send without end and reconnect when they are closed; others are served meanwhile.
fn endless_senders_do_not_starve_others(configuration: Configuration) {
    let server = TestServer::start(configuration);
    let (address, is_over) = (server.address, AtomicBool::new(false));
    let starts: [&[u8]; 3] = [b"", REQUEST, b"GET / HTTP/1.0\r\n"];
    thread::scope(|scope| {
        for start in starts {
            let is_over = &is_over;
            scope.spawn(move || send_until(is_over, address, start));
        }
        let _end = OnDrop(&is_over);
        for _ in 0..100 {
            let got = server.connect_and_send(REQUEST).read_to_end();
            server.check("during a flood", &got, &ReceivedStream::with_fin(RESPONSE));
        }
    });
    server.finish();
}

/// Sets the flag when the test ends, also by a panic.
struct OnDrop<'flag>(&'flag AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn send_until(is_over: &AtomicBool, address: SocketAddr, start: &[u8]) {
    let bytes = [b'x'; 16 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, EVENT_TIMEOUT) else { return };
        stream.set_write_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
        let _ = stream.write_all(start);
        while !is_over.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {}
    }
}
