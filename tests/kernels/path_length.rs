//! Path length: how many instructions a request takes the server, its kernel's and its own
//! together. It is a measure of the path, not of time: it knows no cache, no device, no waiting.
//! In return it repeats to a fraction of a percent on the noisiest machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::arms;
use crate::image::Image;
use crate::machine::{Acceleration, Boot};
use crate::matrix::side_by_side;
use crate::work::{CostArm, CostPlan};

/// What all output says.
pub(crate) const WHAT_IT_IS: &str =
    "instructions a request, kernel and user together: path length, not time";

/// A quiet machine takes three to four seconds for an arm; slow and busy ones many times as long,
/// which says nothing of what is measured. It only ends what does not end.
const LIMIT_FOR_AN_ARM: Duration = Duration::from_secs(60);

/// The same boot twice is the same to the instruction, which says nothing of what a change that
/// has nothing to do with the path can do to it. So each boot has a seed: the kernel takes its
/// command line for one of its random numbers, and the guest waits a little longer by it, so that
/// the ticks of its clock fall elsewhere.
pub(crate) const SEED: &str = "ringpoll_seed";

/// What several boots of one kernel gave.
#[derive(Debug, Serialize)]
pub(crate) struct KernelLengths {
    pub(crate) kernel: String,
    pub(crate) package: String,
    pub(crate) package_version: String,
    pub(crate) boots: usize,
    pub(crate) arms: BTreeMap<String, Length>,
    pub(crate) problems: Vec<String>,
}

/// Of one server under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Length {
    pub(crate) server: String,
    pub(crate) load: String,
    /// The mean of all boots.
    pub(crate) instructions_a_request: f64,
    /// From the smallest to the largest of them, as a share of the mean.
    pub(crate) spread: f64,
    pub(crate) each_boot: Vec<f64>,
}

/// Boots each kernel so many times and measures what the archive has been made for.
pub(crate) fn measure(
    images: &[Image],
    initramfs: &Path,
    plan: &CostPlan,
    boots: usize,
    directory: &Path,
) -> Vec<KernelLengths> {
    let boots = boots.max(1);
    let limit = LIMIT_FOR_AN_ARM * plan.arms.len() as u32;
    let all: Vec<_> =
        images.iter().flat_map(|image| (0..boots).map(move |boot| (image, boot))).collect();
    let booted = side_by_side(&all, |&(image, number)| {
        let name = &image.kernel.name;
        println!("path length · {name}, boot {} of {boots}", number + 1);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration: Acceleration::CountedInstructions,
            limit,
            parameters: format!("{SEED}={number}"),
            directory: directory.join("runs").join(format!("{name}-path-length-{number}")),
        };
        boot.run()
    });
    let mut booted = booted.into_iter();
    images
        .iter()
        .map(|image| {
            let mut lengths = KernelLengths {
                kernel: image.kernel.name.clone(),
                package: image.package.name.clone(),
                package_version: image.package.version.clone(),
                boots,
                arms: BTreeMap::new(),
                problems: Vec::new(),
            };
            for boot in booted.by_ref().take(boots) {
                match boot {
                    Ok(boot) => {
                        lengths.problems.extend(boot.complaints);
                        boot.results.costs.iter().for_each(|cost| lengths.add(cost));
                    }
                    Err(error) => lengths.problems.push(error),
                }
            }
            lengths.arms.values_mut().for_each(Length::finish);
            lengths
        })
        .collect()
}

impl KernelLengths {
    fn add(&mut self, cost: &crate::work::Cost) {
        let (name, arm) = (cost.arm.name(), &cost.arm);
        if let Some(refusal) = &cost.refused {
            self.problems.push(format!("{name}: {refusal}"));
            return;
        }
        let length = self.arms.entry(name).or_insert_with(|| Length {
            server: arm.server.clone(),
            load: arm.load.to_string(),
            instructions_a_request: 0.0,
            spread: 0.0,
            each_boot: Vec::new(),
        });
        length.each_boot.push(cost.nanoseconds as f64 / cost.requests as f64);
    }
}

impl Length {
    fn finish(&mut self) {
        let each = &self.each_boot;
        let mean = each.iter().sum::<f64>() / each.len() as f64;
        let most = each.iter().copied().fold(f64::MIN, f64::max);
        let least = each.iter().copied().fold(f64::MAX, f64::min);
        (self.instructions_a_request, self.spread) = (mean, (most - least) / mean);
    }
}

/// What several arms have in common, in the order of the plan and each once.
pub(crate) fn distinct(plan: &CostPlan, part: impl Fn(&CostArm) -> String) -> Vec<String> {
    let mut all = Vec::new();
    for arm in &plan.arms {
        let it = part(arm);
        if !all.contains(&it) {
            all.push(it);
        }
    }
    all
}

/// One row for each kernel and load, one column for each server.
pub(crate) fn table(all: &[KernelLengths], plan: &CostPlan) -> String {
    let servers = distinct(plan, |arm| arm.server.clone());
    let loads = distinct(plan, |arm| arm.load.to_string());
    let mut table = Table::new();
    let header = ["kernel", "load"].into_iter().chain(servers.iter().map(String::as_str));
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.chain(["spread"]));
    for kernel in all {
        for load in &loads {
            let arms = servers.iter().map(|it| kernel.arms.get(&format!("{it}, {load}")));
            let arms: Vec<_> = arms.collect();
            let spread = arms.iter().flatten().map(|arm| arm.spread).fold(0.0, f64::max);
            let mut row =
                vec![format!("{} ({})", kernel.kernel, kernel.package_version), load.clone()];
            let cell = |arm: &Length| format!("{:.0}", arm.instructions_a_request);
            row.extend(arms.iter().map(|arm| arm.map_or("-".to_owned(), cell)));
            row.push(format!("{:.2} %", spread * 100.0));
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{WHAT_IT_IS}\n{table}")
}

/// One row for each way of having techniques, one column for each kernel and life: the
/// instructions, and how many more they are than without the difference.
pub(crate) fn technique_table(all: &[KernelLengths]) -> String {
    let lives = arms::lives();
    let mut table = Table::new();
    let columns = all.iter().flat_map(|kernel| {
        lives.iter().map(move |(life, _, load)| (kernel, life.as_str(), load.to_string()))
    });
    let columns: Vec<_> = columns.collect();
    let header = columns.iter().map(|(kernel, life, _)| format!("{}, {life}", kernel.kernel));
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["io_uring:tuned".to_owned()].into_iter().chain(header));
    for way in arms::ways() {
        let reference = arms::reference_of(&way.name);
        let mut row = vec![way.name.clone()];
        row.extend(columns.iter().map(|(kernel, life, load)| {
            let find = |way: &str| {
                let server = arms::technique_server(way, life);
                Some(kernel.arms.get(&format!("{server}, {load}"))?.instructions_a_request)
            };
            match (find(&way.name), find(reference)) {
                (Some(it), _) if way.name == reference => format!("{it:.0}"),
                (Some(it), Some(than)) => format!("{it:.0} {:+.2} %", (it / than - 1.0) * 100.0),
                _ => "-".to_owned(),
            }
        }));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{WHAT_IT_IS}\n{table}")
}
