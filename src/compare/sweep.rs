//! `--sweep connections=1,16,64`: a comparison at each value, and the crossover map of the winners.

use std::str::FromStr;

use super::metrics::primary_metric;
use crate::result::{
    Arm, CrossoverCell, CrossoverMap, Experiment, LoadLevel, MetricResult, Outcome,
};

/// A swept parameter and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// A parameter of the load, or a configuration key.
    pub key: String,
    /// The values in the order given.
    pub values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a sweep such as connections=1,16,64, not {text}");
        let (key, values) = text.split_once('=').ok_or_else(expected)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(expected());
        }
        Ok(Self { key: key.trim().replace('-', "_"), values })
    }
}

/// Builds the crossover map.
pub fn crossover(
    key: &str,
    arms: &[Arm],
    experiments: &[Experiment],
    load_levels: &[LoadLevel],
) -> CrossoverMap {
    let cells: Vec<CrossoverCell> = experiments.iter().map(cell).collect();
    let sentence = sentence(key, arms, &cells);
    let primary = cells.iter().flat_map(|it| &it.results).next();
    CrossoverMap {
        key: key.to_owned(),
        metric: primary.map_or_else(|| primary_metric(load_levels), MetricResult::at),
        cells,
        conclusion: sentence,
    }
}

fn cell(experiment: &Experiment) -> CrossoverCell {
    let primary = |results: &[MetricResult]| results.iter().find(|it| it.is_primary).cloned();
    CrossoverCell {
        value: experiment.sweep.as_ref().map_or_else(String::new, |sweep| sweep.value.clone()),
        winner: match experiment.outcome {
            Outcome::Winner { arm } => Some(arm),
            _ => None,
        },
        results: experiment.comparisons.iter().filter_map(|it| primary(&it.metrics)).collect(),
    }
}

/// Returns `Winner by connections: 1 to 16 epoll:level, 64 none, 256 to 1024 io_uring:tuned.`
fn sentence(key: &str, arms: &[Arm], cells: &[CrossoverCell]) -> String {
    let mut ranges: Vec<(&str, &str, Option<usize>)> = Vec::new();
    for cell in cells {
        match ranges.last_mut() {
            Some((_, last, winner)) if *winner == cell.winner => *last = &cell.value,
            _ => ranges.push((&cell.value, &cell.value, cell.winner)),
        }
    }
    let parts = ranges.iter().map(|&(first, last, winner)| {
        let values = if first == last { first.to_owned() } else { format!("{first} to {last}") };
        let winner = winner.map_or("none", |arm| arms[arm].label.as_str());
        format!("{values} {winner}")
    });
    format!("Winner by {key}: {}.", parts.collect::<Vec<_>>().join(", "))
}

/// Returns the common outcome of all experiments, or [`Outcome::Depends`].
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
    fn sweeps_are_parsed() {
        let sweep: Sweep = "connections=1, 16,64".parse().unwrap();
        assert_eq!((sweep.key.as_str(), sweep.values.len()), ("connections", 3));
        let sweep: Sweep = "message-bytes=1".parse().unwrap();
        assert_eq!(sweep.key, "message_bytes");
        for wrong in ["connections", "=1,2", "connections=", "connections=1,,2"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn neighbours_with_the_same_winner_form_a_range() {
        let cells = [
            cell("1", Some(0)),
            cell("16", Some(0)),
            cell("64", None),
            cell("256", Some(1)),
            cell("1024", Some(1)),
        ];
        let sentence = sentence("connections", &synthetic::arms(2), &cells);
        assert_eq!(sentence, "Winner by connections: 1 to 16 A, 64 none, 256 to 1024 B.");
    }
}
