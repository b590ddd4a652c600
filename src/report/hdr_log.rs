//! Logs of HdrHistogram of the rounds of a result.

use std::time::{Duration, SystemTime};

use crate::compare::summary::decode_histogram;
use crate::load::HdrLog;
use crate::result::{ComparisonResult, Experiment, LoadLevel, Round};

/// Returns the log of the latencies of all rounds, corrected for coordinated omission. The tag of
/// an entry is `ARM@LOAD_LEVEL`; with several experiments, the load or the value of the sweep is
/// before it. The second instance of the first arm has ` control` after its name. The rounds of a
/// block are interleaved, so their entries have the same time.
pub fn log(result: &ComparisonResult) -> String {
    let start = humantime::parse_rfc3339(&result.started_at).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut log = HdrLog::new(start);
    // Rounds have the time since the start of their experiment. Experiments follow each other.
    let mut offset = Duration::ZERO;
    for experiment in &result.experiments {
        let mut end = offset;
        for round in &experiment.rounds {
            let Some(latencies) = decode_histogram(&round.latency.corrected) else { continue };
            let start = offset.saturating_add(seconds(round.started_at_seconds));
            let length = Duration::from_nanos(round.duration_ns);
            log.add(Some(&tag(result, experiment, round)), start, length, &latencies);
            end = end.max(start.saturating_add(length));
        }
        offset = end;
    }
    log.into_text()
}

/// The values are of a file, and may be negative or infinite.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::ZERO)
}

fn tag(result: &ComparisonResult, experiment: &Experiment, round: &Round) -> String {
    let prefix = match (&experiment.sweep, result.experiments.len()) {
        (_, 1) => String::new(),
        (Some(sweep), _) => format!("{}={} ", sweep.key, sweep.value),
        (None, _) => format!("{} ", experiment.load.name),
    };
    let arm = result.arms.get(round.arm).map_or("?", |arm| &arm.label);
    let instance = if round.control { " control" } else { "" };
    let level = match round.load_level {
        LoadLevel::FixedRate => "fixed_rate",
        LoadLevel::Saturation => "saturation",
    };
    format!("{prefix}{arm}{instance}@{level}")
}
