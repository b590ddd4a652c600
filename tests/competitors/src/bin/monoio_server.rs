//! monoio, on io_uring, one thread.

use clap::Parser;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use ringpoll_competitors::{ListenArguments, ends_request, response};

/// A server on monoio.
#[derive(Clone, Copy, Parser)]
struct Arguments {
    #[command(flatten)]
    listening: ListenArguments,
    /// Keep connections alive, with one request at a time.
    #[arg(long)]
    keep_alive: bool,
}

async fn serve(mut stream: TcpStream, keep_alive: bool) {
    let mut buffer = vec![0; 1024];
    loop {
        let (result, back) = stream.read(buffer).await;
        buffer = back;
        let Ok(count @ 1..) = result else { return };
        if ends_request(&buffer[..count]) {
            let (written, _) = stream.write_all(response(keep_alive)).await;
            if written.is_err() || !keep_alive {
                return;
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let mut runtime =
        monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(256).build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(arguments.listening.listen())?;
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                monoio::spawn(serve(stream, arguments.keep_alive));
            }
        }
    })
}
