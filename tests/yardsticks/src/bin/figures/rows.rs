//! The figures, one row each: what is asked, what was measured, and whether it was reached.

use comfy_table::{Table, presets};
use serde_json::Value;

use crate::comparisons::Results;
use crate::idle_memory;
use crate::programs::Programs;

/// What is asked.
#[derive(Clone, Copy)]
enum Asked {
    AtMost(f64),
    AtLeast(f64),
}
use Asked::{AtLeast, AtMost};

/// What was measured, with the interval in which it is.
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// What has to be known of it.
    pub(crate) remark: Option<String>,
}

/// Where a figure comes from.
#[derive(Clone, Copy)]
enum Source {
    /// The ratio of a metric at a working point, of the arm of this engine to the first arm.
    Ratio {
        comparison: &'static str,
        engine: &'static str,
        metric: &'static str,
        point: &'static str,
    },
    /// The share of an engine's processor time that is spent in user mode, saturated.
    UserShare { comparison: &'static str, engine: &'static str },
    /// System calls a request, saturated.
    SystemCalls { comparison: &'static str, engine: &'static str },
    /// The client's processor time for each request, in µs, against the first arm.
    Client { comparison: &'static str },
    /// Resident bytes for each idle connection.
    IdleMemory { engine: &'static str },
}

impl Source {
    const fn comparison(self) -> &'static str {
        match self {
            Self::Ratio { comparison, .. }
            | Self::UserShare { comparison, .. }
            | Self::SystemCalls { comparison, .. }
            | Self::Client { comparison } => comparison,
            Self::IdleMemory { .. } => "idle-memory",
        }
    }
}

const CPU: &str = "cpu_per_request";
const THROUGHPUT: &str = "throughput";
const SATURATED: &str = "saturated";
const FIXED_RATE: &str = "fixed_rate";
const RING: &str = "io_uring:tuned";
const EPOLL: &str = "epoll:tuned";

const fn ratio(
    comparison: &'static str,
    engine: &'static str,
    metric: &'static str,
    point: &'static str,
) -> Source {
    Source::Ratio { comparison, engine, metric, point }
}

const FIGURES: &[(&str, Asked, Source)] = &[
    (
        "io_uring:tuned / bare-socket floor, CPU/req",
        AtMost(1.05),
        ratio("churn-floor", RING, CPU, SATURATED),
    ),
    (
        "epoll:tuned / bare-socket floor, CPU/req",
        AtMost(1.10),
        ratio("churn-floor", EPOLL, CPU, SATURATED),
    ),
    (
        "io_uring:tuned / floor, CPU/req at 15,000/s",
        AtMost(1.10),
        ratio("churn-floor", RING, CPU, FIXED_RATE),
    ),
    (
        "epoll:tuned / floor, CPU/req at 15,000/s",
        AtMost(1.20),
        ratio("churn-floor", EPOLL, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req at 15,000/s",
        AtMost(0.87),
        ratio("churn-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req, saturated",
        AtMost(1.02),
        ratio("churn-epoll", RING, CPU, SATURATED),
    ),
    (
        "the same, keep-alive, saturated",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, SATURATED),
    ),
    (
        "the same, keep-alive, fixed rate",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", RING, CPU, SATURATED),
    ),
    (
        "epoll:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", EPOLL, CPU, SATURATED),
    ),
    (
        "epoll:level / C with the same calls, CPU/req",
        AtMost(1.03),
        ratio("documents-level", "epoll:level", CPU, SATURATED),
    ),
    (
        "epoll:edge / C with the same calls, CPU/req",
        AtMost(1.03),
        ratio("documents-edge", "epoll:edge", CPU, SATURATED),
    ),
    (
        "keep-alive: io_uring:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", RING, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: epoll:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", EPOLL, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: io_uring:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", RING, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: epoll:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", EPOLL, THROUGHPUT, SATURATED),
    ),
    (
        "io_uring:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-floor", engine: RING },
    ),
    (
        "epoll:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-floor", engine: EPOLL },
    ),
    (
        "keep-alive: io_uring:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "keep-alive-tokio", engine: RING },
    ),
    (
        "keep-alive: epoll:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "keep-alive-tokio", engine: EPOLL },
    ),
    (
        "keep-alive: io_uring:tuned, system calls/req",
        AtMost(0.1),
        Source::SystemCalls { comparison: "keep-alive-tokio", engine: RING },
    ),
    ("epoll:tuned, bytes an idle connection", AtMost(1024.0), Source::IdleMemory { engine: EPOLL }),
    (
        "io_uring:tuned, bytes an idle connection",
        AtMost(1536.0),
        Source::IdleMemory { engine: RING },
    ),
    (
        "client CPU/req against nginx, µs",
        AtMost(40.0),
        Source::Client { comparison: "churn-nginx" },
    ),
    (
        "beyond the floor: io_uring:tuned / floor, CPU/req",
        AtMost(0.95),
        ratio("churn-floor", RING, CPU, SATURATED),
    ),
    (
        "beyond the floor: epoll:tuned / floor, CPU/req",
        AtMost(0.95),
        ratio("churn-floor", EPOLL, CPU, SATURATED),
    ),
];

