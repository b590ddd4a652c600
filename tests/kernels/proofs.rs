//! Guests that go wrong on purpose, so that it is known that the host finds it out.

use std::path::Path;
use std::time::Duration;

use crate::image::Image;
use crate::initramfs;
use crate::machine::{Acceleration, Boot};
use crate::matrix::side_by_side;
use crate::work::{Misbehaviour, Work};

/// Long enough for any guest that ends, but for one that never does.
const LIMIT: Duration = Duration::from_secs(60);
const LIMIT_OF_SILENCE: Duration = Duration::from_secs(12);

/// What is done, and the words with which it must be refused.
const CASES: &[(&str, Misbehaviour, &str)] = &[
    ("panic", Misbehaviour::Panic, "Kernel panic"),
    ("half-a-frame", Misbehaviour::HalfAFrame, "the frame is cut off"),
    ("silence", Misbehaviour::Silence, "it did not end within"),
];

/// Boots each of them; what was not found out.
pub(crate) fn run(image: &Image, programs: &Path, directory: &Path) -> Vec<String> {
    let mut unseen: Vec<_> = side_by_side(CASES, |&(name, misbehaviour, words)| {
        match boot(name, misbehaviour, image, programs, directory) {
            Ok(Err(error)) if error.contains(words) => None,
            Ok(Err(error)) => Some(format!("a guest with {name} is refused, but for: {error}")),
            Ok(Ok(_)) => Some(format!("a guest with {name} passes")),
            Err(error) => Some(error),
        }
    });
    let code = boot("exit", Misbehaviour::Exit(7), image, programs, directory);
    unseen.push(match code {
        Ok(Ok(7)) => None,
        other => Some(format!("a guest's exit 7 came as {other:?}")),
    });
    unseen.into_iter().flatten().collect()
}

fn boot(
    name: &str,
    misbehaviour: Misbehaviour,
    image: &Image,
    programs: &Path,
    directory: &Path,
) -> Result<Result<i32, String>, String> {
    let work = Work { misbehave: Some(misbehaviour), ..Work::default() };
    let boot = Boot {
        image: image.file.clone(),
        initramfs: initramfs::with_work(programs, &work, name)?,
        acceleration: Acceleration::Tcg,
        limit: if name == "silence" { LIMIT_OF_SILENCE } else { LIMIT },
        parameters: String::new(),
        directory: directory.join("runs").join(format!("proof-{name}")),
    };
    Ok(boot.run().map(|booted| booted.exit_code))
}
