//! Compares the example `resp` on each engine with redis-server, by redis-benchmark.
//!
//! The servers run on CPU 0 and the client on CPU 1. In each round every server is measured once,
//! one after the other, and the ratios are those within a round. If the client uses its whole CPU
//! and a server does not, only the CPU per request compares them.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use comfy_table::{Table, presets};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use ringpoll_competitors::program::{Program, build};
use statrs::distribution::{ContinuousCDF, StudentsT};

const SERVERS: [&str; 6] = [
    "redis-server",
    "epoll:level",
    "epoll:edge",
    "epoll:tuned",
    "io_uring:single_shot",
    "io_uring:tuned",
];
/// Pipelined requests of a connection, and requests in a measurement.
const DEPTHS: [(u32, u32); 2] = [(1, 30_000), (16, 200_000)];
/// The names of tests in the arguments and in the output of redis-benchmark. GET gets what SET has
/// set.
const TESTS: [(&str, &str); 3] = [("ping_mbulk", "PING_MBULK"), ("set", "SET"), ("get", "GET")];

/// Compares the example `resp` on each engine with redis-server, by redis-benchmark.
#[derive(Parser)]
struct Arguments {
    /// Rounds, in each of which every server is measured once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..))]
    rounds: u32,
}

/// One server with one test.
#[derive(Clone, Copy)]
struct Measured {
    requests_per_second: f64,
    /// CPU time of the server's process for a request.
    cpu_ns: f64,
}

impl Measured {
    /// Returns the part of a CPU that the server used.
    fn cpu_use(&self) -> f64 {
        self.cpu_ns * self.requests_per_second / 1e9
    }
}

/// For each server, the value of each round.
type Rounds = [Vec<Measured>; SERVERS.len()];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("redis: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let servers = start_servers()?;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["test", "server", "requests/s", "CPU per request", "server CPU"]);
    for (depth, requests) in DEPTHS {
        let mut measured: [Rounds; TESTS.len()] = Default::default();
        for round in 0..arguments.rounds as usize {
            // Each round starts with another server.
            for server in (0..servers.len()).map(|index| (index + round) % servers.len()) {
                for (test, rounds) in TESTS.iter().zip(&mut measured) {
                    rounds[server].push(measure(&servers[server], test, depth, requests)?);
                }
            }
        }
        for ((_, test), rounds) in TESTS.iter().zip(&measured) {
            let rows = SERVERS.iter().zip(rounds);
            table.add_rows(rows.map(|(server, values)| {
                let test = format!("{test} -P {depth}");
                [vec![test, (*server).to_owned()], columns(values, &rounds[0])].concat()
            }));
        }
    }
    println!("Ratios to redis-server, with 95 % intervals\n{table}");
    Ok(())
}

/// Returns the values of redis-server, or the ratios of another server to it, and the CPU use.
fn columns(values: &[Measured], redis: &[Measured]) -> Vec<String> {
    let mean =
        |value: fn(&Measured) -> f64| values.iter().map(value).sum::<f64>() / values.len() as f64;
    let ratio = |value: fn(&Measured) -> f64| {
        let pairs = values.iter().zip(redis);
        interval(&pairs.map(|(it, redis)| (value(it) / value(redis)).ln()).collect::<Vec<_>>())
    };
    let cpu_use = format!("{:.0} %", mean(Measured::cpu_use) * 100.0);
    if std::ptr::eq(values, redis) {
        let requests_per_second = format!("{:.0}", mean(|it| it.requests_per_second));
        return vec![requests_per_second, format!("{:.2} µs", mean(|it| it.cpu_ns) / 1e3), cpu_use];
    }
    vec![ratio(|it| it.requests_per_second), ratio(|it| it.cpu_ns), cpu_use]
}

/// Returns the geometric mean of paired ratios, and its 95 % interval.
fn interval(log_ratios: &[f64]) -> String {
    let count = log_ratios.len() as f64;
    let mean = log_ratios.iter().sum::<f64>() / count;
    let squares: f64 = log_ratios.iter().map(|it| (it - mean).powi(2)).sum();
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("at least two rounds");
    let half = student.inverse_cdf(0.975) * (squares / (count - 1.0) / count).sqrt();
    format!("{:.3} [{:.3}, {:.3}]", mean.exp(), (mean - half).exp(), (mean + half).exp())
}

/// Starts redis-server without persistence, and the example on each engine.
fn start_servers() -> Result<Vec<Program>, String> {
    let backends = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../backends/Cargo.toml");
    let built = build(&backends, &["--example", "resp"])?;
    let example = built.get("resp").ok_or("cargo did not build the example")?;
    let example = example.to_str().ok_or("the path of the example is not text")?;
    let start = |server: &&str| {
        let command = match *server {
            "redis-server" => "redis-server --bind 127.0.0.1 --port {port} --appendonly no --save",
            engine => &format!("{example} 127.0.0.1:{{port}} {engine}"),
        };
        // The last argument of redis-server, and ignored by the example.
        let arguments = ["-c", "0"].into_iter().chain(command.split(' ')).chain([""]);
        let arguments: Vec<_> = arguments.map(str::to_owned).collect();
        Program::start(Path::new("taskset"), &arguments)
            .map_err(|error| format!("{server}: {error}; is it installed?"))
    };
    SERVERS.iter().map(start).collect()
}

fn measure(
    server: &Program,
    (argument, name): &(&str, &str),
    depth: u32,
    requests: u32,
) -> Result<Measured, String> {
    let before_ns = cpu_ns(server)?;
    let output = Command::new("taskset")
        .args(["-c", "1", "redis-benchmark", "-h", "127.0.0.1", "--csv", "-t", argument])
        .args(["-p", &server.address.port().to_string()])
        .args(["-P", &depth.to_string(), "-n", &requests.to_string()])
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("taskset: {error}"))?;
    let used_ns = cpu_ns(server)? - before_ns;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests_per_second = requests_per_second(&text, name)
        .ok_or_else(|| format!("redis-benchmark ({}) has no {name}: {text}", output.status))?;
    Ok(Measured { requests_per_second, cpu_ns: used_ns / f64::from(requests) })
}

/// Returns the value of a test in the CSV output of redis-benchmark.
fn requests_per_second(csv: &str, test: &str) -> Option<f64> {
    let row = csv.lines().find_map(|line| line.strip_prefix(&format!("\"{test}\",\"")))?;
    row.split('"').next()?.parse().ok()
}

/// Returns the CPU time of all threads of a server, also of those that have ended.
fn cpu_ns(server: &Program) -> Result<f64, String> {
    let clock = clock_getcpuclockid(Pid::from_raw(server.id() as i32)).and_then(ClockId::now);
    let time = clock.map_err(|error| format!("the CPU time of the server: {error}"))?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_per_second_are_those_of_the_test() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\"PING_MBULK\",\"1.5\",\"0.2\"\n\
                   \"SET\",\"96463.02\",\"0.264\"\n";
        assert_eq!(requests_per_second(csv, "SET"), Some(96463.02));
        assert_eq!(requests_per_second(csv, "PING"), None);
        assert_eq!(requests_per_second("\"SET\",\"nan", "GET"), None);
    }

    #[test]
    fn interval_is_that_of_student() {
        // The mean of the logarithms is 0, their standard error 0.1, the quantile 12.706.
        assert_eq!(interval(&[-0.1, 0.1]), "1.000 [0.281, 3.563]");
        assert_eq!(interval(&[2f64.ln(); 8]), "2.000 [2.000, 2.000]");
    }
}
