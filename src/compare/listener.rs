//! Listening sockets and their accept queues, as /proc shows them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use crate::result::ListenerState;

/// The address families of the sockets that listen on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// An IPv4 socket listens.
    pub ipv4: bool,
    /// An IPv6 socket listens. It can also have IPv4 connections.
    pub ipv6: bool,
}

/// Returns the families of the sockets that listen on this port in the network namespace of a
/// process.
pub fn families(process: u32, port: u16) -> Families {
    let listens = |protocol| table(process, protocol).is_some_and(|it| has_listener(it, port));
    Families { ipv4: listens("tcp"), ipv6: listens("tcp6") }
}

/// Returns whether the server's end of a connection to this port has bytes that it has not
/// received, in the network namespace of a process.
pub fn has_unread_bytes(process: u32, port: u16) -> bool {
    let is_unread = |line: String| unread_bytes(&line, port).is_some_and(|bytes| bytes > 0);
    let mut tables = ["tcp", "tcp6"].into_iter().filter_map(|it| table(process, it));
    tables.any(|table| table.lines().map_while(Result::ok).any(is_unread))
}

fn table(process: u32, protocol: &str) -> Option<BufReader<File>> {
    File::open(format!("/proc/{process}/net/{protocol}")).ok().map(BufReader::new)
}

/// Returns the receive queue of a connection with this local port: the second number of the fifth
/// column. That of a listening socket is its accept queue.
fn unread_bytes(line: &str, port: u16) -> Option<u64> {
    let columns: Vec<&str> = line.split_whitespace().take(5).collect();
    let &[_, local, _, state, queues] = &columns[..] else { return None };
    let local = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    let bytes = u64::from_str_radix(queues.rsplit_once(':')?.1, 16).ok()?;
    (local == port && state != "0A").then_some(bytes)
}

/// Searches a table in the format of proc_net_tcp(5): the second column is the local address and
/// port, the fourth is the state, where 0A is LISTEN. The kernel lists listening sockets first, so
/// the search stops before connections in TIME_WAIT, of which there can be tens of thousands.
fn has_listener(table: impl BufRead, port: u16) -> bool {
    let lines = table.lines().skip(1).map_while(Result::ok);
    lines.map_while(|line| listening_port(&line)).any(|listening| listening == port)
}

/// Returns the port of a line, or `None` if the socket does not listen.
fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    let is_listening = columns.nth(1)? == "0A";
    is_listening.then(|| u16::from_str_radix(port, 16).ok())?
}

impl ListenerState {
    /// Reads the totals of all listeners in the network namespace of a process.
    pub fn read(process: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{process}/net/netstat")).unwrap_or_default();
        Self { overflows: tcp_ext(&text, "ListenOverflows"), drops: tcp_ext(&text, "ListenDrops") }
    }

    /// Adds the counts of another interval.
    pub fn add(&mut self, other: Self) {
        self.overflows += other.overflows;
        self.drops += other.drops;
    }

    /// Returns the increase since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            overflows: self.overflows.saturating_sub(earlier.overflows),
            drops: self.drops.saturating_sub(earlier.drops),
        }
    }
}

/// Returns a value of the `TcpExt:` lines: one line with names, the next one with values.
fn tcp_ext(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|&(it, _)| it == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn listener_is_found_and_connection_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let process = std::process::id();
        assert_eq!(families(process, address.port()), Families { ipv4: true, ipv6: false });
        let client = TcpStream::connect(address).unwrap();
        let client_port = client.local_addr().unwrap().port();
        assert_eq!(families(process, client_port), Families::default());
        drop(listener);
        assert_eq!(families(process, address.port()), Families::default());
    }

    #[test]
    fn bytes_are_unread_until_the_server_receives_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (process, port) = (std::process::id(), listener.local_addr().unwrap().port());
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(!has_unread_bytes(process, port), "a connection in the accept queue");
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"12").unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert!(has_unread_bytes(process, port));
        server.write_all(b"1").unwrap();
        client.peek(&mut [0]).unwrap();
        server.read_exact(&mut [0]).unwrap();
        assert!(!has_unread_bytes(process, port), "only the client has");
    }

    #[test]
    fn netstat_values_are_found_by_name() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: a\n";
        assert_eq!(tcp_ext(text, "ListenOverflows"), 22);
        assert_eq!(tcp_ext(text, "ListenDrops"), 333);
        assert_eq!(tcp_ext(text, "Other"), 0);
    }
}
