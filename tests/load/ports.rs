//! Ports: they are free again at once, and where they are not there are other addresses.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;

use ringpoll::load::{FailureKind, Outcome, Plan};
use ringpoll_backends::Variant;

use crate::common::{Served, tool};
use crate::namespace;
use crate::peer::{Peer, answer, outcome, plan};

/// How many ends of connections to that port are left on the client's side, in TIME_WAIT or else.
pub(crate) fn ends_left(port: u16) -> usize {
    let table = fs::read_to_string("/proc/thread-self/net/tcp").expect("Linux has it");
    let port = format!(":{port:04X}");
    let remote = |line: &str| line.split_whitespace().nth(2).map(str::to_owned);
    table.lines().filter_map(remote).filter(|remote| remote.ends_with(&port)).count()
}

#[test]
fn two_hundred_thousand_requests_do_not_run_out_of_ports() {
    let served = Served::start(Variant::EpollEdge, |_| {});
    let outcome = outcome(&Plan { connections: 64, ..plan(served.address, 200_000) });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, outcome.source_addresses), (200_000, 1));
    assert_eq!(ends_left(served.address.port()), 0);
}

/// Sixteen ports for each address, of which a connect uses one half first.
fn allow_few_ports() {
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40015").expect("we are root");
}

#[test]
fn where_an_address_has_no_port_left_others_are_used() {
    const TEST: &str = "where_an_address_has_no_port_left_others_are_used";
    if !namespace::are_possible(TEST) {
        return;
    }
    let load = || -> Outcome {
        let served = Served::start(Variant::EpollLevel, |_| {});
        allow_few_ports();
        outcome(&Plan { connections: 64, idle: 100, ..plan(served.address, 5_000) })
    };
    let outcome = thread::scope(|scope| {
        namespace::within(scope, TEST.to_owned(), load).join().expect("the load ends")
    });
    assert!(outcome.is_clean(), "{:?}, {:?}", outcome.failures, outcome.idle);
    assert_eq!((outcome.completed, outcome.idle.opened), (5_000, 100));
    // 164 connections at once, sixteen for each address.
    assert!(outcome.source_addresses >= 11, "{} addresses", outcome.source_addresses);
}

#[test]
fn where_there_is_one_address_only_it_is_counted_that_its_ports_are_used_up() {
    const TEST: &str = "where_there_is_one_address_only_it_is_counted_that_its_ports_are_used_up";
    if !namespace::are_possible(TEST) {
        return;
    }
    let load = || -> Outcome {
        let listener = TcpListener::bind("[::1]:0").expect("a free port");
        let peer = Peer::on(listener, |_, stream| {
            // Slow enough for all 64 to be under way.
            thread::sleep(std::time::Duration::from_millis(2));
            answer(stream);
        });
        allow_few_ports();
        outcome(&Plan { connections: 64, ..plan(peer.address, 200) })
    };
    let outcome = thread::scope(|scope| {
        namespace::within(scope, TEST.to_owned(), load).join().expect("the load ends")
    });
    let exhausted = outcome.failures.of(FailureKind::PortsExhausted);
    assert!(exhausted > 0);
    assert_eq!(outcome.failures.total(), exhausted, "{:?}", outcome.failures);
    assert_eq!(outcome.completed + exhausted, 200);
}

/// Two network namespaces, a wire between them, and the load on the one side of it.
#[test]
fn connections_to_another_machine_are_closed_and_leave_nothing() {
    const TEST: &str = "connections_to_another_machine_are_closed_and_leave_nothing";
    if !namespace::are_possible(TEST) {
        return;
    }
    let (there, here) = ("10.203.0.1", "10.203.0.2");
    let (outcome, left) = thread::scope(|scope| {
        let (tell_thread, thread_of_peer) = std::sync::mpsc::channel();
        let (tell_wire, wire) = std::sync::mpsc::channel::<()>();
        let (tell_address, address_of_peer) = std::sync::mpsc::channel::<SocketAddr>();
        let (tell_end, end) = std::sync::mpsc::channel::<()>();
        let serve = move || {
            tell_thread.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            wire.recv().expect("somebody lays the wire");
            ip(TEST, &format!("addr add {there}/24 dev there"));
            ip(TEST, "link set there up");
            let listener = TcpListener::bind((there, 0)).expect("the address is there");
            let peer = Peer::on(listener, |_, stream| answer(stream));
            tell_address.send(peer.address).unwrap();
            end.recv().expect("the load ends");
        };
        let load = move || {
            let thread = thread_of_peer.recv().unwrap();
            ip(TEST, &format!("link add here type veth peer name there netns {thread}"));
            ip(TEST, &format!("addr add {here}/24 dev here"));
            ip(TEST, "link set here up");
            tell_wire.send(()).unwrap();
            let target = address_of_peer.recv().expect("the peer listens");
            let outcome = outcome(&plan(target, 1_000));
            tell_end.send(()).unwrap();
            (outcome, ends_left(target.port()))
        };
        let serving = namespace::within(scope, "there".to_owned(), serve);
        let loading = namespace::within(scope, "here".to_owned(), load);
        let result = loading.join().expect("the load ends");
        serving.join().expect("the peer ends");
        result
    });
    assert!(outcome.is_clean(), "{:?}", outcome.failures);
    assert_eq!((outcome.completed, left), (1_000, 0));
}

fn ip(test: &str, arguments: &str) {
    let ip = tool(test, "ip").expect("it was there before");
    let output = std::process::Command::new(ip).args(arguments.split(' ')).output();
    let output = output.expect("it can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {errors}");
}
