//! Determines if the technique of each step is in force, from the reports of the servers.

use ringpoll_backends::Technique;

use super::{Ladder, StepChange};
use crate::result::Arm;

/// The use of the technique of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TechniqueUse {
    /// The reason if the technique is not in force.
    pub unused_reason: Option<String>,
    /// Other differences from the previous step.
    pub note: Option<String>,
}

/// Returns the use of the technique of each step. `arms` contain the reports of their servers.
pub fn of_steps(ladder: Ladder, arms: &[Arm]) -> Vec<TechniqueUse> {
    let one = |(step, arm): (usize, &Arm)| TechniqueUse {
        unused_reason: why_unused(ladder, step, arms),
        note: step.checked_sub(1).and_then(|previous| lost_features_note(&arms[previous], arm)),
    };
    arms.iter().enumerate().map(one).collect()
}

fn why_unused(ladder: Ladder, step: usize, arms: &[Arm]) -> Option<String> {
    let StepChange::Key(key, value) = &ladder.steps()[step].change else { return None };
    let reason = match (*key, value.as_str()) {
        ("io_uring.shutdown", "call") if uses_shutdown_call(&arms[step - 1]) => {
            "this kernel has no IORING_OP_SHUTDOWN, so the previous step calls shutdown(2) too"
        }
        (_, "call") => return None,
        (_, "close") if lingers(&arms[step]) => {
            "server.lingering_close needs shutdown(2) before the close"
        }
        (_, "close") => return None,
        _ => {
            // A server does not start if the kernel lacks a socket option.
            let technique = key.strip_prefix("io_uring.")?;
            let in_force = arms[step].kernel_features.iter().any(|it| it == technique);
            return (!in_force).then(|| format!("this kernel does not have {technique}"));
        }
    };
    Some(reason.to_owned())
}

/// Notes the features of the previous step that this step does not have.
fn lost_features_note(previous: &Arm, arm: &Arm) -> Option<String> {
    let has = |arm: &Arm, name: &str| arm.kernel_features.iter().any(|it| it == name);
    let replaced = |name: &str| {
        Technique::find(name).is_some_and(|it| it.yields_to.iter().any(|other| has(arm, other)))
    };
    let lost: Vec<&str> = previous
        .kernel_features
        .iter()
        .map(String::as_str)
        .filter(|name| !has(arm, name) && !replaced(name))
        .collect();
    (!lost.is_empty()).then(|| format!("{} is not in force together with it.", lost.join(", ")))
}

/// Returns true if the engine calls shutdown(2), which its name reports.
fn uses_shutdown_call(arm: &Arm) -> bool {
    arm.engine.as_ref().is_some_and(|it| it.contains("shutdown(2) instead of"))
}

fn lingers(arm: &Arm) -> bool {
    arm.settings.iter().any(|it| it.key == "server.lingering_close" && it.value == "true")
}
