//! Whether results answer the same question.

use super::Named;
use crate::report::result::{Arm, ArmKind, ComparisonResult, Experiment, Point, Setting};

/// Holds all against the first.
pub(super) fn check(all: &[Named]) -> Result<(), String> {
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    let mut complaints = Vec::new();
    for other in others {
        let problems = problems(&first.result, &other.result);
        complaints.extend(
            problems.into_iter().map(|it| format!("  {} and {}: {it}", first.name, other.name)),
        );
    }
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!("these do not answer the same question:\n{}", complaints.join("\n")))
}

fn problems(first: &ComparisonResult, other: &ComparisonResult) -> Vec<String> {
    let mut problems = Vec::new();
    differ(&mut problems, "schema version", first.schema_version, other.schema_version);
    if differ(&mut problems, "arms", labels(first), labels(other)) {
        return problems;
    }
    for (one, two) in first.arms.iter().zip(&other.arms) {
        compare_arms(&mut problems, one, two);
    }
    if differ(&mut problems, "loads", loads(first), loads(other)) {
        return problems;
    }
    for (one, two) in first.experiments.iter().zip(&other.experiments) {
        let what = format!("load {}", one.load.text);
        compare_settings(&mut problems, &what, &one.load.parameters, &two.load.parameters);
        differ(&mut problems, "rate", given_rate(one), given_rate(two));
    }
    // The words of the verdicts would mean something else.
    let (one, two) = (&first.method, &other.method);
    differ(&mut problems, "confidence", one.confidence, two.confidence);
    differ(&mut problems, "negligible difference", one.negligible, two.negligible);
    differ(&mut problems, "equivalence", one.equivalence, two.equivalence);
    problems
}

/// Notes it if two things are not the same, and returns whether.
fn differ<T: PartialEq + std::fmt::Display>(
    problems: &mut Vec<String>,
    what: &str,
    first: T,
    other: T,
) -> bool {
    let different = first != other;
    if different {
        problems.push(format!("{what}: {first} there, {other} here"));
    }
    different
}

fn labels(result: &ComparisonResult) -> String {
    result.arms.iter().map(|arm| arm.label.as_str()).collect::<Vec<_>>().join(", ")
}

fn loads(result: &ComparisonResult) -> String {
    let load = |experiment: &Experiment| match &experiment.sweep {
        Some(sweep) => format!("{} ({} = {})", experiment.load.text, sweep.key, sweep.value),
        None => format!("{}: {}", experiment.load.name, experiment.load.text),
    };
    result.experiments.iter().map(load).collect::<Vec<_>>().join("; ")
}

/// A rate that was found by calibration suits its machine; one that was asked for is the load.
fn given_rate(experiment: &Experiment) -> String {
    let fixed = experiment.working_points.iter().find(|it| it.point == Point::FixedRate);
    let given =
        fixed.filter(|it| it.rate_origin.as_deref().is_some_and(|it| it.contains("--rate")));
    match given.and_then(|it| it.requests_per_second) {
        Some(rate) => format!("{rate} requests/s"),
        None => "calibrated".to_owned(),
    }
}

fn compare_arms(problems: &mut Vec<String>, first: &Arm, other: &Arm) {
    let kind = |arm: &Arm| match arm.kind {
        ArmKind::Engine => "an engine",
        ArmKind::Command => "another program",
    };
    differ(problems, &first.label, kind(first), kind(other));
    // An engine is started from wherever this program lies; its settings tell what it does.
    if first.kind == ArmKind::Command {
        let command = |arm: &Arm| arm.command_line.join(" ");
        differ(problems, &first.label, command(first), command(other));
    }
    compare_settings(problems, &first.label, &first.settings, &other.settings);
}

fn compare_settings(problems: &mut Vec<String>, what: &str, first: &[Setting], other: &[Setting]) {
    let value_in = |settings: &[Setting], key: &str| {
        let found = settings.iter().find(|it| it.key == key);
        found.map_or_else(|| "not known".to_owned(), |it| it.value.clone())
    };
    let only_there = other.iter().filter(|it| first.iter().all(|one| one.key != it.key));
    for setting in first.iter().chain(only_there) {
        let key = &setting.key;
        let what = format!("{what}: {key}");
        differ(problems, &what, value_in(first, key), value_in(other, key));
    }
}
