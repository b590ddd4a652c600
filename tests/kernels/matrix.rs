//! The matrix: the same programs under each kernel, two kernels at a time.

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

/// A guest without KVM takes about ten times as long as the machine itself, and machines differ.
const LIMIT: Duration = Duration::from_secs(1200);
const LIMIT_OF_ALL: Duration = Duration::from_secs(3000);

/// Under which arms the bounded form runs the scenarios; the long one runs all of them.
const BOUNDED_ARM: &str = "in_process::lingering";

/// The tests of the engines on a real ring that the bounded form runs.
const BOUNDED_TESTS: &[&str] = &[
    "io_uring::ring::",
    "io_uring::recv_slab::",
    "io_uring::guarded_buffers::",
    "io_uring::tests::",
    "io_uring::faults::tests::a_connection",
    "io_uring::faults::tests::a_stop",
    "io_uring::faults::tests::a_wait",
    "io_uring::faults::tests::several_",
    "io_uring::faults::tests::what_a_cancel",
    "io_uring::faults::tests::what_loses",
    "io_uring::faults::tests::what_the_kernel_keeps",
    "io_uring::faults::tests::without_",
];

/// What every guest is asked for.
pub(crate) fn work(all: bool) -> Work {
    let arm = |variant: &Variant| match all {
        true => format!("{variant}::"),
        false => format!("{variant}::{BOUNDED_ARM}::"),
    };
    let limit_s = if all { 1500 } else { 600 };
    let conformance = Variant::ALL.iter().map(|variant| Suite {
        name: format!("conformance {variant}"),
        program: "/payload/conformance".to_owned(),
        arguments: vec![arm(variant), "--test-threads=8".to_owned()],
        limit_s,
    });
    let tests = if all { &[][..] } else { BOUNDED_TESTS };
    let engines = Suite {
        name: "engines".to_owned(),
        program: "/payload/backends".to_owned(),
        arguments: ["--test-threads=4"].iter().chain(tests).map(|&it| it.to_owned()).collect(),
        limit_s,
    };
    Work { observe: true, suites: conformance.chain([engines]).collect(), ..Work::default() }
}

/// Runs all of them; what each of them found.
pub(crate) fn run(
    images: &[Image],
    initramfs: &Path,
    acceleration: Acceleration,
    all: bool,
    directory: &Path,
) -> Vec<KernelSummary> {
    let limit = if all { LIMIT_OF_ALL } else { LIMIT };
    side_by_side(images, |image| {
        let name = &image.kernel.name;
        println!("kernels · {name}: {} {}", image.package.name, image.package.version);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration,
            limit,
            parameters: String::new(),
            directory: directory.join("runs").join(name),
        };
        let started = Instant::now();
        let booted = boot.run();
        let summary = judge(image, booted, started.elapsed());
        println!("kernels · {name}: {}", if summary.is_good() { "good" } else { "NOT good" });
        summary
    })
}

fn judge(image: &Image, booted: Result<Booted, String>, took: Duration) -> KernelSummary {
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
            let how = suite.exit.map_or("no end in time".to_owned(), |it| format!("exit {it}"));
            summary.problems.push(format!(
                "{}: {how}, {} passed, {} failed",
                suite.name, suite.passed, suite.failed
            ));
        }
        summary.problems.extend(suite.skipped.iter().map(|it| format!("{}: {it}", suite.name)));
    }
    if booted.exit_code != 0 && summary.problems.is_empty() {
        summary.problems.push(format!("the guest's work ended with {}", booted.exit_code));
    }
    let complaints = booted.complaints.into_iter();
    summary.problems.extend(complaints.map(|it| format!("its kernel complains: {it}")));
    match expectations::of(&image.kernel.name) {
        Ok(expected) => summary.problems.extend(expected.differences(&results.observations)),
        Err(error) => summary.problems.push(error),
    }
    summary.release = results.release;
    summary.observations = results.observations;
    summary.suites = results.suites;
    summary
}

/// As many at a time as there are processors: a guest takes one of them.
pub(crate) fn side_by_side<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let at_once = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = Mutex::new(items.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
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

/// Writes the summary, shows it, and says whether all is good.
pub(crate) fn report(summary: &Summary, directory: &Path) -> bool {
    let file: PathBuf = directory.join("summary.json");
    let json = serde_json::to_vec_pretty(summary).expect("it is plain data");
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
