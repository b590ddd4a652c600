//! A key-value server in memory for redis-cli and redis-benchmark, on any engine:
//! `cargo run --example resp -- 127.0.0.1:6379 io_uring:tuned`
//!
//! It speaks RESP2 and inline commands. Its memory is bounded: the values by `MAX_STORE_BYTES`, a
//! connection by one command and by the output after which its next commands wait.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;

use ringpoll_backends::{Awaits, Backend, Closing, EngineOptions, ListenOptions, Listener, Next};
use ringpoll_backends::{Output, Protocol, Stop, Variant, WorkerOptions, open};

const MAX_LINE_BYTES: usize = 4 * 1024;
const MAX_ARGUMENTS: usize = 256;
const MAX_COMMAND_BYTES: usize = 4 * 1024 * 1024;
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
const MAX_STORE_BYTES: usize = 256 * 1024 * 1024;
/// Memory of an entry besides its bytes, approximately.
const ENTRY_BYTES: usize = 128;
/// Longer values are sent from the store, each by a send of its own.
const MAX_COPIED_BYTES: usize = 16 * 1024;

/// The values, which all connections share.
#[derive(Default)]
pub(crate) struct Store {
    values: HashMap<Box<[u8]>, Arc<[u8]>>,
    bytes: usize,
}

impl Store {
    /// Runs a command and appends its response. Returns the error to respond with otherwise.
    fn run(&mut self, arguments: &[&[u8]], output: &mut Output) -> Result<(), String> {
        let name = arguments[0].to_ascii_lowercase();
        match (name.as_slice(), &arguments[1..]) {
            (b"ping", []) => output.push_copy(b"+PONG\r\n"),
            (b"ping" | b"echo", [text]) => push_bulk(&Arc::from(*text), output),
            (b"get", [key]) => match self.values.get(*key) {
                Some(value) => push_bulk(value, output),
                None => output.push_copy(b"$-1\r\n"),
            },
            (b"set", [key, value]) => {
                self.set(key, value)?;
                output.push_copy(b"+OK\r\n");
            }
            (b"incr", [key]) => push_integer(self.increment(key)?, output),
            (b"del", keys @ [_, ..]) => {
                push_integer(keys.iter().map(|key| self.remove(key)).sum(), output);
            }
            (b"ping" | b"echo" | b"get" | b"set" | b"incr" | b"del", _) => {
                let name = String::from_utf8_lossy(&name);
                return Err(format!("ERR wrong number of arguments for '{name}' command"));
            }
            _ => {
                let name = name[..name.len().min(128)].escape_ascii();
                return Err(format!("ERR unknown command '{name}'"));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
        let entry_bytes = |value: &[u8]| key.len() + value.len() + ENTRY_BYTES;
        let old = self.values.get_mut(key);
        let old_bytes = old.as_ref().map_or(0, |old| entry_bytes(old));
        let bytes = self.bytes - old_bytes + entry_bytes(value);
        if bytes > MAX_STORE_BYTES {
            return Err("OOM command not allowed when used memory > 'maxmemory'.");
        }
        self.bytes = bytes;
        match old {
            Some(old) => *old = value.into(),
            None => drop(self.values.insert(key.into(), value.into())),
        }
        Ok(())
    }

    fn increment(&mut self, key: &[u8]) -> Result<i64, &'static str> {
        let number = self.values.get(key).map_or(Some(0), |value| integer(value));
        let number = number.ok_or("ERR value is not an integer or out of range")?;
        let number = number.checked_add(1).ok_or("ERR increment or decrement would overflow")?;
        self.set(key, number.to_string().as_bytes())?;
        Ok(number)
    }

    /// Returns the number of removed values.
    fn remove(&mut self, key: &[u8]) -> i64 {
        let Some(value) = self.values.remove(key) else { return 0 };
        self.bytes -= key.len() + value.len() + ENTRY_BYTES;
        1
    }

    /// Runs the commands that have arrived. After much output the others wait until it is sent, so
    /// that a peer that does not read holds little of the store.
    fn run_all(&mut self, client: &mut Client, output: &mut Output) -> Next {
        let (mut used, mut arguments) = (0, Vec::new());
        let next = loop {
            if output.len() >= MAX_OUTPUT_BYTES {
                break Next::Send;
            }
            arguments.clear();
            match parse(&client.input[used..], &mut arguments) {
                Ok(Some(length)) => used += length,
                Ok(None) => break if client.has_ended { Next::Shutdown } else { Next::Recv },
                Err(problem) => {
                    output.count_refused();
                    let _ = write!(output, "-ERR Protocol error: {problem}\r\n");
                    break Next::Shutdown;
                }
            }
            if !arguments.is_empty() {
                output.count_request();
                if let Err(problem) = self.run(&arguments, output) {
                    let _ = write!(output, "-{problem}\r\n");
                }
                output.end_message();
            }
        };
        client.input.drain(..used);
        if client.input.is_empty() {
            client.input.shrink_to(MAX_COPIED_BYTES);
        }
        next
    }
}

fn push_integer(integer: i64, output: &mut Output) {
    let _ = write!(output, ":{integer}\r\n");
}

fn push_bulk(bytes: &Arc<[u8]>, output: &mut Output) {
    let _ = write!(output, "${}\r\n", bytes.len());
    if bytes.len() <= MAX_COPIED_BYTES {
        output.push_copy(bytes);
    } else {
        output.push_shared(bytes, 0..bytes.len());
    }
    output.push_copy(b"\r\n");
}

/// Parses an integer in its one form: no plus sign, no leading zeros.
fn integer(text: &[u8]) -> Option<i64> {
    let is_other_form = matches!(text, [b'+', ..] | [b'0', _, ..] | [b'-', b'0', ..]);
    if is_other_form { None } else { std::str::from_utf8(text).ok()?.parse().ok() }
}

/// Appends the arguments of the first command. Returns its length, or `None` if it is incomplete:
/// it is then parsed again with more bytes, which costs little since its arguments are limited.
fn parse<'input>(
    input: &'input [u8],
    arguments: &mut Vec<&'input [u8]>,
) -> Result<Option<usize>, &'static str> {
    let mut rest = input;
    let Some(line) = take_line(&mut rest)? else { return Ok(None) };
    let Some(count) = line.strip_prefix(b"*") else {
        let words = line.split(u8::is_ascii_whitespace);
        arguments.extend(words.filter(|word| !word.is_empty()));
        return Ok(Some(input.len() - rest.len()));
    };
    let count = integer(count).filter(|&count| count <= MAX_ARGUMENTS as i64);
    for _ in 0..count.ok_or("invalid multibulk length")? {
        let Some(line) = take_line(&mut rest)? else { return Ok(None) };
        let length = integer(line.strip_prefix(b"$").ok_or("expected '$'")?);
        let length = length.and_then(|length| usize::try_from(length).ok());
        let max_bytes = MAX_COMMAND_BYTES.saturating_sub(input.len() - rest.len());
        let length = length.filter(|&it| it <= max_bytes).ok_or("invalid bulk length")?;
        match rest.get(length..length + 2) {
            None => return Ok(None),
            Some(b"\r\n") => arguments.push(&rest[..length]),
            Some(_) => return Err("expected CRLF after a bulk string"),
        }
        rest = &rest[length + 2..];
    }
    Ok(Some(input.len() - rest.len()))
}

