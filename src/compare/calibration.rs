//! A short look at all arms before the experiment: which rate all of them can follow, how long a
//! round takes, and who is busy while nobody asks.

use std::time::{Duration, Instant};

use super::round::Course;
use super::schedule::Heat;
use crate::failure::Failure;
use crate::report::result::{Point, Round};

/// The share of what the slowest arm and the client can do together that is offered to all. Far
/// enough below that queues stay short, near enough that the server is at work.
const SHARE: f64 = 0.6;

/// At a fixed rate neither the server nor the client may be busier than this. A client that has to
/// be there when each request is due needs more time than one that is always late, so what both
/// reach at saturation does not tell.
const BUSY: f64 = 0.95;

/// By which the rate is lowered when it leaves no time.
const LOWER: f64 = 0.85;

/// How often, at the most: 0.85^8 is a quarter.
const MOST_LOWERED: usize = 8;

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
        let round = round_of(course, arm, Point::Saturated, 0.0, began)?;
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
    if let Some(rate) = given {
        let origin = "given by --rate".to_owned();
        return Ok(Calibration { requests_per_second: rate, origin, overhead });
    }
    let share = two_digits(slowest * SHARE);
    let requests_per_second = lowered_until(share, |rate| leaves_time(course, rate, began))?;
    let mut origin = format!("{:.0} % of what the slowest arm reached", SHARE * 100.0);
    if requests_per_second < share {
        origin = format!("{origin} is {share}, which left server or client no time");
    }
    Ok(Calibration { requests_per_second, origin, overhead })
}

fn round_of(
    course: &Course,
    arm: usize,
    point: Point,
    rate: f64,
    began: Instant,
) -> Result<Round, Failure> {
    let alone = Heat::alone(arm, point, course.slices(point).1);
    course.run(&alone, 0, rate, began)?.pop().ok_or_else(|| {
        Failure::Run("ringpoll compare: interrupted before anything was measured".to_owned())
    })
}

/// Whether neither side is too busy at this rate, whichever arm it is.
fn leaves_time(course: &Course, rate: f64, began: Instant) -> Result<bool, Failure> {
    for arm in 0..course.contestants.len() {
        let round = round_of(course, arm, Point::FixedRate, rate, began)?;
        if round.server.busy.max(round.client.busy) > BUSY {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lowered_until(
    mut rate: f64,
    mut is_good: impl FnMut(f64) -> Result<bool, Failure>,
) -> Result<f64, Failure> {
    for _ in 0..MOST_LOWERED {
        if is_good(rate)? {
            break;
        }
        rate = two_digits(rate * LOWER);
    }
    Ok(rate)
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
    fn a_rate_is_lowered_until_it_leaves_time_or_it_is_enough() {
        let until = |most: f64| lowered_until(100_000.0, |rate| Ok(rate <= most)).unwrap();
        assert_eq!(until(100_000.0), 100_000.0);
        assert_eq!(until(99_999.0), 85_000.0);
        assert_eq!(until(62_000.0), 61_000.0);
        let mut asked = 0;
        let never = lowered_until(1.0, |_| {
            asked += 1;
            Ok(false)
        });
        assert_eq!((never.unwrap(), asked), (1.0, MOST_LOWERED));
        assert!(lowered_until(1.0, |_| Err(Failure::Run("no".to_owned()))).is_err());
    }

    #[test]
    fn rates_are_round() {
        assert_eq!(two_digits(15_732.0), 15_000.0);
        assert_eq!(two_digits(999.0), 990.0);
        assert_eq!(two_digits(123_456.0), 120_000.0);
        assert_eq!(two_digits(0.5), 1.0);
    }
}
