//! Calibration before the experiment: the request rate that all arms sustain, the duration of a
//! round, and the arms that use the CPU while idle.

use std::time::{Duration, Instant};

use super::gates::reaches_rate;
use super::round::BatchRunner;
use super::schedule::Batch;
use crate::failure::Failure;
use crate::result::{LoadLevel, Round};

/// The fixed rate as a share of the slowest arm's throughput at saturation: low enough that queues
/// stay short, high enough that the servers are well used.
const RATE_SHARE: f64 = 0.6;

/// The highest CPU utilisation of server or client at the fixed rate. It is measured, because an
/// open-loop client wakes up for each request and so needs more CPU time than at saturation.
const MAX_BUSY: f64 = 0.95;

/// The factor by which an unsustainable rate is reduced.
const RATE_FACTOR: f64 = 0.85;

/// The limit on reductions: 0.85^8 is about a quarter.
const MAX_RATE_REDUCTIONS: usize = 8;

/// The result of a calibration.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Requests per second at the fixed rate.
    pub requests_per_second: f64,
    /// A description of how the rate was chosen.
    pub origin: String,
    /// The time a round takes in addition to its warm-up and its measurement.
    pub overhead: Duration,
}

/// Measures each arm once at saturation and derives the fixed rate, unless one is given.
///
/// # Errors
/// Returns a failure if a server does not start, or if an arm completes no request.
pub fn calibrate(runner: &BatchRunner, given: Option<f64>) -> Result<Calibration, Failure> {
    for arm in 0..runner.arms.len() {
        runner.observe_idle(arm)?;
    }
    let began = Instant::now();
    let mut slowest = f64::INFINITY;
    for arm in 0..runner.arms.len() {
        let round = measure_alone(runner, arm, LoadLevel::Saturation, 0.0, began)?;
        if round.requests == 0 {
            let label = &runner.arms[arm].description.label;
            let example =
                round.failures.example.clone().unwrap_or_else(|| "no request ended".to_owned());
            let advice = match round.failures.wrong_bytes {
                0 => "",
                _ => {
                    ". If its responses differ from start to start, try --verify body, status or none"
                }
            };
            return Err(Failure::Run(format!(
                "ringpoll compare: arm {label}: no request succeeded: {example}{advice}"
            )));
        }
        slowest = slowest.min(round.requests as f64 / (round.duration_ns as f64 / 1e9));
    }
    let measured = (runner.warm_up + runner.duration) * runner.arms.len() as u32;
    let overhead = began.elapsed().saturating_sub(measured) / runner.arms.len().max(1) as u32;
    if runner.client.is_stream() {
        // It is measured at saturation only.
        return Ok(Calibration { requests_per_second: slowest, origin: String::new(), overhead });
    }
    if let Some(rate) = given {
        let origin = "given by --rate".to_owned();
        return Ok(Calibration { requests_per_second: rate, origin, overhead });
    }
    let share = round_down_to_two_digits(slowest * RATE_SHARE);
    let requests_per_second = lower_until(share, |rate| is_sustainable(runner, rate, began))?;
    let mut origin = format!("{:.0}% of the slowest arm's throughput", RATE_SHARE * 100.0);
    if requests_per_second < share {
        origin = format!(
            "reduced from {share}, {origin}, at which a server or the client was too busy, or the \
             rate was not reached"
        );
    }
    Ok(Calibration { requests_per_second, origin, overhead })
}

fn measure_alone(
    runner: &BatchRunner,
    arm: usize,
    level: LoadLevel,
    rate: f64,
    began: Instant,
) -> Result<Round, Failure> {
    let alone = Batch::alone(arm, level, runner.slices(level, rate).1);
    runner.run(&alone, 0, rate, began)?.pop().ok_or_else(|| {
        Failure::Run("ringpoll compare: interrupted before anything was measured".to_owned())
    })
}

/// Returns true if every arm reaches the rate, and neither its server nor the client exceeds
/// [`MAX_BUSY`].
fn is_sustainable(runner: &BatchRunner, rate: f64, began: Instant) -> Result<bool, Failure> {
    for arm in 0..runner.arms.len() {
        let round = measure_alone(runner, arm, LoadLevel::FixedRate, rate, began)?;
        let busy = round.server.cpu_utilization.max(round.client.cpu_utilization);
        if busy > MAX_BUSY || !reaches_rate(&round, rate) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lower_until(
    mut rate: f64,
    mut is_good: impl FnMut(f64) -> Result<bool, Failure>,
) -> Result<f64, Failure> {
    for _ in 0..MAX_RATE_REDUCTIONS {
        if is_good(rate)? {
            break;
        }
        rate = round_down_to_two_digits(rate * RATE_FACTOR);
    }
    Ok(rate)
}

/// Rounds down to two significant digits: easy to read, and to pass to `--rate`.
fn round_down_to_two_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 1.0);
    ((rate / unit).floor() * unit).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_reduced_until_sustainable_or_the_limit_is_reached() {
        let until = |limit: f64| lower_until(100_000.0, |rate| Ok(rate <= limit)).unwrap();
        assert_eq!(until(100_000.0), 100_000.0);
        assert_eq!(until(99_999.0), 85_000.0);
        assert_eq!(until(62_000.0), 61_000.0);
        let mut calls = 0;
        let never = lower_until(1.0, |_| {
            calls += 1;
            Ok(false)
        });
        assert_eq!((never.unwrap(), calls), (1.0, MAX_RATE_REDUCTIONS));
        assert!(lower_until(1.0, |_| Err(Failure::Run("no".to_owned()))).is_err());
    }

    #[test]
    fn rates_are_rounded_down_to_two_digits() {
        assert_eq!(round_down_to_two_digits(15_732.0), 15_000.0);
        assert_eq!(round_down_to_two_digits(999.0), 990.0);
        assert_eq!(round_down_to_two_digits(123_456.0), 120_000.0);
        assert_eq!(round_down_to_two_digits(0.5), 1.0);
    }
}
