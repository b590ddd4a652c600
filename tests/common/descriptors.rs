//! Open descriptors and connections, of this process and of others.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::wait_until;

/// Open descriptors with the targets of their links in proc(5), such as `socket:[4711]`.
pub type Descriptors = BTreeMap<RawFd, String>;

/// Returns the open descriptors of a process.
pub fn descriptors_of(process: u32) -> Descriptors {
    let links = fs::read_dir(format!("/proc/{process}/fd")).expect("a child process");
    let descriptor = |link: fs::DirEntry| {
        let number = link.file_name().to_str()?.parse().ok()?;
        // A descriptor that was closed meanwhile has no link any more.
        let target = fs::read_link(link.path()).ok()?;
        Some((number, target.to_string_lossy().into_owned()))
    };
    links.filter_map(|link| descriptor(link.ok()?)).collect()
}

/// Counts the sockets of this process that are bound to an IPv4 address: the listener of a server,
/// and the server's end of its connections.
pub fn sockets_bound_to(address: SocketAddr) -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("a process has descriptors");
    let number = |link: fs::DirEntry| link.file_name().to_str()?.parse().ok();
    let is_bound = |&descriptor: &RawFd| local_address(descriptor) == Some(address);
    links.filter_map(|link| number(link.ok()?)).filter(is_bound).count()
}

fn local_address(descriptor: RawFd) -> Option<SocketAddr> {
    // SAFETY: all-zero bytes are a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: both pointers are valid during the call, and the length is the size of the buffer. If
    // the owner closes the descriptor meanwhile, the call fails.
    let result =
        unsafe { libc::getsockname(descriptor, (&raw mut address).cast(), &raw mut length) };
    let is_ipv4 = result == 0 && i32::from(address.sin_family) == libc::AF_INET;
    let ip = Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes());
    is_ipv4.then(|| (ip, u16::from_be(address.sin_port)).into())
}

/// Raises the soft limit of descriptors to `needed` if it is lower.
pub fn raise_descriptor_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap_or_else(|error| {
        panic!("these tests need {needed} descriptors, the limit is {limit:?}: {error}")
    });
}

/// Returns a loopback address with port 0 that no other server of this process has. A port is
/// reused as soon as it is free, so on one address for all, the connections of the next server
/// would count as connections that the last one left open.
pub fn unique_loopback_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    SocketAddr::from(([127, 1, high, low], 0))
}

/// Counts the connections to `address` that the server has not closed. A closed one may still have
/// data in flight, but no longer an inode (proc(5), net/tcp).
pub fn open_connections(address: SocketAddr) -> usize {
    const LISTEN: &str = "0A";
    count_sockets(address, |state, inode| state != LISTEN && inode != "0")
}

/// Counts the connections to `address` that no reset has ended yet, accepted or not. A peer's RST
/// may be handled after its close(2) has returned.
pub fn established_connections(address: SocketAddr) -> usize {
    const ESTABLISHED: &str = "01";
    count_sockets(address, |state, _| state == ESTABLISHED)
}

fn count_sockets(address: SocketAddr, is_counted: impl Fn(&str, &str) -> bool) -> usize {
    let SocketAddr::V4(address) = address else { panic!("net/tcp lists IPv4 only") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("/proc is mounted");
    let peer = |line: &str| {
        let (_, fields) = line.split_once(": ")?;
        let mut fields = fields.strip_prefix(&local)?.split_whitespace();
        let (peer, state, inode) = (fields.next()?, fields.next()?, fields.nth(5)?);
        is_counted(state, inode).then(|| peer.to_owned())
    };
    // The table is not a snapshot: a line can occur twice while other sockets change.
    table.lines().filter_map(peer).collect::<HashSet<_>>().len()
}

/// Waits until `count` connections are open.
pub fn wait_for_open_connections(address: SocketAddr, count: usize) {
    wait_until(&format!("{count} connections are open"), || open_connections(address) == count);
}
