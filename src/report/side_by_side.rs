//! Several results beside each other: the same question, asked of several kernels or machines.
//!
//! Nothing is ever pooled into one figure. Results that do not answer the same question are
//! refused, and those of an emulated processor stand apart: time there is not time elsewhere.

mod comparable;
mod table;

use super::result::{Comparison, ComparisonResult, Environment, Experiment, MetricResult, Outcome};

pub(super) use table::quantity;
pub use table::render;

/// A result and what it is called here.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its file.
    pub name: String,
    /// What was read from it.
    pub result: ComparisonResult,
}

/// Results that answer the same question, in the order in which they were named.
#[derive(Clone, Debug)]
pub struct SideBySide<'results> {
    /// All of them.
    pub all: &'results [Named],
}

/// The same metric of the same arms under the same load, in one result after the other.
#[derive(Clone, Debug)]
pub struct Group<'results> {
    /// Whether these were measured on emulated processors.
    pub emulated: bool,
    /// What they have in common, from the first of them.
    pub result: &'results ComparisonResult,
    /// Likewise.
    pub experiment: &'results Experiment,
    /// Likewise.
    pub comparison: &'results Comparison,
    /// Likewise.
    pub metric: &'results MetricResult,
    /// Result by result.
    pub rows: Vec<Row<'results>>,
}

/// One of the results in a [`Group`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'results> {
    /// Its place in [`SideBySide::all`].
    pub index: usize,
    /// Where it comes from.
    pub named: &'results Named,
    /// The experiment in it.
    pub experiment: &'results Experiment,
    /// The places of experiment, comparison and metric in it.
    pub places: [usize; 3],
    /// What it says.
    pub metric: &'results MetricResult,
}

impl Row<'_> {
    /// Whether nothing of this experiment can be trusted.
    pub fn is_invalid(&self) -> bool {
        self.experiment.outcome == Outcome::Invalid
    }

    /// `6.18.44 · AMD EPYC`.
    pub fn where_words(&self) -> String {
        let environment = &self.named.result.environment;
        format!("{} · {}", environment.kernel_release, environment.cpu.model)
    }
}

impl<'results> SideBySide<'results> {
    /// Puts them side by side.
    ///
    /// # Errors
    /// When they cannot be compared: which of them, and all that is different.
    pub fn new(all: &'results [Named]) -> Result<Self, String> {
        comparable::check(all)?;
        Ok(Self { all })
    }

    /// The metrics that decide first, then all others; measured ones before emulated ones.
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
    groups.sort_by_key(|group| !group.metric.decides);
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
    let same = |it: &MetricResult| (it.metric, it.point) == (wanted.metric, wanted.point);
    let at_metric = metrics.iter().position(same)?;
    let places = [at_experiment, at_comparison, at_metric];
    Some(Row { index, named, experiment, places, metric: &metrics[at_metric] })
}

/// Whether the processor was emulated, instruction by instruction. QEMU's emulator gives itself
/// away by the name of its processors; the same name under KVM is a real one.
pub fn is_emulated(environment: &Environment) -> bool {
    let virtualisation = environment.virtualisation.to_lowercase();
    let emulator = ["tcg", "emulated"].iter().any(|word| virtualisation.contains(word));
    emulator || (environment.cpu.model.starts_with("QEMU") && !virtualisation.contains("kvm"))
}
