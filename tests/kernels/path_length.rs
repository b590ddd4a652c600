//! Path length: instructions per request of the server, in kernel and user mode. It does not
//! measure time: caches, devices and waiting have no effect. In return it is reproducible on any
//! machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::image::Image;
use crate::machine::{Acceleration, Boot};
use crate::matrix::run_parallel;
use crate::path_length_arms;
use crate::work::{PathLengthArm, PathLengthPlan, PathLengthSample};

pub(crate) const CAPTION: &str =
    "instructions per request, kernel and user together: path length, not time";

/// Generous: it only has to end a guest that hangs.
const ARM_TIMEOUT: Duration = Duration::from_secs(60);

/// Kernel parameter that varies the boots. Two equal boots execute equal instructions, which would
/// hide the variance that an unrelated change can cause. The kernel mixes its command line into its
/// random numbers, and the guest delays its work by the seed, which shifts the timer ticks.
pub(crate) const SEED: &str = "ringpoll_seed";

/// Path lengths of one kernel over several boots.
#[derive(Debug, Serialize)]
pub(crate) struct KernelLengths {
    pub(crate) kernel: String,
    pub(crate) package: String,
    pub(crate) package_version: String,
    pub(crate) boots: usize,
    pub(crate) arms: BTreeMap<String, Length>,
    pub(crate) problems: Vec<String>,
}

/// Path length of one server under one load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Length {
    pub(crate) server: String,
    pub(crate) load: String,
    /// Mean of all boots.
    pub(crate) instructions_per_request: f64,
    /// Largest minus smallest, relative to the mean.
    pub(crate) spread: f64,
    pub(crate) per_boot: Vec<f64>,
}

/// Boots each kernel `boots` times and collects the path lengths of `plan`, which the initramfs
/// contains.
pub(crate) fn measure(
    images: &[Image],
    initramfs: &Path,
    plan: &PathLengthPlan,
    boots: usize,
    directory: &Path,
) -> Vec<KernelLengths> {
    let boots = boots.max(1);
    let limit = ARM_TIMEOUT * plan.arms.len() as u32;
    let all: Vec<_> =
        images.iter().flat_map(|image| (0..boots).map(move |boot| (image, boot))).collect();
    let booted = run_parallel(&all, |&(image, number)| {
        let name = &image.kernel.name;
        println!("path length · {name}, boot {} of {boots}", number + 1);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration: Acceleration::CountedInstructions,
            timeout: limit,
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
                        lengths.problems.extend(boot.kernel_warnings);
                        boot.results.path_lengths.iter().for_each(|it| lengths.add(it));
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
    fn add(&mut self, sample: &PathLengthSample) {
        let (name, arm) = (sample.arm.name(), &sample.arm);
        if let Some(error) = &sample.error {
            self.problems.push(format!("{name}: {error}"));
            return;
        }
        let length = self.arms.entry(name).or_insert_with(|| Length {
            server: arm.server.clone(),
            load: arm.load.to_string(),
            instructions_per_request: 0.0,
            spread: 0.0,
            per_boot: Vec::new(),
        });
        length.per_boot.push(sample.nanoseconds as f64 / sample.requests as f64);
    }
}

impl Length {
    fn finish(&mut self) {
        let each = &self.per_boot;
        let mean = each.iter().sum::<f64>() / each.len() as f64;
        let max = each.iter().copied().fold(f64::MIN, f64::max);
        let min = each.iter().copied().fold(f64::MAX, f64::min);
        (self.instructions_per_request, self.spread) = (mean, (max - min) / mean);
    }
}

/// Returns the distinct values of `part` over all arms, in the order of the plan.
pub(crate) fn distinct(
    plan: &PathLengthPlan,
    part: impl Fn(&PathLengthArm) -> String,
) -> Vec<String> {
    let mut all = Vec::new();
    for arm in &plan.arms {
        let it = part(arm);
        if !all.contains(&it) {
            all.push(it);
        }
    }
    all
}

/// Formats one row for each kernel and load, one column for each server.
pub(crate) fn table(all: &[KernelLengths], plan: &PathLengthPlan) -> String {
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
            let cell = |arm: &Length| format!("{:.0}", arm.instructions_per_request);
            row.extend(arms.iter().map(|arm| arm.map_or("-".to_owned(), cell)));
            row.push(format!("{:.2} %", spread * 100.0));
            table.add_row(row);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{CAPTION}\n{table}")
}

/// Formats one row for each set of techniques, one column for each kernel and load: the
/// instructions, and the change from the set that it is compared with.
pub(crate) fn technique_table(all: &[KernelLengths]) -> String {
    let loads = path_length_arms::loads();
    let mut table = Table::new();
    let columns = all.iter().flat_map(|kernel| {
        loads.iter().map(move |(name, _, load)| (kernel, name.as_str(), load.to_string()))
    });
    let columns: Vec<_> = columns.collect();
    let header = columns.iter().map(|(kernel, name, _)| format!("{}, {name}", kernel.kernel));
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["io_uring:tuned".to_owned()].into_iter().chain(header));
    for set in path_length_arms::technique_sets() {
        let reference = path_length_arms::reference_of(&set.name);
        let mut row = vec![set.name.clone()];
        row.extend(columns.iter().map(|(kernel, name, load)| {
            let find = |set: &str| {
                let server = path_length_arms::server_name(set, name);
                Some(kernel.arms.get(&format!("{server}, {load}"))?.instructions_per_request)
            };
            match (find(&set.name), find(reference)) {
                (Some(it), _) if set.name == reference => format!("{it:.0}"),
                (Some(it), Some(than)) => format!("{it:.0} {:+.2} %", (it / than - 1.0) * 100.0),
                _ => "-".to_owned(),
            }
        }));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{CAPTION}\n{table}")
}
