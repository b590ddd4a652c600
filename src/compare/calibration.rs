//! A short look at all arms before the experiment: which rate all of them can follow, how long a
//! round takes, and who is busy while nobody asks.

use std::time::{Duration, Instant};

use super::round::Course;
use super::schedule::Heat;
use crate::failure::Failure;
use crate::report::result::Point;

/// The share of what the slowest arm and the client can do together that is offered to all. Far
/// enough below that queues stay short, near enough that the server is at work.
const SHARE: f64 = 0.6;

/// What was found.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// The rate for the fixed working point.
    pub requests_per_second: f64,
    /// Where it comes from, in words.
    pub origin: String,
    /// What a round takes beyond its warm-up and its measured time.
    pub overhead: Duration,
}

/// Runs each arm once, saturated, and finds the rate, unless it is given.
///
/// # Errors
/// As a round: an engine that is refused is refused here, before anything is measured.
pub fn calibrate(course: &Course, given: Option<f64>) -> Result<Calibration, Failure> {
    let began = Instant::now();
    let mut slowest = f64::INFINITY;
    for arm in 0..course.contestants.len() {
        let alone = Heat::alone(arm, Point::Saturated, course.slices(Point::Saturated).1);
        let rounds = course.run(&alone, 0, 0.0, began)?;
        let Some(round) = rounds.first() else {
            return Err(Failure::Run(
                "ringpoll compare: interrupted before anything was measured".to_owned(),
            ));
        };
        if round.requests == 0 {
            let label = &course.contestants[arm].description.label;
            let example =
                round.failures.example.clone().unwrap_or_else(|| "no request ended".to_owned());
            return Err(Failure::Run(format!(
                "ringpoll compare: arm {label}: no request was answered: {example}"
            )));
        }
        slowest = slowest.min(round.requests as f64 / (round.duration_ns as f64 / 1e9));
    }
    let measured = (course.warm_up + course.duration) * course.contestants.len() as u32;
    let overhead =
        began.elapsed().saturating_sub(measured) / course.contestants.len().max(1) as u32;
    for arm in 0..course.contestants.len() {
        course.watch_at_rest(arm)?;
    }
    let (requests_per_second, origin) = match given {
        Some(rate) => (rate, "given by --rate".to_owned()),
        None => (
            two_digits(slowest * SHARE),
            format!("{:.0} % of what the slowest arm reached", SHARE * 100.0),
        ),
    };
    Ok(Calibration { requests_per_second, origin, overhead })
}

/// Rounds down to two digits that count: rates are easier to talk about, and to ask for again.
fn two_digits(rate: f64) -> f64 {
    let unit = 10_f64.powf(rate.log10().floor() - 1.0);
    ((rate / unit).floor() * unit).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_round() {
        assert_eq!(two_digits(15_732.0), 15_000.0);
        assert_eq!(two_digits(999.0), 990.0);
        assert_eq!(two_digits(123_456.0), 120_000.0);
        assert_eq!(two_digits(0.5), 1.0);
    }
}
