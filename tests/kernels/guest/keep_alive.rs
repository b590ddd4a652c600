//! Keep-alive connections, each with one request in flight.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const IO_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct KeepAliveConnections {
    streams: Vec<TcpStream>,
    /// The first response. All others must be equal.
    response: Vec<u8>,
}

impl KeepAliveConnections {
    pub(super) fn connect(address: SocketAddr, at_once: usize) -> Result<Self, String> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, IO_TIMEOUT)?;
            stream.set_read_timeout(Some(IO_TIMEOUT))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let streams: Result<Vec<_>, _> = (0..at_once).map(|_| connect()).collect();
        let mut streams = streams.map_err(|error| format!("connect: {error}"))?;
        let response = first_response(&mut streams[0]);
        let response = response.map_err(|error| format!("response: {error}"))?;
        if !response.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("response: {}", String::from_utf8_lossy(&response)));
        }
        Ok(Self { streams, response })
    }

    /// Sends `requests` requests in rounds: one on each connection, and the next round when all
    /// responses have arrived.
    pub(super) fn send_requests(&mut self, requests: u64) -> Result<(), String> {
        let rounds = requests / self.streams.len() as u64;
        // The server must not preempt this thread on the only CPU: the number of requests that it
        // finds at once would depend on the scheduler, and so on the kernel version.
        let result = thread::scope(|scope| {
            let client = scope.spawn(|| {
                use_real_time_priority();
                (0..rounds).try_for_each(|_| self.send_round())
            });
            client.join().expect("it does not panic")
        });
        result.map_err(|error| format!("keep-alive: {error}"))
    }

    fn send_round(&mut self) -> std::io::Result<()> {
        for stream in &mut self.streams {
            stream.write_all(REQUEST)?;
        }
        let mut response = vec![0; self.response.len()];
        for stream in &mut self.streams {
            stream.read_exact(&mut response)?;
            if response != self.response {
                return Err(std::io::Error::other("a response differs from the first"));
            }
        }
        Ok(())
    }
}

/// Sends one request and receives the response, whose length is in its head.
fn first_response(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_all(REQUEST)?;
    let (mut response, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(std::io::Error::other("the server closed the connection"));
        }
        response.extend_from_slice(&buffer[..count]);
        if response_length(&response).is_some_and(|length| response.len() >= length) {
            return Ok(response);
        }
    }
}

/// Returns the length of a response whose head has arrived.
fn response_length(response: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(response);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.to_ascii_lowercase();
    let length = length.split_once("content-length:")?.1.lines().next()?.trim().parse::<usize>();
    Some(head.len() + 4 + length.ok()?)
}

/// Gives this thread priority over all ordinary threads (SCHED_FIFO in sched(7)).
fn use_real_time_priority() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter is valid during the call, which only reads it; 0 is this thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    assert_eq!(result, 0, "sched_setscheduler: {}", std::io::Error::last_os_error());
}
