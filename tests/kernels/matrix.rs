//! The matrix: the same programs on each kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use ringpoll_backends::Variant;

use crate::expectations;
use crate::image::Image;
use crate::machine::{Acceleration, Boot, Booted};
use crate::summary::{KernelSummary, Summary};
use crate::work::{Suite, Work};

/// Generous: without KVM a guest is many times slower than the host.
const TIMEOUT: Duration = Duration::from_secs(1200);
const FULL_TIMEOUT: Duration = Duration::from_secs(3000);

/// Conformance tests of the bounded form; the full form runs all.
const BOUNDED_SCENARIOS: &str = "in_process::lingering";

/// Unit tests of the backends on a real ring that the bounded form runs.
const BOUNDED_UNIT_TESTS: &[&str] =
    &["io_uring::ring::", "io_uring::recv_slab::", "io_uring::teardown::"];

/// Tests with injected faults that the bounded form runs.
const BOUNDED_FAULTS: &[&str] = &[
    "fallback_to_shutdown_call_",
    "forced_stop_",
    "failed_enter_",
    "several_",
    "result_of_cancel_",
    "operation_without_f_more_",
    "uncancellable_operations_",
    "missing_shutdown_operation_",
];

/// Returns the work of every guest.
pub(crate) fn work(all: bool) -> Work {
    let arm = |variant: &Variant| match all {
        true => format!("{variant}::"),
        false => format!("{variant}::{BOUNDED_SCENARIOS}::"),
    };
    let limit_s = if all { 1500 } else { 600 };
    let conformance = Variant::ALL.iter().map(|variant| Suite {
        name: format!("conformance {variant}"),
        program: "/programs/conformance".to_owned(),
        arguments: vec![arm(variant), "--test-threads=8".to_owned()],
        limit_s,
    });
    let suite = |name: &str, program: &str, tests: &[&str]| Suite {
        name: name.to_owned(),
        program: format!("/programs/{program}"),
        arguments: ["--test-threads=4"]
            .iter()
            .chain(if all { &[] } else { tests })
            .map(|&it| it.to_owned())
            .collect(),
        limit_s,
    };
    let engines = suite("engines", "backends", BOUNDED_UNIT_TESTS);
    let faults = suite("faults", "io_uring_faults", BOUNDED_FAULTS);
    Work {
        observe: true,
        suites: conformance.chain([engines, faults]).collect(),
        ..Work::default()
    }
}

/// Boots all kernels and summarizes the results of each.
pub(crate) fn run(
    images: &[Image],
    initramfs: &Path,
    acceleration: Acceleration,
    all: bool,
    directory: &Path,
) -> Vec<KernelSummary> {
    let limit = if all { FULL_TIMEOUT } else { TIMEOUT };
    run_parallel(images, |image| {
        let name = &image.kernel.name;
        println!("kernels · {name}: {} {}", image.package.name, image.package.version);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration,
            timeout: limit,
            parameters: String::new(),
            directory: directory.join("runs").join(name),
        };
        let started = Instant::now();
        let booted = boot.run();
        let summary = summarize(image, booted, started.elapsed());
        println!("kernels · {name}: {}", if summary.is_good() { "good" } else { "NOT good" });
        summary
    })
}

fn summarize(image: &Image, booted: Result<Booted, String>, took: Duration) -> KernelSummary {
    let mut summary = KernelSummary::new(image, took);
    let booted = match booted {
        Ok(booted) => booted,
        Err(error) => {
            summary.problems.push(error);
            return summary;
        }
    };
    let results = booted.results;
    for suite in &results.suites {
        if suite.exit != Some(0) || suite.passed == 0 {
            let end = suite.exit.map_or("timed out".to_owned(), |it| format!("exit code {it}"));
            summary.problems.push(format!(
                "{}: {end}, {} passed, {} failed",
                suite.name, suite.passed, suite.failed
            ));
        }
        summary.problems.extend(suite.skipped.iter().map(|it| format!("{}: {it}", suite.name)));
    }
    if booted.exit_code != 0 && summary.problems.is_empty() {
        summary.problems.push(format!("the guest's exit code is {}", booted.exit_code));
    }
    let complaints = booted.kernel_warnings.into_iter();
    summary.problems.extend(complaints.map(|it| format!("its kernel complains: {it}")));
    match expectations::read(&image.kernel.name) {
        Ok(expected) => summary.problems.extend(expected.differences(&results.observations)),
        Err(error) => summary.problems.push(error),
    }
    summary.release = results.release;
    summary.observations = results.observations;
    summary.suites = results.suites;
    summary
}

/// Runs `run` for all items, as many in parallel as there are CPUs.
pub(crate) fn run_parallel<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let Some((index, item)) = next.lock().expect("no panic").next() else { return };
                    let result = run(item);
                    done.lock().expect("no panic").push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|&(index, _)| index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Writes and prints the summary and returns true if there is no problem.
pub(crate) fn report(summary: &Summary, directory: &Path) -> bool {
    let file: PathBuf = directory.join("summary.json");
    let json = serde_json::to_vec_pretty(summary).expect("plain data");
    fs::write(&file, json).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    println!("\n{}", summary.table());
    for kernel in &summary.kernels {
        for problem in &kernel.problems {
            println!("{}: {problem}", kernel.name);
        }
        for suite in &kernel.suites {
            for line in &suite.failures {
                println!("{} · {}: {line}", kernel.name, suite.name);
            }
        }
    }
    println!("{} kernels in {:.0} s · {}", summary.kernels.len(), summary.took_s, file.display());
    summary.kernels.iter().all(KernelSummary::is_good)
}
