//! tokio, one thread.

use ringpoll_yardsticks::{Options, is_whole};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve(mut stream: TcpStream, options: Options) {
    let mut buffer = [0u8; 1024];
    let mut length = 0;
    while let Ok(count @ 1..) = stream.read(&mut buffer[length..]).await {
        length += count;
        if is_whole(&buffer[..length]) {
            if stream.write_all(options.answer()).await.is_err() || !options.keep_alive {
                break;
            }
            length = 0;
        }
    }
    if options.shutdown {
        let _ = stream.shutdown().await;
    }
}

fn main() {
    let options = Options::read();
    let listener = options.listen();
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async move {
        let listener = TcpListener::from_std(listener).unwrap();
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::task::spawn_local(serve(stream, options));
            }
        }
    });
}
