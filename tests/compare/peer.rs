//! Servers that are not as they should be, or slower by just so much. They are this very test
//! program, started once more as an arm.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use ringpoll_backends::{
    EngineOptions, ListenOptions, Listener, RequestLog, Stop, Variant, Worker, open,
};

use socket2::{Domain, Socket, Type};

use super::common::RESPONSE;

/// An arm that is the server `kind` of this file.
pub(crate) fn arm(kind: &str) -> String {
    let program = std::env::current_exe().expect("this program has a file");
    format!(
        "command:env COMPARE_PEER={kind} COMPARE_PORT={{port}} '{}' --exact \
         peer::serves_whoever_starts_it --ignored --nocapture",
        program.display()
    )
}

/// No test: without the variables that [`arm`] sets it does nothing.
#[test]
#[ignore = "a server that other tests start"]
fn serves_whoever_starts_it() {
    let variable = |name| std::env::var(name).ok();
    let (Some(kind), Some(port)) = (variable("COMPARE_PEER"), variable("COMPARE_PORT")) else {
        return;
    };
    let port: u16 = port.parse().expect("a port");
    match kind.split_once(':').unwrap_or((&kind, "")) {
        ("spin", nanoseconds) => serve_and_spin(port, nanoseconds.parse().expect("a number")),
        ("wrong", _) => answer_each(port, |number| number % 50 == 49),
        ("right", _) => answer_each(port, |_| false),
        ("dies", _) => answer_each(port, |number| {
            if number > 100 {
                eprintln!("this is the end");
                std::process::exit(7);
            }
            false
        }),
        ("slow_to_accept", _) => accept_slowly(port),
        (other, _) => panic!("no such server: {other}"),
    }
}

/// Spends so many nanoseconds more on each request. The loop is calibrated by the clock itself.
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
    let mut worker = Worker::new(listener, stop, RESPONSE);
    worker.request_log = Some(Box::new(Spin(Duration::from_nanos(nanoseconds))));
    let mut backend = open(Variant::EpollLevel, &EngineOptions::default()).expect("epoll");
    backend.run(worker).expect("it serves until it is killed");
}

/// Answers one connection after the other, some of them with a wrong byte.
fn answer_each(port: u16, mut is_wrong: impl FnMut(u64) -> bool) {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    for (number, stream) in (0..).zip(listener.incoming()) {
        let mut response = RESPONSE.to_vec();
        if is_wrong(number) {
            *response.last_mut().expect("it is not empty") = b'?';
        }
        // A client that has gone is not missed.
        let _ = stream.and_then(|stream| answer(stream, &response));
    }
}

fn answer(mut stream: TcpStream, response: &[u8]) -> std::io::Result<()> {
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

/// Has a queue for two and takes its time, so that the queue overflows.
fn accept_slowly(port: u16) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    let address: SocketAddr = ([127, 0, 0, 1], port).into();
    socket.bind(&address.into()).expect("a free port");
    socket.listen(1).expect("it is bound");
    for stream in TcpListener::from(socket).incoming().flatten() {
        let _ = answer(stream, RESPONSE);
        std::thread::sleep(Duration::from_millis(1));
    }
}
