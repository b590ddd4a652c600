//! A network of one's own: ports, TIME_WAIT and the settings of the kernel's TCP are then nobody
//! else's, and nobody else's traffic is measured.
//!
//! The namespace is entered by the calling thread, in place, before anything is started: client
//! threads and servers that it starts from then on are in it, without another program such as
//! unshare(1) or ip(8), and without running this one a second time.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

use crate::report::result::Isolation;

/// Settings that belong to a network namespace and matter here. A new one starts with the
/// kernel's defaults, so those of this machine are carried over.
pub const CARRIED_OVER: &[&str] = &[
    "net.core.somaxconn",
    "net.ipv4.tcp_abort_on_overflow",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_defer_accept",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_no_metrics_save",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_wmem",
];

/// Only in a namespace of our own: all the ports there are, for clients that use one a request.
const PORT_RANGE: (&str, &str) = ("net.ipv4.ip_local_port_range", "1024 65535");

/// Enters a network namespace of its own, with its loopback up, if that is allowed.
pub fn isolate(wanted: bool) -> Isolation {
    if !wanted {
        let reason = "as asked for by --no-namespace".to_owned();
        return Isolation { network_namespace: false, reason };
    }
    match enter() {
        Ok(how) => Isolation { network_namespace: true, reason: how.to_owned() },
        Err(error) => {
            let reason = format!(
                "no network namespace could be made ({error}), so other traffic of this machine \
                 is in the figures; run it as root, or allow user namespaces"
            );
            Isolation { network_namespace: false, reason }
        }
    }
}

fn enter() -> io::Result<&'static str> {
    let before = CARRIED_OVER.iter().filter_map(|&name| Some((name, sysctl(name)?)));
    let before: Vec<(&str, String)> = before.collect();
    let how = match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => "a network namespace of its own",
        Err(_) => {
            enter_user_namespace()?;
            "a network namespace of its own, inside a user namespace"
        }
    };
    bring_loopback_up()?;
    for (name, value) in before {
        if sysctl(name).is_some_and(|now| now != value) {
            // What cannot be set is seen in the environment, which is read in here.
            let _ = fs::write(sysctl_path(name), value);
        }
    }
    let _ = fs::write(sysctl_path(PORT_RANGE.0), PORT_RANGE.1);
    Ok(how)
}

/// A user namespace in which this user stays who it is, and has the capabilities for the network
/// until it starts another program.
fn enter_user_namespace() -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // Without setgroups, an unprivileged process may map its own group (user_namespaces(7)).
    fs::write("/proc/thread-self/setgroups", "deny")?;
    fs::write("/proc/thread-self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/thread-self/gid_map", format!("{group} {group} 1"))
}

/// Asks the kernel by rtnetlink(7) to bring up interface 1, which the loopback always is.
fn bring_loopback_up() -> io::Result<()> {
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
    const LOOPBACK: i32 = 1;
    const UP: u32 = 0x1;
    let mut message = Vec::with_capacity(32);
    // struct nlmsghdr
    message.extend_from_slice(&32_u32.to_ne_bytes());
    message.extend_from_slice(&NEW_LINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend_from_slice(&1_u32.to_ne_bytes()); // sequence number
    message.extend_from_slice(&0_u32.to_ne_bytes()); // the kernel fills in who sends
    // struct ifinfomsg
    message.extend_from_slice(&[0; 4]); // any family, any type
    message.extend_from_slice(&LOOPBACK.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes()); // which flags are to change
    let kernel = SocketAddrNetlink::new(0, 0);
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&socket, &message, SendFlags::empty(), &kernel)?;
    let mut answer = [0_u8; 1024];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    match acknowledgement(&answer[..length]) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno).into()),
        None => Err(io::Error::other("the kernel's answer about the loopback is not understood")),
    }
}

/// The error code of an NLMSG_ERROR, which is 0 in an acknowledgement.
fn acknowledgement(answer: &[u8]) -> Option<i32> {
    const ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == ERROR).then_some(code)
}

/// A setting of the kernel as the calling thread's namespace has it.
pub fn sysctl(name: &str) -> Option<String> {
    let value = fs::read_to_string(sysctl_path(name)).ok()?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// As root a thread can do it; other users need a process with one thread, which tests have
    /// not.
    #[test]
    fn a_namespace_has_a_loopback_and_the_settings_of_the_machine() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let somaxconn = sysctl("net.core.somaxconn");
        std::thread::spawn(move || {
            let isolation = isolate(true);
            if !isolation.network_namespace {
                assert!(isolation.reason.contains("run it as root"), "{isolation:?}");
                return;
            }
            // The same port is free in here, and somebody who connects finds only us.
            let inside = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            inside.accept().unwrap();
            assert_eq!(sysctl("net.core.somaxconn"), somaxconn);
            assert_eq!(sysctl(PORT_RANGE.0).as_deref(), Some(PORT_RANGE.1));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn it_can_be_refused() {
        assert!(!isolate(false).network_namespace);
    }

    #[test]
    fn an_error_of_the_kernel_is_told_from_an_acknowledgement() {
        let mut answer = [0_u8; 20];
        answer[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(acknowledgement(&answer), Some(0));
        answer[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(acknowledgement(&answer), Some(-1));
        assert_eq!(acknowledgement(&answer[..8]), None);
    }
}
