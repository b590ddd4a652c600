//! tokio, one thread.

use clap::Parser;
use ringpoll_competitors::{ListenArguments, ends_request, response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server on tokio.
#[derive(Clone, Copy, Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Keep connections alive, with one request at a time.
    #[arg(long)]
    keep_alive: bool,
}

async fn serve(mut stream: TcpStream, keep_alive: bool) {
    let mut buffer = [0; 1024];
    let mut length = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]).await {
        length += count;
        if ends_request(&buffer[..length]) {
            if stream.write_all(response(keep_alive)).await.is_err() || !keep_alive {
                return;
            }
            length = 0;
        }
    }
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let listener = arguments.listening.listen();
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, arguments.keep_alive));
            }
        }
    })
}
