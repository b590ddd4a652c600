//! The CPU time of a server includes io_uring's kernel threads and child processes.

use std::fs;

use ringpoll::compare::process_usage::Sample;
use ringpoll::result::{GateEffect, GateKind};
use ringpoll_backends::Variant;
use tempfile::TempDir;

use crate::program::Comparison;
use common::{Client, ServerProcess, engine_is_available, find_tool, wait_until};

/// Returns the CPU time of a task in nanoseconds (proc(5), schedstat); `None` if it has ended.
fn cpu_time_of_task(process: u32, task: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{task}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Returns the IDs of io_uring's worker threads in a process.
fn io_uring_tasks(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    let tasks = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let is_worker = |task: &u32| {
        let name = fs::read_to_string(format!("/proc/{process}/task/{task}/comm"));
        name.is_ok_and(|name| name.starts_with("iou-"))
    };
    tasks.filter(is_worker).collect()
}

#[test]
fn cpu_time_includes_io_uring_worker_threads() {
    let test = "cpu_time_includes_io_uring_worker_threads";
    if !engine_is_available(test, Variant::IoUringSingleShot) {
        return;
    }
    let server = ServerProcess::start(&["--backend", "io_uring:single_shot"]);
    let before = Sample::of_process(server.id());
    // IORING_OP_SHUTDOWN always runs in a worker thread. Its CPU time is updated when it sleeps.
    let mut worker_ns = 0;
    wait_until("io_uring worker threads have run", || {
        Client::request(server.address);
        let tasks = io_uring_tasks(server.id());
        worker_ns = tasks.iter().filter_map(|&it| cpu_time_of_task(server.id(), it)).sum();
        worker_ns > 100_000
    });
    let leader_ns = cpu_time_of_task(server.id(), server.id()).expect("it runs");
    let after = Sample::of_process(server.id());
    let used = after.since(&before);
    assert!(used.io_uring_tasks >= 1, "{used:?}");
    assert!(used.io_wq_workers >= 1 && used.io_wq_cpu_ns > 100_000, "{used:?}");
    assert!(used.io_wq_cpu_ns < used.cpu_ns, "{used:?}");
    let total_ns = after.since(&Sample::default()).cpu_ns;
    assert!(total_ns >= leader_ns + worker_ns, "{total_ns} < {leader_ns} + {worker_ns}");
}

/// `io_uring:single_shot` submits IORING_OP_SHUTDOWN, which always runs in an io-wq worker.
#[test]
fn io_wq_workers_are_counted_and_gated() {
    let test = "io_wq_workers_are_counted_and_gated";
    if !engine_is_available(test, Variant::IoUringSingleShot) {
        return;
    }
    let result = Comparison::churn(&["epoll:level", "io_uring:single_shot"]).run().result();
    let experiment = &result.experiments[0];
    for summary in &experiment.summaries {
        let has_workers = summary.io_wq_workers > 0 && summary.io_wq_cpu_share > 0.0;
        assert_eq!(has_workers, summary.arm == 1, "{summary:?}");
        assert!(summary.io_wq_cpu_share < 1.0, "{summary:?}");
    }
    let gate = experiment.gates.iter().find(|it| it.kind == GateKind::IoWqWorkers);
    assert_eq!(gate.expect("a gate").arms, [1]);
}

#[test]
fn batch_limits_that_differ_are_named() {
    let limited = "epoll:level,events_per_wait=1";
    let result = Comparison::churn(&["epoll:level", limited]).run().result();
    let gates = &result.experiments[0].gates;
    let gate = gates.iter().find(|it| it.kind == GateKind::BatchLimitsDiffer).expect("a gate");
    assert_eq!(gate.effect, GateEffect::Warning);
    assert!(gate.reason.contains("1023") && gate.reason.contains(" 1)"), "{}", gate.reason);
}

#[test]
fn cpu_time_includes_child_processes() {
    let Some(nginx) = find_tool("cpu_time_includes_child_processes", "nginx") else {
        return;
    };
    let directory = TempDir::new().expect("a directory");
    let at = directory.path().display();
    // A master and one worker; all files are in the temporary directory.
    let configuration = |port: &str| {
        format!(
            "worker_processes 1; daemon off; pid {at}/pid; error_log {at}/error.log; \
             events {{ worker_connections 1024; }} \
             http {{ access_log off; client_body_temp_path {at}/b; proxy_temp_path {at}/p; \
             fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s; \
             server {{ listen 127.0.0.1:{port}; location / {{ return 200 'Hello, world!'; }} }} }}"
        )
    };
    let template = directory.path().join("template");
    fs::write(&template, configuration("PORT")).expect("a file");
    let script = format!(
        "sed s/PORT/$1/ {at}/template > {at}/conf && exec {} -c {at}/conf",
        nginx.display()
    );
    let arm = format!("command:sh -c '{script}' nginx {{port}}");
    let result = Comparison::churn(&["epoll:level", &arm]).run().result();
    let experiment = &result.experiments[0];
    let rounds = experiment.rounds.iter().filter(|round| round.arm == 1);
    for round in rounds {
        // The master process serves no requests.
        assert!(round.server.tasks >= 2, "{round:?}");
        assert!(round.server.cpu_ns / round.requests > 1_000, "{round:?}");
        assert_eq!(round.failures.total(), 0, "{round:?}");
    }
    let response = result.differences.iter().find(|it| it.key == "response").expect("they differ");
    assert!(response.values[1].as_ref().unwrap().contains("200 OK"), "{response:?}");
}
