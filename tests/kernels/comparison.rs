//! The comparison itself under each kernel, by counted instructions: CPU per request is then the
//! length of the path, and the results stand side by side, marked as emulated.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringpoll_backends::Variant;

use crate::image::Image;
use crate::machine::{Acceleration, Boot};
use crate::matrix::side_by_side;
use crate::tools::run;
use crate::work::Work;

/// The name of the result among those of a guest.
pub(crate) const RESULT: &str = "comparison.json";

const LIMIT: Duration = Duration::from_secs(600);

/// The first variant against each other one.
pub(crate) fn work() -> Work {
    let compare = Variant::ALL.iter().map(|variant| variant.name().to_owned()).collect();
    Work { compare, ..Work::default() }
}

/// Boots each kernel, and has the program put the results side by side. What went wrong.
pub(crate) fn run_all(
    images: &[Image],
    initramfs: &Path,
    ringpoll: &Path,
    directory: &Path,
) -> Result<Vec<String>, String> {
    let booted = side_by_side(images, |image| {
        let name = &image.kernel.name;
        println!("comparison · {name}: {} {}", image.package.name, image.package.version);
        let boot = Boot {
            image: image.file.clone(),
            initramfs: initramfs.to_owned(),
            acceleration: Acceleration::CountedInstructions,
            limit: LIMIT,
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
                problems.extend(booted.complaints.iter().map(|it| format!("{name}: {it}")));
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
