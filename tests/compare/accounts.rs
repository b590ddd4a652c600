//! Nothing that a server uses is missed: the kernel's own threads for io_uring, and processes that
//! a server has started.

use std::fs;

use ringpoll::compare::process_use::Sample;
use ringpoll_backends::Variant;
use tempfile::TempDir;

use crate::common::{Client, ServerProcess, engine, tool, wait_until};
use crate::program::Comparison;

/// The CPU time of one task, in nanoseconds (proc(5), schedstat); `None` when it has ended.
fn cpu_time_of_task(process: u32, task: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{task}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// The tasks that the kernel runs for io_uring.
fn io_uring_tasks(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("a process of ours");
    let tasks = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let is_ours = |task: &u32| {
        let name = fs::read_to_string(format!("/proc/{process}/task/{task}/comm"));
        name.is_ok_and(|name| name.starts_with("iou-"))
    };
    tasks.filter(is_ours).collect()
}

#[test]
fn the_work_of_the_kernels_threads_for_io_uring_is_the_servers() {
    let test = "the_work_of_the_kernels_threads_for_io_uring_is_the_servers";
    if !engine(test, Variant::IoUringSingleShot) {
        return;
    }
    let server = ServerProcess::start(&["--backend", "io_uring:single_shot"]);
    let before = Sample::take(server.id(), false);
    // SHUTDOWN is always handed to such a thread. Its account is brought up to date when it sleeps.
    let mut work_of_theirs = 0;
    wait_until("the kernel's threads have worked", || {
        Client::request(server.address);
        let tasks = io_uring_tasks(server.id());
        work_of_theirs = tasks.iter().filter_map(|&it| cpu_time_of_task(server.id(), it)).sum();
        work_of_theirs > 100_000
    });
    let of_the_leader = cpu_time_of_task(server.id(), server.id()).expect("it runs");
    let after = Sample::take(server.id(), false);
    let used = after.since(&before);
    assert!(used.io_uring_tasks >= 1, "{used:?}");
    let all = after.since(&Sample::default()).cpu_ns;
    assert!(all >= of_the_leader + work_of_theirs, "{all} < {of_the_leader} + {work_of_theirs}");
}

#[test]
fn a_server_of_several_processes_is_measured_as_one() {
    let Some(nginx) = tool("a_server_of_several_processes_is_measured_as_one", "nginx") else {
        return;
    };
    let directory = TempDir::new().expect("a directory");
    let at = directory.path().display();
    // One worker beside the master, and nothing written anywhere else.
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
    let result = Comparison::of(&["epoll:level", &arm]).run().result();
    let experiment = &result.experiments[0];
    let rounds = experiment.rounds.iter().filter(|round| round.arm == 1);
    for round in rounds {
        // The master alone does nothing for a request.
        assert!(round.server.tasks >= 2, "{round:?}");
        assert!(round.server.cpu_ns / round.requests > 1_000, "{round:?}");
        assert_eq!(round.failures.total(), 0, "{round:?}");
    }
    let answer = result.differences.iter().find(|it| it.key == "answer").expect("they differ");
    assert!(answer.values[1].as_ref().expect("it answered").contains("200 OK"), "{answer:?}");
}
