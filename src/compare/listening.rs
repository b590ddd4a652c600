//! Listeners as the kernel lists them: whether there is one, and what its queue has lost.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};

use crate::report::result::ListenerState;

/// Whether anybody listens on this port in the network namespace of this process.
pub fn listens(process: u32, port: u16) -> bool {
    ["tcp", "tcp6"].into_iter().any(|protocol| {
        File::open(format!("/proc/{process}/net/{protocol}"))
            .is_ok_and(|table| has_listener(BufReader::new(table), port))
    })
}

/// Reads a table as in proc_net_tcp(5): the second column is the local address, port last, and
/// the fourth the state, 0A being LISTEN. The kernel lists those who listen first, and behind them
/// every connection that was ended within the last minute: tens of thousands, which nobody has to
/// wait for.
fn has_listener(table: impl BufRead, port: u16) -> bool {
    let lines = table.lines().skip(1).map_while(Result::ok);
    lines.map_while(|line| listening_port(&line)).any(|listening| listening == port)
}

/// The port of a line; `None` behind the last of those who listen.
fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    let is_listening = columns.nth(1)? == "0A";
    is_listening.then(|| u16::from_str_radix(port, 16).ok())?
}

impl ListenerState {
    /// What the queues of all listeners have lost so far, in the namespace of this process.
    pub fn of(process: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{process}/net/netstat")).unwrap_or_default();
        Self {
            overflows: extended(&text, "ListenOverflows"),
            drops: extended(&text, "ListenDrops"),
        }
    }

    /// Takes in what was lost at another time.
    pub fn add(&mut self, other: Self) {
        self.overflows += other.overflows;
        self.drops += other.drops;
    }

    /// What they have lost since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            overflows: self.overflows.saturating_sub(earlier.overflows),
            drops: self.drops.saturating_sub(earlier.drops),
        }
    }
}

/// A value of the table whose two lines begin with `TcpExt:`, names above values.
fn extended(text: &str, name: &str) -> u64 {
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
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_listener_is_seen_and_a_connection_is_none() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let process = std::process::id();
        assert!(listens(process, address.port()));
        let client = TcpStream::connect(address).unwrap();
        assert!(!listens(process, client.local_addr().unwrap().port()));
        drop(listener);
        assert!(!listens(process, address.port()));
    }

    #[test]
    fn values_stand_below_their_names() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: a\n";
        assert_eq!(extended(text, "ListenOverflows"), 22);
        assert_eq!(extended(text, "ListenDrops"), 333);
        assert_eq!(extended(text, "Other"), 0);
    }
}
