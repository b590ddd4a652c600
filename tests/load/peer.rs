//! A server that does just what a test wants, one connection after the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringpoll::load::{Control, Outcome, Plan, Request, run};

use crate::common::{PATIENCE, RESPONSE};

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Lets `serve` have each connection, with its number, the first being 0. What `serve` keeps
    /// stays open.
    pub(crate) fn start(serve: impl FnMut(usize, TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::on(listener, serve)
    }

    pub(crate) fn on(
        listener: TcpListener,
        mut serve: impl FnMut(usize, TcpStream) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound address");
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let accept = move || {
            for number in 0.. {
                let (stream, _) = listener.accept().expect("connections come");
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(PATIENCE)).expect("a length of time");
                serve(number, stream);
            }
        };
        Self { address, over, thread: Some(thread::spawn(accept)) }
    }

    /// Ends it, and whatever `serve` kept.
    pub(crate) fn end(mut self) {
        self.join().expect("the peer does not panic");
    }

    fn join(&mut self) -> thread::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        // It waits for a connection; if it has panicked, nobody does.
        let _ = TcpStream::connect(self.address);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

/// Reads a request up to its end. Returns how many bytes came with the last piece.
pub(crate) fn read_request(stream: &mut TcpStream) -> usize {
    let (mut request, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut piece).expect("a request comes");
        assert_ne!(count, 0, "the client ends before its request does");
        request.extend_from_slice(&piece[..count]);
        if request.ends_with(b"\r\n\r\n") {
            return count;
        }
    }
}

/// Answers rightly, and ends as the documents do.
pub(crate) fn answer(stream: TcpStream) {
    answer_with(stream, RESPONSE);
}

pub(crate) fn answer_with(mut stream: TcpStream, bytes: &[u8]) {
    read_request(&mut stream);
    // The client may be gone already where the test wants it to lose its patience.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
}

/// A plan for tests: a number of requests, four at a time, without a warm-up, and with a patience
/// that no machine is too slow for.
pub(crate) fn plan(target: SocketAddr, requests: u64) -> Plan {
    Plan {
        connections: 4,
        requests: Some(requests),
        duration: None,
        warm_up: Duration::ZERO,
        timeout: PATIENCE,
        ..Plan::new(target, request())
    }
}

pub(crate) fn request() -> Request {
    Request::get("/", "a", &[]).expect("it makes sense")
}

/// What comes of a plan that can begin.
pub(crate) fn outcome(plan: &Plan) -> Outcome {
    run(plan, &Control::new()).unwrap_or_else(|error| panic!("{error}"))
}
