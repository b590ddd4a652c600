//! Check that results are of the same comparison.

use super::Named;
use crate::result::{Arm, ArmKind, ComparisonResult, Experiment, LoadLevel, Setting};

/// Compares all results with the first.
pub(super) fn check(all: &[Named]) -> Result<(), String> {
    let Some((first, others)) = all.split_first() else { return Ok(()) };
    let mut messages = Vec::new();
    for other in others {
        let problems = problems(&first.result, &other.result);
        messages.extend(
            problems.into_iter().map(|it| format!("  {} and {}: {it}", first.name, other.name)),
        );
    }
    if messages.is_empty() {
        return Ok(());
    }
    Err(format!(
        "these results are not comparable:\n{}\nUse results with the same arms, settings and loads.",
        messages.join("\n")
    ))
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
        let what = format!("load {}", one.load.description);
        compare_settings(&mut problems, &what, &one.load.parameters, &two.load.parameters);
        differ(&mut problems, "rate", given_rate(one), given_rate(two));
    }
    // Verdicts depend on these.
    let (one, two) = (&first.method, &other.method);
    differ(&mut problems, "confidence", one.confidence, two.confidence);
    differ(&mut problems, "negligible difference", one.negligible, two.negligible);
    differ(&mut problems, "equivalence", one.equivalence, two.equivalence);
    problems
}

/// Adds a message if two values differ, and returns true then.
fn differ<T: PartialEq + std::fmt::Display>(
    problems: &mut Vec<String>,
    what: &str,
    first: T,
    other: T,
) -> bool {
    let different = first != other;
    if different {
        problems.push(format!("{what}: {first} and {other}"));
    }
    different
}

fn labels(result: &ComparisonResult) -> String {
    result.arms.iter().map(|arm| arm.label.as_str()).collect::<Vec<_>>().join(", ")
}

fn loads(result: &ComparisonResult) -> String {
    let load = |experiment: &Experiment| match &experiment.sweep {
        Some(sweep) => format!("{} ({} = {})", experiment.load.description, sweep.key, sweep.value),
        None => format!("{}: {}", experiment.load.name, experiment.load.description),
    };
    result.experiments.iter().map(load).collect::<Vec<_>>().join("; ")
}

/// Returns the rate if it was set with `--rate`. A calibrated rate depends on the machine.
fn given_rate(experiment: &Experiment) -> String {
    let fixed = experiment.load_levels.iter().find(|it| it.load_level == LoadLevel::FixedRate);
    let given =
        fixed.filter(|it| it.rate_origin.as_deref().is_some_and(|it| it.contains("--rate")));
    match given.and_then(|it| it.requests_per_second) {
        Some(rate) => format!("{rate} requests/s"),
        None => "calibrated".to_owned(),
    }
}

fn compare_arms(problems: &mut Vec<String>, first: &Arm, other: &Arm) {
    let kind = |arm: &Arm| match arm.kind {
        ArmKind::Engine => "ringpoll engine",
        ArmKind::Command => "other program",
    };
    differ(problems, &first.label, kind(first), kind(other));
    // The command line of an engine has the path of ringpoll; its settings are compared below.
    if first.kind == ArmKind::Command {
        let command = |arm: &Arm| arm.command_line.join(" ");
        differ(problems, &first.label, command(first), command(other));
    }
    compare_settings(problems, &first.label, &first.settings, &other.settings);
}

fn compare_settings(problems: &mut Vec<String>, what: &str, first: &[Setting], other: &[Setting]) {
    let value_in = |settings: &[Setting], key: &str| {
        let found = settings.iter().find(|it| it.key == key);
        found.map_or_else(|| "unknown".to_owned(), |it| it.value.clone())
    };
    let only_in_other = other.iter().filter(|it| first.iter().all(|one| one.key != it.key));
    for setting in first.iter().chain(only_in_other) {
        let key = &setting.key;
        let what = format!("{what}: {key}");
        differ(problems, &what, value_in(first, key), value_in(other, key));
    }
}
