//! The clients of the soak test: most send a request and read the response, others misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use common::{EVENT_TIMEOUT, HEAD_TOO_LARGE, REQUEST, RESPONSE};

const THREADS: u64 = 4;
/// One of this many connections misbehaves.
const FAULT_RATIO: u32 = 32;

pub(crate) struct Clients {
    pub(crate) responses: Arc<AtomicU64>,
    faults: Arc<AtomicU64>,
    quick: Vec<JoinHandle<()>>,
    slow: JoinHandle<()>,
    stopped: Arc<AtomicBool>,
}

impl Clients {
    /// Starts clients for `requests` requests, in addition to faults and one slow client.
    pub(crate) fn start(address: SocketAddr, requests: u64) -> Self {
        let (responses, faults) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let stopped = Arc::<AtomicBool>::default();
        let quick = |thread| {
            let (responses, faults) = (Arc::clone(&responses), Arc::clone(&faults));
            let share = requests / THREADS + u64::from(thread < requests % THREADS);
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..share {
                    if random.u32(..FAULT_RATIO) == 0 {
                        fault(address, &mut random);
                        faults.fetch_add(1, Ordering::Relaxed);
                    }
                    request(address);
                    responses.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let quick = (0..THREADS).map(quick).collect();
        let (slow_faults, slow_stopped) = (Arc::clone(&faults), Arc::clone(&stopped));
        let slow = thread::spawn(move || {
            while !slow_stopped.load(Ordering::Relaxed) {
                send_request_byte_by_byte(address);
                slow_faults.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { responses, faults, quick, slow, stopped }
    }

    pub(crate) fn are_running(&self) -> bool {
        self.quick.iter().any(|thread| !thread.is_finished())
    }

    /// Waits for all clients, and returns the numbers of responses and faults.
    pub(crate) fn join(self) -> (u64, u64) {
        for thread in self.quick {
            thread.join().expect("every request gets its response");
        }
        self.stopped.store(true, Ordering::Relaxed);
        self.slow.join().expect("every request gets its response");
        (self.responses.load(Ordering::Relaxed), self.faults.load(Ordering::Relaxed))
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
    stream
}

/// Sends bytes that the server may refuse.
fn send(mut stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

fn check_response(mut stream: TcpStream, response: &[u8]) {
    let mut buffer = [0; 512];
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..]).expect("a response and its end") {
            0 => break,
            count => length += count,
        }
    }
    assert!(buffer[..length] == *response, "got {}", buffer[..length].escape_ascii());
}

fn request(address: SocketAddr) {
    let stream = connect(address);
    send(&stream, REQUEST);
    check_response(stream, RESPONSE);
}

fn send_request_byte_by_byte(address: SocketAddr) {
    let stream = connect(address);
    for byte in REQUEST {
        send(&stream, &[*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    check_response(stream, RESPONSE);
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a TCP stream");
}

fn fault(address: SocketAddr, random: &mut fastrand::Rng) {
    let stream = connect(address);
    let part = &REQUEST[..random.usize(..REQUEST.len())];
    match random.u32(..9) {
        0 => drop(stream),
        1 => reset(stream),
        2 => send(&stream, part),
        3 => {
            send(&stream, part);
            reset(stream);
        }
        4 => {
            send(&stream, REQUEST);
            reset(stream);
        }
        5 => {
            send(&stream, part);
            let _ = stream.shutdown(Shutdown::Write);
            // An incomplete request gets no response.
            check_response(stream, b"");
        }
        6 => {
            send(&stream, REQUEST);
            let _ = stream.shutdown(Shutdown::Write);
            check_response(stream, RESPONSE);
        }
        7 => {
            send(&stream, part);
            thread::yield_now();
            send(&stream, &REQUEST[part.len()..]);
            send(&stream, REQUEST);
            check_response(stream, RESPONSE);
        }
        _ => {
            send(&stream, &[b'x'; 10_000]);
            check_response(stream, HEAD_TOO_LARGE);
        }
    }
}
