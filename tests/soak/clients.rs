//! The peers of the soak: most ask and are answered, the others do whatever a peer can do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;

use crate::common::{HEAD_TOO_LARGE, PATIENCE, REQUEST, RESPONSE};

const THREADS: u64 = 4;
/// One connection in so many is a fault.
const FAULTS: u32 = 32;

pub(crate) struct Clients {
    pub(crate) answered: Arc<AtomicU64>,
    faults: Arc<AtomicU64>,
    quick: Vec<JoinHandle<()>>,
    slow: JoinHandle<()>,
    is_over: Arc<AtomicBool>,
}

impl Clients {
    /// So many requests, faults not counted, and all the time one that is slow.
    pub(crate) fn start(address: SocketAddr, requests: u64) -> Self {
        let (answered, faults) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let is_over = Arc::<AtomicBool>::default();
        let quick = |thread| {
            let (answered, faults) = (Arc::clone(&answered), Arc::clone(&faults));
            let share = requests / THREADS + u64::from(thread < requests % THREADS);
            thread::spawn(move || {
                // The same each time, and something else on each thread.
                let mut random = fastrand::Rng::with_seed(thread);
                for _ in 0..share {
                    if random.u32(..FAULTS) == 0 {
                        fault(address, &mut random);
                        faults.fetch_add(1, Ordering::Relaxed);
                    }
                    ask(address);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let quick = (0..THREADS).map(quick).collect();
        let (slow_faults, slow_is_over) = (Arc::clone(&faults), Arc::clone(&is_over));
        let slow = thread::spawn(move || {
            while !slow_is_over.load(Ordering::Relaxed) {
                byte_by_byte(address);
                slow_faults.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { answered, faults, quick, slow, is_over }
    }

    pub(crate) fn are_at_work(&self) -> bool {
        self.quick.iter().any(|thread| !thread.is_finished())
    }

    /// Waits for all, and says how many were answered and how many were faults.
    pub(crate) fn ended(self) -> (u64, u64) {
        for thread in self.quick {
            thread.join().expect("everybody who asks is answered");
        }
        self.is_over.store(true, Ordering::Relaxed);
        self.slow.join().expect("everybody who asks is answered");
        (self.answered.load(Ordering::Relaxed), self.faults.load(Ordering::Relaxed))
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a length of time");
    stream
}

/// Sends what the server need not want any more.
fn send(mut stream: &TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

fn is_answered(mut stream: TcpStream, answer: &[u8]) {
    let mut buffer = [0; 512];
    let mut length = 0;
    loop {
        match stream.read(&mut buffer[length..]).expect("an answer and its end") {
            0 => break,
            count => length += count,
        }
    }
    assert!(buffer[..length] == *answer, "got {}", buffer[..length].escape_ascii());
}

fn ask(address: SocketAddr) {
    let stream = connect(address);
    send(&stream, REQUEST);
    is_answered(stream, RESPONSE);
}

fn byte_by_byte(address: SocketAddr) {
    let stream = connect(address);
    for byte in REQUEST {
        send(&stream, &[*byte]);
        thread::sleep(Duration::from_millis(1));
    }
    is_answered(stream, RESPONSE);
}

/// Closing turns into a reset.
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
            // Half a request, and nothing will follow: that is no request.
            is_answered(stream, b"");
        }
        6 => {
            send(&stream, REQUEST);
            let _ = stream.shutdown(Shutdown::Write);
            is_answered(stream, RESPONSE);
        }
        7 => {
            send(&stream, part);
            thread::yield_now();
            send(&stream, &REQUEST[part.len()..]);
            send(&stream, REQUEST);
            is_answered(stream, RESPONSE);
        }
        _ => {
            send(&stream, &[b'x'; 10_000]);
            is_answered(stream, HEAD_TOO_LARGE);
        }
    }
}
