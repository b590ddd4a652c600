//! Several results of the same comparison side by side, on different kernels or machines.
//!
//! Results are never pooled. Results of different comparisons are refused. Results of emulated CPUs
//! are in separate tables, because their times are not those of a real machine.

mod comparable;
mod table;

use crate::result::{Comparison, ComparisonResult, Environment, Experiment, MetricResult, Outcome};

pub use table::render;

/// A result and its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Name of the file.
    pub name: String,
    /// Content of the file.
    pub result: ComparisonResult,
}

/// Results of the same comparison, in the order of the command line.
#[derive(Clone, Debug)]
pub struct SideBySide<'results> {
    /// All results.
    pub all: &'results [Named],
}

/// One metric of one pair of arms under one load, in all results.
#[derive(Clone, Debug)]
pub struct Group<'results> {
    /// True for results of emulated CPUs.
    pub emulated: bool,
    /// First result, used for the properties that all have in common.
    pub result: &'results ComparisonResult,
    /// Experiment of the first result.
    pub experiment: &'results Experiment,
    /// Comparison of the first result.
    pub comparison: &'results Comparison,
    /// Metric of the first result.
    pub metric: &'results MetricResult,
    /// One row per result.
    pub rows: Vec<Row<'results>>,
}

/// One of the results in a [`Group`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'results> {
    /// Index in [`SideBySide::all`].
    pub index: usize,
    /// The result.
    pub named: &'results Named,
    /// Experiment in the result.
    pub experiment: &'results Experiment,
    /// Indices of experiment, comparison and metric in the result.
    pub indices: [usize; 3],
    /// Metric in the result.
    pub metric: &'results MetricResult,
}

impl Row<'_> {
    /// Returns true if a gate has invalidated the experiment.
    pub fn is_invalid(&self) -> bool {
        self.experiment.outcome == Outcome::Invalid
    }

    /// Returns kernel and CPU: `6.18.44 · AMD EPYC`.
    pub fn machine(&self) -> String {
        let environment = &self.named.result.environment;
        format!("{} · {}", environment.kernel_release, environment.cpu.model)
    }
}

impl<'results> SideBySide<'results> {
    /// Puts results side by side.
    ///
    /// # Errors
    /// Returns all differences between the results that make them not comparable.
    pub fn new(all: &'results [Named]) -> Result<Self, String> {
        comparable::check(all)?;
        Ok(Self { all })
    }

    /// Returns the primary metrics first, and results of real CPUs before those of emulated ones.
    pub fn groups(&self) -> Vec<Group<'results>> {
        let mut groups = Vec::new();
        for emulated in [false, true] {
            let chosen: Vec<(usize, &Named)> = self
                .all
                .iter()
                .enumerate()
                .filter(|(_, named)| is_emulated(&named.result.environment) == emulated)
                .collect();
            groups.extend(groups_of(&chosen, emulated));
        }
        groups
    }
}

fn groups_of<'results>(
    chosen: &[(usize, &'results Named)],
    emulated: bool,
) -> Vec<Group<'results>> {
    let Some((_, Named { result, .. })) = chosen.first() else { return Vec::new() };
    let mut groups = Vec::new();
    for (at_experiment, experiment) in result.experiments.iter().enumerate() {
        for (at_comparison, comparison) in experiment.comparisons.iter().enumerate() {
            for metric in &comparison.metrics {
                let row = |&(index, named): &(usize, &'results Named)| {
                    row(index, named, [at_experiment, at_comparison], metric)
                };
                let rows = chosen.iter().filter_map(row).collect();
                groups.push(Group { emulated, result, experiment, comparison, metric, rows });
            }
        }
    }
    groups.sort_by_key(|group| !group.metric.is_primary);
    groups
}

fn row<'results>(
    index: usize,
    named: &'results Named,
    [at_experiment, at_comparison]: [usize; 2],
    wanted: &MetricResult,
) -> Option<Row<'results>> {
    let experiment = named.result.experiments.get(at_experiment)?;
    let metrics = &experiment.comparisons.get(at_comparison)?.metrics;
    let at_metric = metrics.iter().position(|it| it.at() == wanted.at())?;
    let indices = [at_experiment, at_comparison, at_metric];
    Some(Row { index, named, experiment, indices, metric: &metrics[at_metric] })
}

/// Returns true if the CPU was emulated in software. The model names of QEMU's emulator (TCG) start
/// with `QEMU`, as do some of QEMU with KVM.
pub fn is_emulated(environment: &Environment) -> bool {
    let virtualisation = environment.virtualisation.to_lowercase();
    let emulator = ["tcg", "emulated"].iter().any(|word| virtualisation.contains(word));
    emulator || (environment.cpu.model.starts_with("QEMU") && !virtualisation.contains("kvm"))
}