/// All figures.
pub(crate) fn table(results: &Results, programs: &Programs, only: &str) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["figure", "asked", "measured", "interval", "reached"]);
    for &(name, asked, source) in FIGURES {
        let measured = match source {
            Source::IdleMemory { engine } if only.is_empty() || "idle-memory".contains(only) => {
                idle_memory::measure(programs, engine)
            }
            Source::IdleMemory { .. } => continue,
            source if !results.are_asked_for(source.comparison()) => continue,
            source => measure(results, source),
        };
        let (word, bound) = match asked {
            AtMost(bound) => ("≤", bound),
            AtLeast(bound) => ("≥", bound),
        };
        let mut row = vec![name.to_owned(), format!("{word} {bound}")];
        row.extend(match measured {
            Ok(it) => [in_words(it.value), interval(&it), judge(asked, &it)],
            Err(problem) => [String::new(), String::new(), format!("not measured: {problem}")],
        });
        table.add_row(row);
    }
    table
}

fn in_words(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

fn interval(it: &Measured) -> String {
    if it.low == it.high {
        "exact".to_owned()
    } else {
        format!("{} … {}", in_words(it.low), in_words(it.high))
    }
}

/// Only an interval that lies on one side as a whole says something.
fn judge(asked: Asked, it: &Measured) -> String {
    let (holds, fails) = match asked {
        AtMost(bound) => (it.high <= bound, it.low > bound),
        AtLeast(bound) => (it.low >= bound, it.high < bound),
    };
    let word = match (holds, fails) {
        (true, _) => "yes",
        (_, true) => "no",
        _ => "undecided",
    };
    match &it.remark {
        Some(remark) => format!("undecided ({word} as it stands): {remark}"),
        None => word.to_owned(),
    }
}

fn measure(results: &Results, source: Source) -> Result<Measured, String> {
    match source {
        Source::Ratio { comparison, engine, metric, point } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            ratio_of(&result["experiments"][0], arm, metric, point)
        }
        Source::UserShare { comparison, engine } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            let share = |round: &Value| {
                let server = &round["server"];
                Some((server["user_ns"].as_f64()?, server["cpu_ns"].as_f64()?))
            };
            over_rounds(&result["experiments"][0], arm, TICK_NS, share)
        }
        Source::SystemCalls { comparison, engine } => {
            let (result, arm) = arm_of(results, comparison, engine)?;
            let calls = |round: &Value| {
                let counters = &round["counters"];
                let calls = counters["system_calls"].as_object()?.values();
                let calls = calls.filter_map(Value::as_f64).sum::<f64>();
                Some((calls, counters["answered"].as_f64()?))
            };
            over_rounds(&result["experiments"][0], arm, 0.0, calls)
        }
        Source::Client { comparison } => {
            let experiment = &results.of(comparison)?["experiments"][0];
            let cost = |round: &Value| {
                let client_us = round["client"]["cpu_ns"].as_f64()? / 1e3;
                Some((client_us, round["requests"].as_f64()?))
            };
            over_rounds(experiment, 0, 0.0, cost)
        }
        Source::IdleMemory { .. } => unreachable!("it has no comparison"),
    }
}

fn arm_of<'all>(
    results: &'all Results,
    comparison: &str,
    engine: &str,
) -> Result<(&'all Value, usize), String> {
    let result = results.of(comparison)?;
    let arms = result["arms"].as_array().ok_or("the result has no arms")?;
    let place = arms.iter().position(|arm| arm["label"].as_str() == Some(engine));
    place.map(|place| (result, place)).ok_or_else(|| format!("the result has no {engine}"))
}

fn ratio_of(experiment: &Value, arm: usize, metric: &str, point: &str) -> Result<Measured, String> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let comparison = array(&experiment["comparisons"])
        .into_iter()
        .find(|it| it["contender"].as_u64() == Some(arm as u64))
        .ok_or("the arm was compared with nothing")?;
    let found = array(&comparison["metrics"])
        .into_iter()
        .find(|it| it["metric"] == metric && it["point"] == point)
        .ok_or_else(|| format!("{metric} was not compared"))?;
    let reason = found["reason"].as_str().map(str::to_owned);
    let is_judged = found["verdict"] != "not_judgeable";
    let number = |name: &str| found[name].as_f64();
    match (number("ratio"), number("low"), number("high")) {
        (Some(value), Some(low), Some(high)) => {
            Ok(Measured { value, low, high, remark: reason.filter(|_| !is_judged) })
        }
        _ => Err(reason.unwrap_or_else(|| "there is no ratio".to_owned())),
    }
}

