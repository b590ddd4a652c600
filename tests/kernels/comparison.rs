//! `ringpoll compare` on each kernel, by counted instructions: CPU time per request is then path
//! length. The results are shown side by side, marked as emulated.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringpoll_backends::Variant;

use crate::image::Image;
use crate::machine::{Acceleration, Boot};
use crate::matrix::run_parallel;
use crate::tools::run;
use crate::work::Work;

/// File name of the result in a guest's results.
pub(crate) const RESULT: &str = "comparison.json";

const TIMEOUT: Duration = Duration::from_secs(600);

/// Returns the work of a guest: compare the first variant with each other one.
pub(crate) fn work() -> Work {
    let compare = Variant::ALL.iter().map(|variant| variant.name().to_owned()).collect();
    Work { compare, ..Work::default() }
}

/// Boots each kernel, prints the results side by side and returns the problems.
pub(crate) fn run_all(
    images: &[Image],
    initramfs: &Path,
    ringpoll: &Path,
    directory: &Path,
) -> Result<Vec<String>, String> {
    let booted = run_parallel(images, |image| {
        let name = &image.kernel.name;
        println!("comparison · {name}: {} {}", image.package.name, image.package.version);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration: Acceleration::CountedInstructions,
            timeout: TIMEOUT,
            parameters: String::new(),
            directory: directory.join("runs").join(format!("{name}-comparison")),
        };
        let result = boot.directory.join("results").join(RESULT);
        (name.clone(), boot.run().map(|booted| (booted, result)))
    });
    let mut problems = Vec::new();
    let mut files: Vec<PathBuf> = Vec::new();
    for (name, booted) in booted {
        match booted {
            Ok((booted, file)) => {
                problems.extend(booted.kernel_warnings.iter().map(|it| format!("{name}: {it}")));
                match booted.results.compared {
                    Some(0) if file.is_file() => files.push(file),
                    exit => problems.push(format!("{name}: the comparison ended with {exit:?}")),
                }
            }
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    if files.len() > 1 {
        let page = directory.join("side_by_side.html");
        run(Command::new(ringpoll).arg("report").args(&files).arg("--html").arg(&page))?;
        let table = run(Command::new(ringpoll).arg("report").args(&files))?;
        println!("\n{}{}", String::from_utf8_lossy(&table.stdout), page.display());
    }
    Ok(problems)
}
