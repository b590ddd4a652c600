//! monoio, on io_uring, one thread.

use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use ringpoll_yardsticks::{Options, is_whole};

async fn serve(mut stream: TcpStream, options: Options) {
    let mut buffer = vec![0u8; 1024];
    loop {
        let (result, back) = stream.read(buffer).await;
        buffer = back;
        let Ok(count @ 1..) = result else { break };
        if is_whole(&buffer[..count]) {
            let (written, _) = stream.write_all(options.answer()).await;
            if written.is_err() || !options.keep_alive {
                break;
            }
        }
    }
    if options.shutdown {
        let _ = stream.shutdown().await;
    }
}

fn main() {
    let options = Options::read();
    let mut runtime =
        monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(256).build().unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::from_std(options.listen()).unwrap();
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                monoio::spawn(serve(stream, options));
            }
        }
    });
}
