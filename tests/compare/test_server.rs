//! Servers with a defect, or slower by a given time. They run in another process of this test
//! program, started as an arm.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringpoll_backends::protocols::Http10;
use ringpoll_backends::{
    Backend, EngineOptions, ListenOptions, Listener, RequestLog, Stop, Variant, WorkerOptions, open,
};

use socket2::{Domain, Socket, Type};

use common::RESPONSE;

/// Returns an arm that starts the server `kind` of this file.
pub(crate) fn arm(kind: &str) -> String {
    let program = std::env::current_exe().expect("the path of this program");
    format!(
        "command:env COMPARE_SERVER={kind} COMPARE_PORT={{port}} '{}' --exact \
         test_server::runs_a_server --ignored --nocapture",
        program.display()
    )
}

/// Not a test: it does nothing without the variables that [`arm`] sets.
#[test]
#[ignore = "a server that other tests start"]
fn runs_a_server() {
    let variable = |name| std::env::var(name).ok();
    let (Some(kind), Some(port)) = (variable("COMPARE_SERVER"), variable("COMPARE_PORT")) else {
        return;
    };
    let port: u16 = port.parse().expect("a port");
    match kind.split_once(':').unwrap_or((&kind, "")) {
        ("spin", nanoseconds) => serve_and_spin(port, nanoseconds.parse().expect("a number")),
        ("wrong", _) => serve_each(port, |number| number % 50 == 49),
        ("right", _) => serve_each(port, |_| false),
        ("calls", count) => {
            let count: usize = count.parse().expect("a number");
            serve_each(port, |_| {
                (0..count).for_each(|_| _ = rustix::process::getppid());
                false
            });
        }
        ("dies", _) => serve_each(port, |number| {
            if number > 100 {
                eprintln!("this is the end");
                std::process::exit(7);
            }
            false
        }),
        ("missing", _) => serve_missing(port),
        ("tail", microseconds) => serve_with_tail(port, microseconds.parse().expect("a number")),
        ("slow_to_accept", _) => accept_slowly(port),
        (other, _) => panic!("no such server: {other}"),
    }
}

/// Spins for a time on each request.
struct Spin(Duration);

impl RequestLog for Spin {
    fn request(&mut self, _: &[u8]) -> bool {
        if !self.0.is_zero() {
            let end = Instant::now() + self.0;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        true
    }
}

fn serve_and_spin(port: u16, nanoseconds: u64) {
    let address = ([127, 0, 0, 1], port).into();
    let listener = Listener::bind(&ListenOptions::new(address)).expect("a free port");
    let stop = Stop::new().expect("a descriptor");
    let mut worker = WorkerOptions::new(listener, stop);
    worker.request_log = Some(Box::new(Spin(Duration::from_nanos(nanoseconds))));
    let mut backend = open(Variant::EpollLevel, &EngineOptions::default()).expect("epoll");
    backend.run(worker, Http10::new(RESPONSE)).expect("the server runs until it is killed");
}

/// Serves one connection after another, some of them with a wrong byte.
fn serve_each(port: u16, mut is_wrong: impl FnMut(u64) -> bool) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for (number, stream) in (0..).zip(listener.incoming()) {
        let mut response = RESPONSE.to_vec();
        if is_wrong(number) {
            *response.last_mut().expect("the response is not empty") = b'?';
        }
        // The client may have closed its end.
        let _ = stream.and_then(|stream| respond(stream, &response));
    }
}

fn respond(mut stream: TcpStream, response: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    stream.write_all(response)
}

/// Serves each connection in a thread of its own; one response in 50 waits.
fn serve_with_tail(port: u16, microseconds: u64) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for (number, stream) in (0_u64..).zip(listener.incoming().flatten()) {
        std::thread::spawn(move || {
            // Not every 50th in sequence, which would be one at the same place in each slice.
            if number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 < u64::from(u32::MAX / 50) {
                std::thread::sleep(Duration::from_micros(microseconds));
            }
            let _ = respond(stream, RESPONSE);
        });
    }
}

/// Responds with a status that is not a success.
fn serve_missing(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for stream in listener.incoming().flatten() {
        let _ = respond(stream, b"HTTP/1.0 404 Not Found\r\n\r\n");
    }
}

/// Accepts slowly, so that its accept queue of two connections overflows.
fn accept_slowly(port: u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.bind(&address.into()).expect("a free port");
    socket.listen(1).expect("the socket is bound");
    for stream in TcpListener::from(socket).incoming().flatten() {
        let _ = respond(stream, RESPONSE);
        std::thread::sleep(Duration::from_millis(1));
    }
}
