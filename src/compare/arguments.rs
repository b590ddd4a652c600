//! `ringpoll compare` on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::ArgPredicate;

use super::condition::Condition;
use super::ladder::Ladder;
use super::sweep::Sweep;
use super::topology::parse_cpus;
use crate::config::Preset;
use crate::load::LoadKind;

const EXIT_CODES: &str = "\
Exit codes:
  0  there is a result, whatever it says
  1  a server or the load failed
  2  the command line or the configuration makes no sense
  3  the kernel refuses an engine that was asked for; a comparison never falls back
  4  a condition of --fail-if holds
  5  a condition of --fail-if cannot be told: inconclusive, not judged, or invalid";

/// A ladder has more arms than other comparisons.
const LADDER_BUDGET: &str = "300s";

/// Says which server is better here, by how much, how sure, and why.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_help = EXIT_CODES)]
pub struct CompareArguments {
    /// What to compare; the first is the baseline. An engine with settings of its own, such as
    /// `io_uring:single_shot,submission_queue_entries=512`, or any other server as
    /// `command:PROGRAM … {port}`. Without any, the best epoll engine against the best io_uring
    /// engine.
    #[arg(value_name = "ARM")]
    pub arms: Vec<String>,
    /// What the clients do; may be given several times, or with commas. Each load has two working
    /// points and a verdict of its own [default: churn,keep-alive; with --sweep, --burst or
    /// --fragments: churn]
    #[arg(long, value_enum, value_name = "LOAD", value_delimiter = ',')]
    pub load: Vec<LoadKind>,
    /// pipelined: so many requests under way on each connection.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub depth: u32,
    /// large: the length of the body of each answer.
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    pub bytes: u64,
    /// Compare a ladder in place of arms: from the engine that mirrors the documents to the tuned
    /// one, one technique added a rung, at a fixed rate alone. What each rung gains is told against
    /// the one below it and against the first. Its budget is 300s unless it is said.
    #[arg(long, value_name = "ENGINE", conflicts_with_all = ["arms", "sweep"])]
    pub ladder: Option<Ladder>,
    /// The time that all loads may take together; it ends earlier once all is decided.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = length_of_time,
        default_value_if("ladder", ArgPredicate::IsPresent, LADDER_BUDGET))]
    pub budget: Duration,
    /// At most so many blocks of rounds, whatever time is left.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub blocks: Option<u32>,
    /// How long each server is measured in a round, in short slices that alternate with the others.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = length_of_time)]
    pub round: Duration,
    /// How long each server is under load before its round.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = length_of_time)]
    pub warm_up: Duration,
    /// The rate offered at the fixed working point, in requests a second, instead of 60 % of what
    /// the slowest arm can do.
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub rate: Option<f64>,
    /// Requests under way at the same time, at saturation; of connections that persist so many.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Connections that are open beside the load and say nothing [default: 0; --load idle: 1000, or
    /// as many as the limit of descriptors has room for]
    #[arg(long, value_name = "N")]
    pub idle: Option<u32>,
    /// N connections begin at once, and the next N when all are answered, or as the rate says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: Option<u32>,
    /// How long after the last answer the next burst comes.
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "burst")]
    pub burst_pause_ms: u64,
    /// Each request is sent in K pieces.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub fragments: u32,
    /// How long after one piece the next one is sent.
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub fragment_pause_ms: u64,
    /// What is asked for.
    #[arg(long, value_name = "PATH", default_value = "/")]
    pub path: String,
    /// Compare with several values, and map which arm wins where: `connections=1,16,64`. The key is
    /// connections, idle, depth, bytes, burst or fragments, or one of the configuration. It goes
    /// with one load, and each value has the whole budget.
    #[arg(long, value_name = "KEY=V1,V2…")]
    pub sweep: Option<Sweep>,
    /// Exit with 4 if a ratio to the first arm is shown to be so, and with 5 if it cannot be told:
    /// `cpu_per_request > 1.05`, or of one load alone `keep-alive: cpu_per_request > 1.05`.
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// With --fail-if: exit with 0 where it cannot be told.
    #[arg(long, requires = "fail_if")]
    pub allow_inconclusive: bool,
    /// Write the whole result there, raw rounds and histograms included; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result there as a page for a browser, which needs nothing but itself; `-` is
    /// standard output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Decides the order of the rounds; the same seed gives the same order.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The processors of the server, such as `1` or `2-3`.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus_argument)]
    pub server_cpus: Option<CpuList>,
    /// The processors of the client.
    #[arg(long, value_name = "LIST", value_parser = parse_cpus_argument)]
    pub client_cpus: Option<CpuList>,
    /// Stay in the network namespace of this machine.
    #[arg(long)]
    pub no_namespace: bool,
    /// Take the settings of all arms from this file instead of ./config.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Start from these settings instead of the defaults, in all arms.
    #[arg(long)]
    pub preset: Option<Preset>,
    /// Set any key of the configuration in all arms.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl CompareArguments {
    /// The loads, each once, in the order in which they were asked for.
    ///
    /// # Errors
    /// When what else was asked for does not go with them, in words.
    pub fn loads(&self) -> Result<Vec<LoadKind>, String> {
        let mut loads = Vec::new();
        for &load in &self.load {
            if !loads.contains(&load) {
                loads.push(load);
            }
        }
        if loads.is_empty() {
            loads.push(LoadKind::Churn);
            if self.sweep.is_none() && self.burst.is_none() && self.fragments == 1 {
                loads.push(LoadKind::KeepAlive);
            }
        }
        if self.sweep.is_some() && loads.len() > 1 {
            return Err("--sweep goes with one load; choose it with --load".to_owned());
        }
        let named = self.fail_if.iter().filter_map(Condition::load);
        match named.into_iter().find(|load| !loads.contains(load)) {
            Some(load) => {
                Err(format!("--fail-if: there is no load {load} here; add --load {load}"))
            }
            None => Ok(loads),
        }
    }
}

/// A list of processors, which clap would otherwise take for a flag that is given several times.
pub type CpuList = std::sync::Arc<[usize]>;

fn parse_cpus_argument(text: &str) -> Result<CpuList, String> {
    parse_cpus(text).map(CpuList::from)
}

/// 600ms, 60s, 2m; a number alone is seconds.
fn length_of_time(text: &str) -> Result<Duration, String> {
    let length = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    if length.is_zero() { Err("more than nothing is expected".to_owned()) } else { Ok(length) }
}

fn positive(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "a number is expected".to_owned())?;
    if rate.is_finite() && rate >= 1.0 { Ok(rate) } else { Err("1 at least".to_owned()) }
}
