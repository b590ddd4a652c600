//! What is open, in this process and in others.

use std::collections::BTreeMap;
use std::fs;
use std::mem::size_of;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::wait_until;

/// Descriptors and what each of them is, such as `socket:[4711]`.
pub(crate) type Descriptors = BTreeMap<RawFd, String>;

/// All that the process of that id has open.
pub(crate) fn descriptors_of(process: u32) -> Descriptors {
    let links = fs::read_dir(format!("/proc/{process}/fd")).expect("a process of ours");
    let descriptor = |link: fs::DirEntry| {
        let number = link.file_name().to_str()?.parse().ok()?;
        // What was closed meanwhile is not open.
        let what = fs::read_link(link.path()).ok()?;
        Some((number, what.to_string_lossy().into_owned()))
    };
    links.filter_map(|link| descriptor(link.ok()?)).collect()
}

/// How many sockets of this process are bound to that IPv4 port: a server's listener, and the
/// connections at their server's end. Whatever other tests have open meanwhile does not count.
pub(crate) fn sockets_on_port(port: u16) -> usize {
    let links = fs::read_dir("/proc/self/fd").expect("a process has descriptors");
    let number = |link: fs::DirEntry| link.file_name().to_str()?.parse().ok();
    links.filter_map(|link| number(link.ok()?)).filter(|&it| local_port(it) == Some(port)).count()
}

fn local_port(descriptor: RawFd) -> Option<u16> {
    // SAFETY: all-zero bytes are a valid sockaddr_in.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: both pointers live through the call, and the length says how much room there is. The
    // descriptor is only asked: where its owner closes it meanwhile, the call fails.
    let result =
        unsafe { libc::getsockname(descriptor, (&raw mut address).cast(), &raw mut length) };
    let is_ipv4 = result == 0 && i32::from(address.sin_family) == libc::AF_INET;
    is_ipv4.then(|| u16::from_be(address.sin_port))
}

/// Raises the soft limit of descriptors to what a test needs.
pub(crate) fn raise_descriptor_limit(needed: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).unwrap_or_else(|error| {
        panic!("these tests need {needed} descriptors, the limit is {limit:?}: {error}")
    });
}

/// How many connections to that address the server's process holds a descriptor of. One that it
/// has closed may still have bytes on their way, but no inode any more (proc(5), net/tcp).
pub(crate) fn connections_held(address: SocketAddr) -> usize {
    const LISTEN: &str = "0A";
    let SocketAddr::V4(address) = address else { panic!("an address of net/tcp") };
    let ip = u32::from_ne_bytes(address.ip().octets());
    let local = format!("{ip:08X}:{:04X}", address.port());
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("net/tcp");
    let is_held = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1] == local && fields[3] != LISTEN && fields[9] != "0"
    };
    table.lines().skip(1).filter(is_held).count()
}

/// Waits until it is so many. The table is the whole machine's, so it is not read all the time.
pub(crate) fn wait_until_held(address: SocketAddr, count: usize) {
    wait_until(&format!("{count} connections are held"), || {
        let is_so = connections_held(address) == count;
        if !is_so {
            thread::sleep(Duration::from_millis(20));
        }
        is_so
    });
}
