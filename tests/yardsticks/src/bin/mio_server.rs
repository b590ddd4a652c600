//! mio, one thread.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use ringpoll_yardsticks::{Options, is_whole};

const LISTENER: Token = Token(0);

fn main() {
    let options = Options::read();
    let listener = options.listen();
    listener.set_nonblocking(true).unwrap();
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(1024);
    let mut streams: HashMap<Token, (TcpStream, usize)> = HashMap::new();
    let (mut next, mut buffer) = (1, [0u8; 1024]);
    loop {
        let _ = poll.poll(&mut events, None);
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(next);
                    next += 1;
                    poll.registry().register(&mut stream, token, Interest::READABLE).unwrap();
                    streams.insert(token, (stream, 0));
                }
                continue;
            }
            let Some((stream, _)) = streams.get_mut(&event.token()) else { continue };
            let mut is_over = false;
            loop {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) if is_whole(&buffer[..count]) => {
                        is_over = stream.write_all(options.answer()).is_err() || !options.keep_alive;
                        if is_over {
                            break;
                        }
                    }
                    Ok(1..) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    _ => {
                        is_over = true;
                        break;
                    }
                }
            }
            if is_over {
                let (stream, _) = streams.remove(&event.token()).unwrap();
                if options.shutdown {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
        }
    }
}
