//! Ephemeral ports: they are free again at once; if none is free, other addresses are used.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ringpoll::load::{FailureKind, Outcome, Plan};
use ringpoll_backends::Variant;

use crate::peer::{Peer, outcome, plan, respond};
use common::namespace;
use common::{ServerThread, find_tool, unique_loopback_address};

/// Returns the number of client sockets connected to this address, in TIME_WAIT or another state.
pub(crate) fn sockets_to(address: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("procfs");
    let SocketAddr::V4(address) = address else { panic!("{address}: not IPv4") };
    // The kernel prints the address as a number in the byte order of the machine.
    let ip = u32::from_ne_bytes(address.ip().octets());
    let address = format!("{ip:08X}:{:04X}", address.port());
    let remote = |line: &str| line.split_whitespace().nth(2).map(str::to_owned);
    table.lines().filter_map(remote).filter(|remote| *remote == address).count()
}

#[test]
fn client_sockets_are_counted() {
    let listener = TcpListener::bind(unique_loopback_address()).expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    assert_eq!(sockets_to(address), 0);
    let _client = TcpStream::connect(address).expect("it listens");
    assert_eq!(sockets_to(address), 1);
}

#[test]
fn two_hundred_thousand_requests_do_not_exhaust_ports() {
    let served = ServerThread::start(Variant::EpollEdge, |_| {});
    let outcome = outcome(&Plan { connections: 64, ..plan(served.address, 200_000) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.source_addresses), (200_000, 1));
    assert_eq!(sockets_to(served.address), 0);
}

/// Allows 16 ports per address. `connect` tries every second port first.
fn allow_few_ports() {
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40015")
        .expect("root in the namespace");
}

#[test]
fn other_source_addresses_are_used_when_ports_are_exhausted() {
    const TEST: &str = "other_source_addresses_are_used_when_ports_are_exhausted";
    if !namespace::can_create(TEST) {
        return;
    }
    let load = || -> Outcome {
        let served = ServerThread::start(Variant::EpollLevel, |_| {});
        allow_few_ports();
        outcome(&Plan { connections: 64, idle: 100, ..plan(served.address, 5_000) })
    };
    let outcome = thread::scope(|scope| {
        namespace::spawn(scope, TEST.to_owned(), load).join().expect("the load ends")
    });
    assert!(outcome.is_clean(), "{:?}, {:?}", outcome.failures, outcome.idle);
    assert_eq!((outcome.completed, outcome.idle.opened), (5_000, 100));
    // 164 simultaneous connections, 16 per address.
    assert!(outcome.source_addresses >= 11, "{} addresses", outcome.source_addresses);
}

#[test]
fn exhausted_ports_of_the_only_address_are_counted_as_failures() {
    const TEST: &str = "exhausted_ports_of_the_only_address_are_counted_as_failures";
    if !namespace::can_create(TEST) {
        return;
    }
    let load = || -> Outcome {
        let listener = TcpListener::bind("[::1]:0").expect("a free port");
        let peer = Peer::on(listener, |_, stream| {
            // Slow enough for all 64 requests to be in flight.
            thread::sleep(std::time::Duration::from_millis(2));
            respond(stream);
        });
        allow_few_ports();
        outcome(&Plan { connections: 64, ..plan(peer.address, 200) })
    };
    let outcome = thread::scope(|scope| {
        namespace::spawn(scope, TEST.to_owned(), load).join().expect("the load ends")
    });
    let exhausted = outcome.failures.of(FailureKind::PortsExhausted);
    assert!(exhausted > 0);
    assert_eq!(outcome.failures.total(), exhausted, "{:?}", outcome.failures);
    assert_eq!(outcome.completed + exhausted, 200);
}

/// Server and load run in two network namespaces, joined by a veth pair.
#[test]
fn connections_to_another_machine_are_closed_without_time_wait() {
    const TEST: &str = "connections_to_another_machine_are_closed_without_time_wait";
    if !namespace::can_create(TEST) {
        return;
    }
    let (there, here) = ("10.203.0.1", "10.203.0.2");
    let (outcome, left) = thread::scope(|scope| {
        let (tell_thread, thread_of_peer) = std::sync::mpsc::channel();
        let (veth_ready, veth) = std::sync::mpsc::channel::<()>();
        let (tell_address, address_of_peer) = std::sync::mpsc::channel::<SocketAddr>();
        let (tell_end, end) = std::sync::mpsc::channel::<()>();
        let serve = move || {
            tell_thread.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            veth.recv().expect("the veth pair");
            ip(TEST, &format!("addr add {there}/24 dev there"));
            ip(TEST, "link set there up");
            let listener = TcpListener::bind((there, 0)).expect("a bound address");
            let peer = Peer::on(listener, |_, stream| respond(stream));
            tell_address.send(peer.address).unwrap();
            end.recv().expect("the load ends");
        };
        let load = move || {
            let thread = thread_of_peer.recv().unwrap();
            ip(TEST, &format!("link add here type veth peer name there netns {thread}"));
            ip(TEST, &format!("addr add {here}/24 dev here"));
            ip(TEST, "link set here up");
            veth_ready.send(()).unwrap();
            let target = address_of_peer.recv().expect("the server listens");
            let outcome = outcome(&plan(target, 1_000));
            tell_end.send(()).unwrap();
            (outcome, sockets_to(target))
        };
        let serving = namespace::spawn(scope, "there".to_owned(), serve);
        let loading = namespace::spawn(scope, "here".to_owned(), load);
        let result = loading.join().expect("the load ends");
        serving.join().expect("the server ends");
        result
    });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, left), (1_000, 0));
}

fn ip(test: &str, arguments: &str) {
    let ip = find_tool(test, "ip").expect("namespace::are_possible has found it");
    let output = std::process::Command::new(ip).args(arguments.split(' ')).output();
    let output = output.expect("ip runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
}
