//! Path length: how many instructions a request takes the server, its kernel's and its own
//! together. It is a measure of the path, not of time: it knows no cache, no device, no waiting.
//! In return it repeats to a fraction of a percent on the noisiest machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use ringpoll_backends::Variant;
use serde::Serialize;

use crate::image::Image;
use crate::machine::{Acceleration, Boot};
use crate::matrix::side_by_side;
use crate::work::{CostPlan, Work};

/// What all output says.
pub(crate) const WHAT_IT_IS: &str =
    "instructions a request, kernel and user together: path length, not time";

const LIMIT: Duration = Duration::from_secs(400);

/// The same boot twice is the same to the instruction, which says nothing of what a change that
/// has nothing to do with the path can do to it. So each boot has a seed: the kernel takes its
/// command line for one of its random numbers, and the guest waits a little longer by it, so that
/// the ticks of its clock fall elsewhere.
pub(crate) const SEED: &str = "ringpoll_seed";

/// What is measured, under the name that the baseline has it by.
pub(crate) fn arm_name(variant: &str, at_once: usize) -> String {
    format!("{variant}, {at_once} at once")
}

pub(crate) fn work() -> Work {
    let plan = CostPlan {
        variants: Variant::ALL.iter().map(|variant| variant.name().to_owned()).collect(),
        loads: vec![1, 16],
        warm_up_requests: 200,
        requests: 1000,
        settle_ms: 1500,
    };
    Work { cost: Some(plan), ..Work::default() }
}

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

/// Of one variant under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Length {
    pub(crate) variant: String,
    pub(crate) at_once: usize,
    /// The mean of all boots.
    pub(crate) instructions_a_request: f64,
    /// From the smallest to the largest of them, as a share of the mean.
    pub(crate) spread: f64,
    pub(crate) each_boot: Vec<f64>,
}

/// Boots each kernel so many times and measures.
pub(crate) fn measure(
    images: &[Image],
    initramfs: &Path,
    boots: usize,
    directory: &Path,
) -> Vec<KernelLengths> {
    let boots = boots.max(1);
    let all: Vec<_> =
        images.iter().flat_map(|image| (0..boots).map(move |boot| (image, boot))).collect();
    let booted = side_by_side(&all, |&(image, number)| {
        let name = &image.kernel.name;
        println!("path length · {name}, boot {} of {boots}", number + 1);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration: Acceleration::CountedInstructions,
            limit: LIMIT,
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
        let name = arm_name(&cost.variant, cost.at_once);
        if let Some(refusal) = &cost.refused {
            self.problems.push(format!("{name}: {refusal}"));
            return;
        }
        let length = self.arms.entry(name).or_insert_with(|| Length {
            variant: cost.variant.clone(),
            at_once: cost.at_once,
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

/// One row for each kernel and load, one column for each variant.
pub(crate) fn table(all: &[KernelLengths]) -> String {
    let variants: Vec<_> = Variant::ALL.iter().map(|variant| variant.name()).collect();
    let mut table = Table::new();
    let header = ["kernel", "at once"].into_iter().chain(variants.iter().copied());
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header.chain(["spread"]));
    for kernel in all {
        let mut loads: Vec<_> = kernel.arms.values().map(|arm| arm.at_once).collect();
        loads.sort_unstable();
        loads.dedup();
        for at_once in loads {
            let arms = variants.iter().map(|it| kernel.arms.get(&arm_name(it, at_once)));
            let arms: Vec<_> = arms.collect();
            let spread = arms.iter().flatten().map(|arm| arm.spread).fold(0.0, f64::max);
            let mut row = vec![
                format!("{} ({})", kernel.kernel, kernel.package_version),
                at_once.to_string(),
            ];
            let cell = |arm: &Length| format!("{:.0}", arm.instructions_a_request);
            row.extend(arms.iter().map(|arm| arm.map_or("-".to_owned(), cell)));
            row.push(format!("{:.2} %", spread * 100.0));
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{WHAT_IT_IS}\n{table}")
}
