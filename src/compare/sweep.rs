//! `--sweep connections=1,16,64`: the same comparison under several loads, and the map of where
//! which arm wins.

use std::str::FromStr;

use super::metrics::deciding_metric;
use crate::report::result::{
    Arm, CrossoverCell, CrossoverMap, Experiment, MetricResult, Outcome, Point,
};

/// What is swept, and over which values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// A parameter of the load, or a key of the configuration.
    pub key: String,
    /// Its values, in order.
    pub values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("a sweep such as connections=1,16,64 is expected, not {text}");
        let (key, values) = text.split_once('=').ok_or_else(expected)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(expected());
        }
        Ok(Self { key: key.trim().to_owned(), values })
    }
}

/// Draws the map.
pub fn crossover(
    key: &str,
    arms: &[Arm],
    experiments: &[Experiment],
    points: &[Point],
) -> CrossoverMap {
    let cells: Vec<CrossoverCell> = experiments.iter().map(cell).collect();
    let sentence = sentence(key, arms, &cells);
    CrossoverMap { key: key.to_owned(), metric: deciding_metric(points), cells, sentence }
}

fn cell(experiment: &Experiment) -> CrossoverCell {
    let deciding = |results: &[MetricResult]| results.iter().find(|it| it.decides).cloned();
    CrossoverCell {
        value: experiment.sweep.as_ref().map_or_else(String::new, |sweep| sweep.value.clone()),
        winner: match experiment.outcome {
            Outcome::Winner { arm } => Some(arm),
            _ => None,
        },
        results: experiment.comparisons.iter().filter_map(|it| deciding(&it.metrics)).collect(),
    }
}

/// `connections: 1 to 16 epoll:level, 64 none, 256 to 1024 io_uring:single_shot.`
fn sentence(key: &str, arms: &[Arm], cells: &[CrossoverCell]) -> String {
    let mut stretches: Vec<(&str, &str, Option<usize>)> = Vec::new();
    for cell in cells {
        match stretches.last_mut() {
            Some((_, last, winner)) if *winner == cell.winner => *last = &cell.value,
            _ => stretches.push((&cell.value, &cell.value, cell.winner)),
        }
    }
    let words = stretches.iter().map(|&(first, last, winner)| {
        let values = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        let winner = winner.map_or("none", |arm| arms[arm].label.as_str());
        format!("{values} {winner}")
    });
    format!("Better by {key}: {}.", words.collect::<Vec<_>>().join(", "))
}

/// What all experiments of a sweep come to.
pub fn outcome(experiments: &[Experiment]) -> Outcome {
    match experiments {
        [] => Outcome::Inconclusive,
        [first, others @ ..] if others.iter().all(|it| it.outcome == first.outcome) => {
            first.outcome
        }
        all if all.iter().all(|it| it.outcome == Outcome::Invalid) => Outcome::Invalid,
        _ => Outcome::Depends,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::synthetic;

    fn cell(value: &str, winner: Option<usize>) -> CrossoverCell {
        CrossoverCell { value: value.to_owned(), winner, results: Vec::new() }
    }

    #[test]
    fn sweeps_are_read() {
        let sweep: Sweep = "connections=1, 16,64".parse().unwrap();
        assert_eq!((sweep.key.as_str(), sweep.values.len()), ("connections", 3));
        for wrong in ["connections", "=1,2", "connections=", "connections=1,,2"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn neighbours_with_the_same_winner_are_told_together() {
        let cells = [
            cell("1", Some(0)),
            cell("16", Some(0)),
            cell("64", None),
            cell("256", Some(1)),
            cell("1024", Some(1)),
        ];
        let sentence = sentence("connections", &synthetic::arms(2), &cells);
        assert_eq!(sentence, "Better by connections: 1 to 16 A, 64 none, 256 to 1024 B.");
    }
}
