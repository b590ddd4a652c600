//! Whether what a rung adds is in force, from what its server says of itself.

use super::{Change, Ladder};
use crate::report::result::Arm;

/// How a rung stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Why what it adds is not in force here.
    pub missing: Option<String>,
    /// What is different from the rung below besides.
    pub remark: Option<String>,
}

/// Replaced by `deferred_task_run`, which does more.
const COOPERATIVE: &str = "cooperative_task_run";
const DEFERRED: &str = "deferred_task_run";

/// How each rung stands. The arms have been introduced: their servers have said what they do.
pub fn of(ladder: Ladder, arms: &[Arm]) -> Vec<Presence> {
    let one = |(rung, arm): (usize, &Arm)| Presence {
        missing: missing(ladder, rung, arms),
        remark: rung.checked_sub(1).and_then(|below| remark(&arms[below], arm)),
    };
    arms.iter().enumerate().map(one).collect()
}

fn missing(ladder: Ladder, rung: usize, arms: &[Arm]) -> Option<String> {
    let Change::Key(key, value) = ladder.steps()[rung].change else { return None };
    let reason = match (key, value) {
        ("io_uring.shutdown", "call") if calls_in_place_of_the_ring(&arms[rung - 1]) => {
            "this kernel's ring cannot shut down: shutdown(2) is called on the rung below too"
        }
        (_, "call") => return None,
        (_, "close") if lingers(&arms[rung]) => {
            "server.lingering_close is on, and has to tell the peer before the close"
        }
        (_, "close") => return None,
        _ => {
            // Switches of the server that a kernel does not have keep it from starting.
            let technique = key.strip_prefix("io_uring.")?;
            let in_force = arms[rung].kernel_features.iter().any(|it| it == technique);
            return (!in_force).then(|| format!("this kernel does not have {technique}"));
        }
    };
    Some(reason.to_owned())
}

/// What was in force on the rung below, and is not on this one.
fn remark(below: &Arm, arm: &Arm) -> Option<String> {
    let has = |arm: &Arm, name: &str| arm.kernel_features.iter().any(|it| it == name);
    let replaced = |name: &str| name == COOPERATIVE && has(arm, DEFERRED);
    let lost: Vec<&str> = below
        .kernel_features
        .iter()
        .map(String::as_str)
        .filter(|name| !has(arm, name) && !replaced(name))
        .collect();
    (!lost.is_empty()).then(|| format!("{} is not in force beside it", lost.join(", ")))
}

/// As its name says where it does.
fn calls_in_place_of_the_ring(arm: &Arm) -> bool {
    arm.engine.as_ref().is_some_and(|it| it.contains("shutdown(2) in place of"))
}

fn lingers(arm: &Arm) -> bool {
    arm.settings.iter().any(|it| it.key == "server.lingering_close" && it.value == "true")
}
