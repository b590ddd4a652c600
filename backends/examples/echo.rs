//! An echo server on any engine: `cargo run --example echo -- 127.0.0.1:7000 io_uring:tuned`

use std::env;
use std::error::Error;
use std::net::TcpListener;

use ringpoll_backends::{Backend, EngineOptions, Next, Output, Protocol};
use ringpoll_backends::{Stop, Variant, WorkerOptions, open};

struct Echo;

impl Protocol for Echo {
    type Connection = ();

    fn on_open(&mut self, _output: &mut Output) {}

    fn on_recv(&mut self, (): &mut (), bytes: &[u8], output: &mut Output) -> Next {
        output.push_copy(bytes);
        Next::Recv
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let variant: Variant = arguments.next().as_deref().unwrap_or("epoll").parse()?;
    let listener = TcpListener::bind(address)?;
    println!("{} on {variant}", listener.local_addr()?);
    let worker = WorkerOptions::new(listener, Stop::new()?);
    open(variant, &EngineOptions::default())?.run(worker, Echo)?;
    Ok(())
}