/// Takes the first line from `rest` and returns it without its end; `None` if it is incomplete.
fn take_line<'input>(rest: &mut &'input [u8]) -> Result<Option<&'input [u8]>, &'static str> {
    let Some(end) = rest.iter().take(MAX_LINE_BYTES).position(|&byte| byte == b'\n') else {
        return if rest.len() < MAX_LINE_BYTES { Ok(None) } else { Err("too long line") };
    };
    let line = &rest[..end];
    *rest = &rest[end + 1..];
    Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
}

/// One connection.
#[derive(Default)]
pub(crate) struct Client {
    /// The commands that wait, the last of which may be incomplete.
    input: Vec<u8>,
    has_ended: bool,
}

impl Protocol for Store {
    type Connection = Client;

    fn on_open(&mut self, _output: &mut Output) -> Client {
        Client::default()
    }

    fn on_recv(&mut self, client: &mut Client, bytes: &[u8], output: &mut Output) -> Next {
        client.input.extend_from_slice(bytes);
        self.run_all(client, output)
    }

    fn on_sent(&mut self, client: &mut Client, output: &mut Output) -> Next {
        self.run_all(client, output)
    }

    fn on_end_of_stream(&mut self, client: &mut Client, output: &mut Output) -> Next {
        client.has_ended = true;
        self.run_all(client, output)
    }

    fn awaits(&self, client: &Client) -> Awaits {
        if client.input.is_empty() { Awaits::NextMessage } else { Awaits::Body }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:6379".to_owned());
    let variant: Variant = std::env::args().nth(2).as_deref().unwrap_or("epoll").parse()?;
    // Nagle's algorithm would delay the last send of a large value.
    let options = ListenOptions { no_delay: true, ..ListenOptions::new(address.parse()?) };
    let listener = Listener::bind(&options)?;
    println!("{} on {variant}", listener.local_address()?);
    let mut worker = WorkerOptions::new(listener, Stop::new()?);
    // A reset could destroy the response to what it refuses.
    worker.closing = Closing::Lingering { bytes: 64 * 1024 };
    worker.limits.receive_buffer_bytes = worker.limits.read_budget_bytes;
    open(variant, &EngineOptions::default())?.run(worker, Store::default())?;
    Ok(())
}
