//! The command line of `ringpoll compare`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::ArgPredicate;

use super::condition::Condition;
use super::ladder::{LOAD_LEVELS as LADDER_LOAD_LEVELS, Ladder};
use super::metrics::metrics_of;
use super::sweep::Sweep;
use super::topology::parse_cpu_list;
use crate::config::Preset;
use crate::load::{CloseBy, Direction, LoadKind, MessageText, RequestArguments, Verify};
use crate::result::{LoadLevel, Metric, MetricAt};

const EXIT_CODES: &str = "\
Exit codes:
  0  the comparison has a result, whatever the verdict
  1  a server or the load failed, or a result could not be written
  2  the command line or the configuration is invalid
  3  the kernel refuses an engine; a comparison never falls back to another
  4  a condition of --fail-if holds
  5  a condition of --fail-if is inconclusive, not compared or invalid";

/// A ladder has more arms than other comparisons.
const LADDER_BUDGET: &str = "300s";

/// The longest time of a flag.
const MAX_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Compares servers on this machine: which is better, by how much, how certain, and why.
#[derive(Clone, Debug, Args)]
#[command(args_override_self = true, after_help = EXIT_CODES)]
pub struct CompareArguments {
    /// Servers to compare; the first is the baseline. An arm is an engine with optional settings,
    /// such as `io_uring:single_shot,submission_queue_entries=512`, or any other server as
    /// `command:PROGRAM … {port}` [default: epoll io_uring, or the arms of --arms]
    #[arg(value_name = "ARM")]
    pub arms: Vec<String>,
    /// Add the servers of this TOML file, after those of the command line. Each has a name, a
    /// command, and optionally its environment, limits, readiness and other keys.
    #[arg(long = "arms", value_name = "FILE")]
    pub arms_file: Option<PathBuf>,
    /// Loads, separated by commas; each has its own verdict [default: churn,keep-alive; with
    /// --sweep, --burst or --fragments: churn]
    #[arg(long, value_enum, value_name = "LOAD", value_delimiter = ',')]
    pub load: Vec<LoadKind>,
    /// With --load pipelined, rr or stream: requests or messages in flight on each connection
    /// [default: 16; rr: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub depth: Option<u32>,
    /// With --load rr, crr or stream: length of a message. Every byte received is verified
    /// [default: 1; stream: 65536]
    #[arg(long, value_name = "N")]
    pub message_bytes: Option<usize>,
    /// With --load rr or crr: send this text instead, and expect the same response of an arm each
    /// time. The text has escape sequences such as \r, \n and \x00.
    #[arg(long, value_name = "TEXT", conflicts_with = "message_bytes")]
    pub message: Option<MessageText>,
    /// With --load stream: direction of the bytes [default: send]
    #[arg(long, value_enum, value_name = "DIRECTION")]
    pub direction: Option<Direction>,
    /// With --load large: length of the response body in bytes.
    #[arg(long, value_name = "N", default_value_t = 1_048_576)]
    pub bytes: u64,
    /// Compare the steps of a ladder (an incremental ablation) instead of arms: from the engine of
    /// the reference program to the tuned engine, each step adds one technique. It is measured at
    /// the fixed rate only, so not under --load stream, and its default budget is 300s.
    #[arg(long, value_name = "ENGINE", conflicts_with_all = ["arms", "arms_file", "sweep"])]
    pub ladder: Option<Ladder>,
    /// Time limit for all loads together; the comparison ends earlier once it is decided. The
    /// calibration and one block of each load are measured in any case.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration,
        default_value_if("ladder", ArgPredicate::IsPresent, LADDER_BUDGET))]
    pub budget: Duration,
    /// Limit on the blocks of rounds of each load, of which an interval needs 5 [default: as many
    /// as fit into the budget]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub blocks: Option<u32>,
    /// Measured time of each server in a round, in short slices that alternate with other arms.
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_duration)]
    pub round: Duration,
    /// Time under load before each round is measured.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = parse_duration)]
    pub warm_up: Duration,
    /// Fixed rate in requests per second [default: 60% of the slowest arm's throughput]. A stream
    /// has none.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Connections in flight at saturation; persistent connections at both load levels.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Idle connections in addition to the load [default: 0; with --load idle: 1000, or as many as
    /// RLIMIT_NOFILE permits]
    #[arg(long, value_name = "N")]
    pub idle: Option<u32>,
    /// Open N connections at once; the next N when all have a response, or at the fixed rate.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub burst: Option<u32>,
    /// Pause after the last response of a burst, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "burst")]
    pub burst_pause_ms: u64,
    /// Send each request in K pieces.
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub fragments: u32,
    /// Pause between two pieces of a request, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 10)]
    pub fragment_pause_ms: u64,
    #[command(flatten)]
    pub request: RequestArguments,
    /// Parts of each response that must equal those of the responses before the load.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Verify::Auto)]
    pub verify: Verify,
    /// One HTTP request per connection: the side that closes first, so that TIME_WAIT is on its
    /// side.
    #[arg(long, value_enum, value_name = "SIDE", default_value_t = CloseBy::Auto)]
    pub close: CloseBy,
    /// Compare at several values and map which arm wins at which: `connections=1,16,64`. KEY is
    /// connections, idle, depth, bytes, message-bytes, burst, fragments or a configuration key.
    /// Requires a single load; each value has the whole budget.
    #[arg(long, value_name = "KEY=V1,V2…")]
    pub sweep: Option<Sweep>,
    /// Metric that decides the outcome and ends the comparison early: `p99`, `p99.9`, `throughput`
    /// or another metric of --fail-if [default: cpu_per_request; of a stream: cpu_per_gib]. It gets
    /// most of the error probability, so its interval is the narrowest.
    #[arg(long, value_name = "METRIC", conflicts_with = "ladder")]
    pub decide: Option<Metric>,
    /// Exit with 4 if a ratio to the first arm meets this condition, with 5 if it is inconclusive:
    /// `cpu_per_request > 1.05`, or for one load `keep-alive: cpu_per_request > 1.05`.
    #[arg(long, value_name = "CONDITION")]
    pub fail_if: Vec<Condition>,
    /// With --fail-if: exit with 0 instead of 5.
    #[arg(long, requires = "fail_if")]
    pub allow_inconclusive: bool,
    /// Write the whole result as JSON, with raw rounds and histograms; `-` is standard output.
    /// `ringpoll report --compact` makes the file small.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result as a self-contained HTML page; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write the latencies of each round as a log of HdrHistogram, with the arm and the load level
    /// in the tag; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub hdr_log: Option<PathBuf>,
    /// Seed of the random order of the rounds [default: random]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// CPUs of the server, such as `1` or `2-3` [default: chosen from the CPU topology]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus_argument)]
    pub server_cpus: Option<CpuList>,
    /// CPUs of the client [default: chosen from the CPU topology]
    #[arg(long, value_name = "LIST", value_parser = parse_cpus_argument)]
    pub client_cpus: Option<CpuList>,
    /// Measure in the current network namespace instead of a new one.
    #[arg(long)]
    pub no_namespace: bool,
    /// Take the settings of all arms from this file instead of ./config.toml; `none` reads no
    /// file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Preset of all arms, instead of the default settings.
    #[arg(long)]
    pub preset: Option<Preset>,
    /// Set a configuration key in all arms; can be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl CompareArguments {
    /// Returns the loads without duplicates, in the order given.
    ///
    /// # Errors
    /// Returns a message if another argument contradicts them.
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
        self.check_stream(&loads)?;
        if self.message_bytes.is_some() && !loads.iter().any(|load| load.has_messages()) {
            return Err("--message-bytes can only be used with --load rr, crr or stream".to_owned());
        }
        let has_text = |load: &LoadKind| matches!(load, LoadKind::Rr | LoadKind::Crr);
        if self.message.is_some() && !loads.iter().any(has_text) {
            return Err("--message can only be used with --load rr or crr".to_owned());
        }
        if let Some(flag) = self.request.first_given()
            && loads.iter().all(|load| load.has_messages())
        {
            return Err(format!("{flag} cannot be used with messages, only with HTTP requests"));
        }
        if self.sweep.is_some() && loads.len() > 1 {
            return Err("--sweep requires a single load. Choose it with --load.".to_owned());
        }
        let mut conditions = self.fail_if.iter().filter_map(Condition::load);
        match conditions.find(|load| !loads.contains(load)) {
            Some(load) => {
                Err(format!("--fail-if: load {load} is not measured. Try: add --load {load}."))
            }
            None => self.check_metrics(&loads).map(|()| loads),
        }
    }

    /// Returns the metrics that `--decide` and `--fail-if` name.
    pub fn requested_metrics(&self) -> Vec<Metric> {
        let in_conditions = self.fail_if.iter().map(Condition::metric);
        self.decide.into_iter().chain(in_conditions).collect()
    }

    /// Refuses metrics that are not measured.
    fn check_metrics(&self, loads: &[LoadKind]) -> Result<(), String> {
        let levels = match self.ladder {
            Some(_) => &LADDER_LOAD_LEVELS[..],
            None => &[LoadLevel::FixedRate, LoadLevel::Saturation],
        };
        let is_measured = |load: LoadKind, metric: Metric, level: Option<LoadLevel>| {
            let metrics = metrics_of(load == LoadKind::Stream, levels, &[metric]);
            let is_it = |at: &MetricAt| {
                at.metric == metric && level.is_none_or(|level| level == at.load_level)
            };
            metrics.iter().any(is_it)
        };
        if let Some(metric) = self.decide
            && let Some(load) = loads.iter().find(|&&load| !is_measured(load, metric, None))
        {
            return Err(format!("--decide {metric}: load {load} does not measure it"));
        }
        for condition in &self.fail_if {
            let (metric, level) = (condition.metric(), condition.load_level());
            let mut loads =
                loads.iter().filter(|&&it| condition.load().is_none_or(|load| load == it));
            if !loads.any(|&load| is_measured(load, metric, level)) {
                return Err(format!(
                    "--fail-if `{condition}`: this is not measured. Latency is measured at the \
                     fixed rate, throughput at saturation."
                ));
            }
        }
        Ok(())
    }

    fn check_stream(&self, loads: &[LoadKind]) -> Result<(), String> {
        let is_stream = |load: &LoadKind| *load == LoadKind::Stream;
        if self.direction.is_some() && !loads.iter().any(is_stream) {
            return Err("--direction can only be used with --load stream".to_owned());
        }
        let at_fixed_rate = [
            ("--ladder", self.ladder.is_some() && loads.iter().any(is_stream)),
            ("--rate", self.rate.is_some() && loads.iter().all(is_stream)),
        ];
        match at_fixed_rate.iter().find(|(_, is_wrong)| *is_wrong) {
            Some((flag, _)) => Err(format!(
                "{flag} cannot be used with --load stream, which is measured at saturation only"
            )),
            None => Ok(()),
        }
    }
}

/// A list of CPUs. clap would read a `Vec` as the type of a repeatable flag.
pub type CpuList = std::sync::Arc<[usize]>;

fn parse_cpus_argument(text: &str) -> Result<CpuList, String> {
    parse_cpu_list(text).map(CpuList::from)
}

/// Parses `600ms`, `60s`, `2m`, or a number of seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let length = match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?,
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string())?,
    };
    match length {
        Duration::ZERO => Err("must be more than 0".to_owned()),
        length if length > MAX_TIME => Err("must be at most 30 days".to_owned()),
        length => Ok(length),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    if rate.is_finite() && rate >= 1.0 { Ok(rate) } else { Err("must be at least 1".to_owned()) }
}
