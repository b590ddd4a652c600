//! Connections that persist, each with one request under way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Persistent {
    streams: Vec<TcpStream>,
    /// What the first of them was answered. All other answers must be the same.
    answer: Vec<u8>,
}

impl Persistent {
    pub(super) fn connect(address: SocketAddr, at_once: usize) -> Result<Self, String> {
        let connect = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let streams: Result<Vec<_>, _> = (0..at_once).map(|_| connect()).collect();
        let mut streams = streams.map_err(|error| format!("connect: {error}"))?;
        let answer = first_answer(&mut streams[0]).map_err(|error| format!("answer: {error}"))?;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(format!("answer: {}", String::from_utf8_lossy(&answer)));
        }
        Ok(Self { streams, answer })
    }

    /// At least so many requests: as many at once as there are connections, and the next ones when
    /// all of them are answered.
    pub(super) fn ask(&mut self, requests: u64) -> Result<(), String> {
        let rounds = requests / self.streams.len() as u64;
        // Meanwhile the server must not take the only processor, or how many requests it meets at
        // once would be up to the scheduler, and so to the kernel's version.
        let asked = thread::scope(|scope| {
            let client = scope.spawn(|| {
                come_first();
                (0..rounds).try_for_each(|_| self.ask_once())
            });
            client.join().expect("it does not panic")
        });
        asked.map_err(|error| format!("keep-alive: {error}"))
    }

    fn ask_once(&mut self) -> std::io::Result<()> {
        for stream in &mut self.streams {
            stream.write_all(REQUEST)?;
        }
        let mut answer = vec![0; self.answer.len()];
        for stream in &mut self.streams {
            stream.read_exact(&mut answer)?;
            if answer != self.answer {
                return Err(std::io::Error::other("an answer is not like the first"));
            }
        }
        Ok(())
    }
}

/// One request, and all that comes until the body is as long as its head says.
fn first_answer(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    stream.write_all(REQUEST)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Err(std::io::Error::other("the server has closed"));
        }
        answer.extend_from_slice(&piece[..count]);
        if whole_length(&answer).is_some_and(|length| answer.len() >= length) {
            return Ok(answer);
        }
    }
}

/// How long an answer is whose head has come.
fn whole_length(answer: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(answer);
    let (head, _) = text.split_once("\r\n\r\n")?;
    let length = head.to_ascii_lowercase();
    let length = length.split_once("content-length:")?.1.lines().next()?.trim().parse::<usize>();
    Some(head.len() + 4 + length.ok()?)
}

/// This thread runs before all others that are not of its kind (SCHED_FIFO in sched(7)).
fn come_first() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: the parameter lives through the call, which only reads it; 0 is this thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
    assert_eq!(result, 0, "root may: {}", std::io::Error::last_os_error());
}
