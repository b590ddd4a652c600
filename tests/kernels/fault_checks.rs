//! Checks that the host detects guest faults: guests that fail on purpose.

use std::path::Path;
use std::time::Duration;

use crate::image::Image;
use crate::initramfs;
use crate::machine::{Acceleration, Boot};
use crate::matrix::run_parallel;
use crate::work::{GuestFault, Work};

const TIMEOUT: Duration = Duration::from_secs(60);
const HANG_TIMEOUT: Duration = Duration::from_secs(12);

/// Name, fault and expected error.
const CASES: &[(&str, GuestFault, &str)] = &[
    ("panic", GuestFault::Panic, "Kernel panic"),
    ("truncated-message", GuestFault::TruncatedMessage, "the message is truncated"),
    ("hang", GuestFault::Hang, "timed out after"),
];

/// Boots a guest with each fault and returns those that were not detected.
pub(crate) fn run(image: &Image, programs: &Path, directory: &Path) -> Vec<String> {
    let mut undetected: Vec<_> = run_parallel(CASES, |&(name, fault, expected)| {
        match boot(name, fault, image, programs, directory) {
            Ok(Err(error)) if error.contains(expected) => None,
            Ok(Err(error)) => Some(format!("{name} fails with an unexpected error: {error}")),
            Ok(Ok(_)) => Some(format!("{name} passes")),
            Err(error) => Some(error),
        }
    });
    let code = boot("exit", GuestFault::Exit(7), image, programs, directory);
    undetected.push(match code {
        Ok(Ok(7)) => None,
        other => Some(format!("exit code 7 arrives as {other:?}")),
    });
    undetected.into_iter().flatten().collect()
}

fn boot(
    name: &str,
    fault: GuestFault,
    image: &Image,
    programs: &Path,
    directory: &Path,
) -> Result<Result<i32, String>, String> {
    let work = Work { fault: Some(fault), ..Work::default() };
    let boot = Boot {
        image: image.file.clone(),
        initramfs: initramfs::with_work(programs, &work, name)?,
        acceleration: Acceleration::Tcg,
        timeout: if fault == GuestFault::Hang { HANG_TIMEOUT } else { TIMEOUT },
        parameters: String::new(),
        directory: directory.join("runs").join(format!("fault-{name}")),
    };
    Ok(boot.run().map(|booted| booted.exit_code))
}