/// What fewer rounds than these give is chance; a comparison thinks so too.
const LEAST_ROUNDS: usize = 5;

/// The kernel tells user mode from its own by looking once a tick, of which there are 250 a second
/// or more.
const TICK_NS: f64 = 4e6;

/// The ratio of two sums over an arm's saturated rounds, with twice its standard error to either
/// side, and no less than three of the grains in which the first is counted.
fn over_rounds(
    experiment: &Value,
    arm: usize,
    grain: f64,
    figure: impl Fn(&Value) -> Option<(f64, f64)>,
) -> Result<Measured, String> {
    let rounds = experiment["rounds"].as_array().ok_or("the result has no rounds")?;
    let figures: Vec<(f64, f64)> = rounds
        .iter()
        .filter(|it| it["arm"].as_u64() == Some(arm as u64) && it["point"] == SATURATED)
        .filter_map(figure)
        .collect();
    let (above, below) = figures.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
    if figures.len() < LEAST_ROUNDS || below <= 0.0 {
        return Err(format!("{} rounds are too few", figures.len()));
    }
    let (value, count) = (above / below, figures.len() as f64);
    let squares = figures.iter().map(|(above, below)| (above - value * below).powi(2)).sum::<f64>();
    let error = 2.0 * (squares * count / (count - 1.0)).sqrt() / below;
    let error = error.max(3.0 * grain / below);
    Ok(Measured { value, low: (value - error).max(0.0), high: value + error, remark: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn measured(low: f64, high: f64) -> Measured {
        Measured { value: low.midpoint(high), low, high, remark: None }
    }

    #[test]
    fn only_a_whole_interval_decides() {
        assert_eq!(judge(AtMost(1.05), &measured(1.0, 1.05)), "yes");
        assert_eq!(judge(AtMost(1.05), &measured(1.06, 1.1)), "no");
        assert_eq!(judge(AtMost(1.05), &measured(1.0, 1.1)), "undecided");
        assert_eq!(judge(AtLeast(1.04), &measured(1.04, 1.1)), "yes");
        assert_eq!(judge(AtLeast(1.04), &measured(1.0, 1.03)), "no");
        let not_judged = Measured { remark: Some("client-bound".into()), ..measured(1.1, 1.2) };
        assert!(judge(AtLeast(1.04), &not_judged).starts_with("undecided (yes as it stands)"));
    }

    #[test]
    fn a_ratio_is_that_of_its_arm_metric_and_point() {
        let metric = |point: &str, ratio: f64| {
            json!({"metric": CPU, "point": point, "ratio": ratio, "low": ratio - 0.1,
                "high": ratio + 0.1, "verdict": "better"})
        };
        let experiment = json!({"comparisons": [
            {"contender": 1, "metrics": [metric(SATURATED, 1.0), metric(FIXED_RATE, 2.0)]},
            {"contender": 2, "metrics": [metric(SATURATED, 3.0)]},
        ]});
        let value = |arm, point| ratio_of(&experiment, arm, CPU, point).map(|it| it.value);
        assert_eq!(value(1, FIXED_RATE), Ok(2.0));
        assert_eq!(value(2, SATURATED), Ok(3.0));
        assert!(value(2, FIXED_RATE).is_err());
        assert!(value(3, SATURATED).is_err());
    }

    #[test]
    fn rounds_are_those_of_the_arm_at_saturation() {
        let round = |arm: u64, point: &str, user: u64| json!({"arm": arm, "point": point, "server": {"user_ns": user, "cpu_ns": 100}});
        let mut rounds = vec![round(0, SATURATED, 50), round(1, FIXED_RATE, 90)];
        rounds.extend([1, 3, 1, 3, 2].map(|user| round(1, SATURATED, user)));
        let share = |it: &Value| {
            Some((it["server"]["user_ns"].as_f64()?, it["server"]["cpu_ns"].as_f64()?))
        };
        let experiment = json!({ "rounds": rounds });
        let found = over_rounds(&experiment, 1, 0.0, share).unwrap();
        assert!((found.value - 0.02).abs() < 1e-9, "{}", found.value);
        // Twice the standard error of 1, 3, 1, 3, 2, each of 100.
        assert!((found.high - 0.02 - 0.01 * 2.0 / 5f64.sqrt()).abs() < 1e-9, "{}", found.high);
        // Three grains of 10 in 500 are more than that.
        let coarse = over_rounds(&experiment, 1, 10.0, share).unwrap();
        assert!((coarse.high - 0.08).abs() < 1e-9 && coarse.low == 0.0, "{}", coarse.high);
        assert!(over_rounds(&experiment, 0, 0.0, share).is_err());
    }
}
