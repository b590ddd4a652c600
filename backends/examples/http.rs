//! An HTTP/1.1 server with routes and a count that all connections share, on any engine:
//! `cargo run --example http -- 127.0.0.1:8080 io_uring:tuned`
//!
//! It refuses requests with a body, and sends no Date, since a protocol has no clock.

use std::fmt::Write;

use httparse::{EMPTY_HEADER, Error, Request, Status};
use ringpoll_backends::{Awaits, Backend, Closing, EngineOptions, Next, Output, Protocol};
use ringpoll_backends::{Stop, Variant, WorkerOptions, open};

const MAX_HEAD_BYTES: usize = 8 * 1024;
const MAX_FIELDS: usize = 64;

#[derive(Default)]
pub(crate) struct Site {
    requests: u64,
}

impl Site {
    /// Returns the status and the body of the response.
    fn route(&mut self, path: &str) -> (&'static str, String) {
        self.requests += 1;
        match path {
            "/" => ("200 OK", "Hello, world!\n".to_owned()),
            "/count" => ("200 OK", format!("{}\n", self.requests)),
            _ => ("404 Not Found", "Not found\n".to_owned()),
        }
    }

    fn respond(&mut self, request: &Request, output: &mut Output) -> Next {
        let mut options = values(request, "connection").flat_map(|it| it.split(|&it| it == b','));
        let closes = options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        let next = if closes || request.version == Some(0) { Next::Shutdown } else { Next::Recv };
        let (path, _) = request.path.map_or(("", ""), |it| it.split_once('?').unwrap_or((it, "")));
        let (status, body) = self.route(path);
        push_response(status, &body, request.method == Some("GET"), next, output);
        next
    }
}

/// Returns the length of the first head, `None` if it is incomplete, or the status of a refusal.
fn parse<'input>(
    request: &mut Request<'_, 'input>,
    input: &'input [u8],
) -> Result<Option<usize>, &'static str> {
    let input = &input[..input.len().min(MAX_HEAD_BYTES)];
    let length = match request.parse(input) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) if input.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(Status::Partial) | Err(Error::TooManyHeaders) => {
            return Err("431 Request Header Fields Too Large");
        }
        Err(_) => return Err("400 Bad Request"),
    };
    let hosts = values(request, "host").count();
    let has_length = values(request, "content-length").any(|value| value != b"0");
    if hosts > 1 || hosts == 0 && request.version == Some(1) {
        Err("400 Bad Request")
    } else if has_length || values(request, "transfer-encoding").count() > 0 {
        Err("413 Content Too Large")
    } else if !matches!(request.method, Some("GET" | "HEAD")) {
        Err("501 Not Implemented")
    } else {
        Ok(Some(length))
    }
}

/// Returns the values of a field.
fn values<'input>(request: &Request<'_, 'input>, name: &str) -> impl Iterator<Item = &'input [u8]> {
    let fields = request.headers.iter();
    fields.filter(move |it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value)
}

fn push_response(status: &str, body: &str, sends_body: bool, next: Next, output: &mut Output) {
    let connection = if next == Next::Shutdown { "Connection: close\r\n" } else { "" };
    let (length, body) = (body.len(), if sends_body { body } else { "" });
    let _ = write!(output, "HTTP/1.1 {status}\r\n{connection}Content-Type: text/plain\r\n");
    let _ = write!(output, "Content-Length: {length}\r\n\r\n{body}");
    output.end_message();
}

impl Protocol for Site {
    /// The start of a head whose end has not arrived.
    type Connection = Vec<u8>;

    fn on_open(&mut self, _output: &mut Output) -> Vec<u8> {
        Vec::new()
    }

    fn on_recv(&mut self, input: &mut Vec<u8>, bytes: &[u8], output: &mut Output) -> Next {
        input.extend_from_slice(bytes);
        let (mut used, mut next) = (0, Next::Recv);
        while next == Next::Recv {
            let mut fields = [EMPTY_HEADER; MAX_FIELDS];
            let mut request = Request::new(&mut fields);
            match parse(&mut request, &input[used..]) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    used += length;
                    output.count_request();
                    next = self.respond(&request, output);
                }
                Err(status) => {
                    output.count_refused();
                    next = Next::Shutdown;
                    push_response(status, "", true, next, output);
                }
            }
        }
        input.drain(..used);
        next
    }

    fn awaits(&self, input: &Vec<u8>) -> Awaits {
        if input.is_empty() { Awaits::NextMessage } else { Awaits::Head }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variant: Variant = std::env::args().nth(2).as_deref().unwrap_or("epoll").parse()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = std::net::TcpListener::bind(address)?;
    println!("{} on {variant}", listener.local_addr()?);
    let mut worker = WorkerOptions::new(listener, Stop::new()?);
    // A reset could destroy the response to what it refuses.
    worker.closing = Closing::Lingering { bytes: 64 * 1024 };
    Ok(open(variant, &EngineOptions::default())?.run(worker, Site::default()).map(drop)?)
}
