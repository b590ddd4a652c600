//! A server whose behaviour each test defines. It serves one connection at a time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringpoll::load::{Control, Outcome, Plan, Reference, Request, Verify, run};

use common::{EVENT_TIMEOUT, RESPONSE, unique_loopback_address};

pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Calls `serve` with the number of each connection, starting at 0, and its stream, which
    /// `serve` can keep open.
    pub(crate) fn start(serve: impl FnMut(usize, TcpStream) + Send + 'static) -> Self {
        // Of its own: a socket of another test may have had the same port of 127.0.0.1.
        let listener = TcpListener::bind(unique_loopback_address()).expect("a free port");
        Self::on(listener, serve)
    }

    pub(crate) fn on(
        listener: TcpListener,
        mut serve: impl FnMut(usize, TcpStream) + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound address");
        let stopped = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stopped);
        let accept = move || {
            for number in 0.. {
                let (stream, _) = listener.accept().expect("a connection");
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                stream.set_read_timeout(Some(EVENT_TIMEOUT)).expect("a valid timeout");
                serve(number, stream);
            }
        };
        Self { address, stopped, thread: Some(thread::spawn(accept)) }
    }

    /// Stops the server and closes the streams that `serve` has kept open.
    pub(crate) fn end(mut self) {
        self.join().expect("the server does not panic");
    }

    fn join(&mut self) -> thread::Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the accept. The connect fails if the thread has panicked.
        let _ = TcpStream::connect(self.address);
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.join();
    }
}

/// Reads one request. Returns the number of bytes of the last read.
pub(crate) fn read_request(stream: &mut TcpStream) -> usize {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        let count = stream.read(&mut buffer).expect("a request");
        assert_ne!(count, 0, "the client closed before the end of its request");
        request.extend_from_slice(&buffer[..count]);
        if request.ends_with(b"\r\n\r\n") {
            return count;
        }
    }
}

/// Sends the correct response and closes the send side, like the reference programs.
pub(crate) fn respond(stream: TcpStream) {
    respond_with(stream, RESPONSE);
}

pub(crate) fn respond_with(mut stream: TcpStream, bytes: &[u8]) {
    read_request(&mut stream);
    // The client may have timed out and closed the connection.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
}

/// A plan of `requests` requests on four connections, without a warm-up, with one request before
/// the load, and with a timeout that suits a slow machine.
pub(crate) fn plan(target: SocketAddr, requests: u64) -> Plan {
    Plan {
        connections: 4,
        requests: Some(requests),
        duration: None,
        warm_up: Duration::ZERO,
        timeout: EVENT_TIMEOUT,
        verify: Verify::Bytes,
        ..Plan::new(target, request())
    }
}

pub(crate) fn request() -> Request {
    Request::get("/", "a", &[]).expect("a valid request")
}

/// Runs a valid plan.
pub(crate) fn outcome(plan: &Plan) -> Outcome {
    run(plan, &Control::new()).unwrap_or_else(|error| panic!("{error}"))
}

/// The response with which all others were compared.
pub(crate) fn reference(outcome: &Outcome) -> &Reference {
    outcome.reference().expect("an HTTP load")
}
