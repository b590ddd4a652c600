//! Sends each line back in upper case: a message may arrive in any number of pieces.

use ringpoll_backends::{Awaits, Backend, EngineOptions, Next, Output, Protocol};
use ringpoll_backends::{Stop, Variant, WorkerOptions, open};

struct UpperCase;

impl Protocol for UpperCase {
    /// The start of a line whose end has not arrived.
    type Connection = Vec<u8>;

    fn on_open(&mut self, _output: &mut Output) -> Vec<u8> {
        Vec::new()
    }

    fn on_recv(&mut self, line: &mut Vec<u8>, bytes: &[u8], output: &mut Output) -> Next {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            line.extend(piece.to_ascii_uppercase());
            if piece.ends_with(b"\n") {
                output.push_copy(line);
                line.clear();
            }
        }
        if line.len() > 1000 { Next::Close } else { Next::Recv }
    }

    fn awaits(&self, line: &Vec<u8>) -> Awaits {
        if line.is_empty() { Awaits::NextMessage } else { Awaits::Head }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let variant: Variant = std::env::args().nth(2).as_deref().unwrap_or("epoll").parse()?;
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7001".to_owned());
    let listener = std::net::TcpListener::bind(address)?;
    println!("{} on {variant}", listener.local_addr()?);
    let worker = WorkerOptions::new(listener, Stop::new()?);
    Ok(open(variant, &EngineOptions::default())?.run(worker, UpperCase).map(drop)?)
}
