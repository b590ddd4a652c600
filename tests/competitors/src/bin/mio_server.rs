//! mio, one thread.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};

use clap::Parser;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ringpoll_competitors::{ListenArguments, ends_request, response};

/// A server on mio.
#[derive(Clone, Copy, Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Keep connections alive, with one request at a time.
    #[arg(long)]
    keep_alive: bool,
}

const LISTENER: Token = Token(0);

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = arguments.listening.listen();
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut streams: HashMap<Token, TcpStream> = HashMap::new();
    let mut next = 1;
    loop {
        match poll.poll(&mut events, None) {
            // `ringpoll compare` stops the server with SIGSTOP while another arm is measured.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE)?;
                    streams.insert(token, stream);
                }
                continue;
            }
            let Some(stream) = streams.get_mut(&event.token()) else { continue };
            if is_over(stream, arguments.keep_alive) {
                streams.remove(&event.token());
            }
        }
    }
}

/// Receives and responds until EAGAIN; returns true if the connection is to be closed.
fn is_over(stream: &mut TcpStream, keep_alive: bool) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) if ends_request(&buffer[..count]) => {
                if stream.write_all(response(keep_alive)).is_err() || !keep_alive {
                    return true;
                }
            }
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            _ => return true,
        }
    }
}
