//! Many at once, and some that would have the server for themselves.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;

use crate::accounts::Accounts;
use crate::arm::{Arm, scenarios};
use crate::closing::ended_early;
use crate::common::{Client, Exchange, PATIENCE, REQUEST, RESPONSE};
use crate::server::Server;
use crate::settings::Settings;

scenarios![
    a_thousand_connections_at_once,
    a_burst_of_a_thousand,
    a_thousand_connect_and_close,
    a_thousand_resets,
    more_peers_than_slots,
    peers_that_never_stop_sending,
];

const CROWD: usize = 1000;

/// One crowd at a time: each takes up to two descriptors for every connection.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    crate::turn(&ONE)
}

fn all_are_answered(server: &Server, clients: Vec<Client>) {
    for mut client in clients {
        server.check("one of a crowd", &client.read_to_end(), &Exchange::finished(RESPONSE));
    }
}

/// All of them are open before the first is answered.
fn a_thousand_connections_at_once(arm: Arm) {
    let _alone = alone();
    let server = Server::start(arm);
    let first = &REQUEST[..10];
    let mut clients: Vec<_> = (0..CROWD).map(|_| server.connect_and_send(first)).collect();
    server.wait_until_open(CROWD);
    clients.iter_mut().for_each(|client| client.send(&REQUEST[10..]));
    all_are_answered(&server, clients);
    server.finish_with(Accounts::answered(CROWD as u64));
}

/// All of them are there at the same moment, with their requests.
fn a_burst_of_a_thousand(arm: Arm) {
    let _alone = alone();
    let server = Server::start(arm);
    let held = server.hold();
    let clients: Vec<_> = (0..CROWD).map(|_| server.connect_and_send(REQUEST)).collect();
    drop(held);
    all_are_answered(&server, clients);
    server.finish_with(Accounts::answered(CROWD as u64));
}

fn a_thousand_connect_and_close(arm: Arm) {
    let _alone = alone();
    let server = Server::start(arm);
    for _ in 0..CROWD {
        drop(server.connect());
        server.count_case();
    }
    server.still_serves();
    server.finish_with(ended_early(CROWD));
}

/// All of them idle, and all reset at the same moment.
fn a_thousand_resets(arm: Arm) {
    let _alone = alone();
    let server = Server::start(arm);
    let clients: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    server.wait_until_open(CROWD);
    let held = server.hold();
    for client in clients {
        client.reset();
        server.count_case();
    }
    drop(held);
    server.still_serves();
    let expected = Accounts { connection_errors: CROWD as u64, ..Accounts::default() };
    server.finish_with(expected);
}

/// Those for whom there is no room wait in the queue, and are served in their turn.
fn more_peers_than_slots(arm: Arm) {
    let settings = Settings { connections: 4, ..Settings::default() };
    let server = Server::with_settings(arm, &settings);
    let held = server.hold();
    let clients: Vec<_> = (0..200).map(|_| server.connect_and_send(REQUEST)).collect();
    drop(held);
    // A lingering close keeps the slot until its peer is gone, so each leaves as it is answered.
    all_are_answered(&server, clients);
    server.finish_with(Accounts::answered(200));
}

/// Some send without end and come back whenever they are cut off; all others are served.
fn peers_that_never_stop_sending(arm: Arm) {
    let server = Server::start(arm);
    let (address, over) = (server.address, AtomicBool::new(false));
    let beginnings: [&[u8]; 3] = [b"", REQUEST, b"GET / HTTP/1.0\r\n"];
    thread::scope(|scope| {
        for beginning in beginnings {
            let over = &over;
            scope.spawn(move || flood_until(over, address, beginning));
        }
        let _over = OnDrop(&over);
        for _ in 0..100 {
            let answer = server.connect_and_send(REQUEST).read_to_end();
            server.check("beside a flood", &answer, &Exchange::finished(RESPONSE));
        }
    });
    server.finish();
}

/// Ends the floods, however the test ends.
struct OnDrop<'over>(&'over AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn flood_until(over: &AtomicBool, address: SocketAddr, beginning: &[u8]) {
    let bytes = [b'x'; 16 * 1024];
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return };
        stream.set_write_timeout(Some(PATIENCE)).expect("a length of time");
        let _ = stream.write_all(beginning);
        while !over.load(Ordering::Relaxed) && stream.write_all(&bytes).is_ok() {}
    }
}
