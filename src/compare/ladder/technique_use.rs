//! Determines if the technique of each step is in force, from the reports of the servers.

use super::{Ladder, StepChange};
use crate::result::Arm;

/// Returns the reason for each step whose technique is not in force. `arms` contain the reports of
/// their servers.
pub fn unused_reasons(ladder: Ladder, arms: &[Arm]) -> Vec<Option<String>> {
    (0..arms.len()).map(|step| why_unused(ladder, step, arms)).collect()
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

/// Returns true if the engine calls shutdown(2), which its name reports.
fn uses_shutdown_call(arm: &Arm) -> bool {
    arm.engine.as_ref().is_some_and(|it| it.contains("shutdown(2) instead of"))
}

fn lingers(arm: &Arm) -> bool {
    arm.settings.iter().any(|it| it.key == "server.lingering_close" && it.value == "true")
}
