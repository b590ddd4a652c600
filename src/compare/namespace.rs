//! A network namespace for the comparison, so that ports, TIME_WAIT sockets and TCP sysctls are not
//! shared with other programs, and their traffic is not measured.
//!
//! The calling thread enters the namespace with unshare(2) before it starts any client thread or
//! server; they inherit it. Neither unshare(1), ip(8) nor a second process is needed.

use std::fs;
use std::io;

use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

use crate::result::Isolation;

/// Sysctls of a network namespace that affect the results. A new namespace has the kernel's
/// defaults, so the values of this machine are copied into it.
pub const COPIED_SYSCTLS: &str = "\
    net.core.somaxconn net.ipv4.tcp_abort_on_overflow net.ipv4.tcp_congestion_control \
    net.ipv4.tcp_defer_accept net.ipv4.tcp_fastopen net.ipv4.tcp_fin_timeout \
    net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_max_tw_buckets net.ipv4.tcp_no_metrics_save \
    net.ipv4.tcp_rmem net.ipv4.tcp_sack net.ipv4.tcp_syncookies net.ipv4.tcp_timestamps \
    net.ipv4.tcp_tw_reuse net.ipv4.tcp_window_scaling net.ipv4.tcp_wmem";

/// Set in a new namespace only: clients may use one port per request.
const PORT_RANGE: (&str, &str) = ("net.ipv4.ip_local_port_range", "1024 65535");

/// Enters a new network namespace and brings its loopback interface up, if that is permitted.
pub fn isolate(wanted: bool) -> Isolation {
    if !wanted {
        let reason = "disabled by --no-namespace".to_owned();
        return Isolation { network_namespace: false, reason };
    }
    match enter() {
        Ok(description) => Isolation { network_namespace: true, reason: description.to_owned() },
        Err(error) => {
            let reason = format!(
                "no network namespace could be created ({error}), so other traffic of this \
                 machine affects the results. Run it as root, or permit user namespaces"
            );
            Isolation { network_namespace: false, reason }
        }
    }
}

fn enter() -> io::Result<&'static str> {
    let before = COPIED_SYSCTLS.split_whitespace().filter_map(|name| Some((name, sysctl(name)?)));
    let before: Vec<(&str, String)> = before.collect();
    let description = match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => "a new network namespace",
        Err(_) => {
            enter_user_namespace()?;
            "a new network namespace, inside a user namespace"
        }
    };
    bring_loopback_up()?;
    for (name, value) in before {
        if sysctl(name).is_some_and(|now| now != value) {
            // A failure shows in the environment, which is read inside the namespace.
            let _ = fs::write(sysctl_path(name), value);
        }
    }
    let _ = fs::write(sysctl_path(PORT_RANGE.0), PORT_RANGE.1);
    Ok(description)
}

/// Enters a user namespace that maps this user to itself. The thread has CAP_NET_ADMIN in it until
/// execve(2).
fn enter_user_namespace() -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    // An unprivileged process must deny setgroups(2) to map its group (user_namespaces(7)).
    fs::write("/proc/thread-self/setgroups", "deny")?;
    fs::write("/proc/thread-self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/thread-self/gid_map", format!("{group} {group} 1"))
}

/// Brings up interface 1, which is always the loopback, by rtnetlink(7).
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
    message.extend_from_slice(&0_u32.to_ne_bytes()); // port ID, filled in by the kernel
    // struct ifinfomsg
    message.extend_from_slice(&[0; 4]); // any family, any type
    message.extend_from_slice(&LOOPBACK.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes());
    message.extend_from_slice(&UP.to_ne_bytes()); // mask of the flags to change
    let kernel = SocketAddrNetlink::new(0, 0);
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    sendto(&socket, &message, SendFlags::empty(), &kernel)?;
    let mut response = [0_u8; 1024];
    let (length, _) = recv(&socket, &mut response[..], RecvFlags::empty())?;
    match error_code(&response[..length]) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno).into()),
        None => Err(io::Error::other("unexpected rtnetlink response")),
    }
}

/// Returns the error code of an NLMSG_ERROR message: 0 is an acknowledgement.
fn error_code(response: &[u8]) -> Option<i32> {
    const ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(response.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(response.get(16..20)?.try_into().ok()?);
    (kind == ERROR).then_some(code)
}

/// Reads a sysctl in the namespaces of the calling thread.
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

    /// Runs as root only: unshare(2) of a user namespace needs a process with a single thread.
    #[test]
    fn namespace_has_a_loopback_and_copied_sysctls() {
        let outside = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = outside.local_addr().unwrap().port();
        let somaxconn = sysctl("net.core.somaxconn");
        std::thread::spawn(move || {
            let isolation = isolate(true);
            if !isolation.network_namespace {
                assert!(isolation.reason.contains("run it as root"), "{isolation:?}");
                return;
            }
            // The port is free inside, and a client reaches only the listener inside.
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
    fn isolation_can_be_disabled() {
        assert!(!isolate(false).network_namespace);
    }

    #[test]
    fn netlink_errors_and_acknowledgements_are_distinguished() {
        let mut response = [0_u8; 20];
        response[4..6].copy_from_slice(&2_u16.to_ne_bytes());
        assert_eq!(error_code(&response), Some(0));
        response[16..20].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(error_code(&response), Some(-1));
        assert_eq!(error_code(&response[..8]), None);
    }
}
