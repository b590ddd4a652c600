//! How the best io_uring engine uses what there is: which of its techniques it would have in force
//! here. The engine itself is asked, by opening it, as the server does; there is no list of needs
//! that could say otherwise.

use ringpoll_backends::{BackendError, EngineOptions, ShutdownBy, Techniques, Variant, open};

use super::diagnosis::{Technique, TechniqueState};

/// The engine that has techniques to choose from.
const ENGINE: Variant = Variant::IoUringTuned;

/// All its techniques; `in_force` are those that it had when it was opened with its defaults.
pub fn all(in_force: &[&'static str]) -> Vec<Technique> {
    let try_out = |techniques: Techniques| {
        // An end that a system call tells is linked to nothing.
        let shutdown = ShutdownBy::Close;
        let options = EngineOptions { techniques, shutdown, ..EngineOptions::default() };
        open(ENGINE, &options).map(|engine| engine.techniques())
    };
    judge(in_force, &Techniques::default().names(), try_out)
}

fn judge(
    in_force: &[&'static str],
    by_default: &[&'static str],
    try_out: impl Fn(Techniques) -> Result<Vec<&'static str>, BackendError>,
) -> Vec<Technique> {
    let judge_one = |(name, set): (&'static str, Techniques)| {
        let needs = set.names().into_iter().filter(|&it| it != name).map(str::to_owned).collect();
        let (state, reason) = if in_force.contains(&name) {
            (TechniqueState::InForce, None)
        } else {
            match try_out(set) {
                Ok(taken) if !taken.contains(&name) => (TechniqueState::Missing, None),
                Ok(_) if by_default.contains(&name) => (TechniqueState::NotNeeded, None),
                Ok(_) => (TechniqueState::OffByDefault, None),
                Err(error) => (TechniqueState::Missing, Some(error.to_string())),
            }
        };
        let is_in_force = state == TechniqueState::InForce;
        Technique {
            name: name.to_owned(),
            needs,
            in_force: is_in_force,
            state: Some(state),
            reason,
        }
    };
    Techniques::each().into_iter().map(judge_one).collect()
}

#[cfg(test)]
mod tests {
    use ringpoll_backends::ErrorKind;

    use super::*;

    fn state(all: &[Technique], name: &str) -> TechniqueState {
        all.iter().find(|it| it.name == name).and_then(|it| it.state).unwrap()
    }

    #[test]
    fn a_technique_has_one_of_four_states() {
        let kernel_lacks = ["bundles", "skip_success"];
        let try_out = |set: Techniques| {
            if set.minimum_wait_us > 0 {
                return Err(BackendError::new(ErrorKind::BackendRefused, "a ring", "no memory"));
            }
            Ok(set.names().into_iter().filter(|it| !kernel_lacks.contains(it)).collect())
        };
        let by_default = ["deferred_task_run", "cooperative_task_run", "skip_success"];
        let all = judge(&["deferred_task_run"], &by_default, try_out);
        assert_eq!(state(&all, "deferred_task_run"), TechniqueState::InForce);
        assert_eq!(state(&all, "cooperative_task_run"), TechniqueState::NotNeeded);
        assert_eq!(state(&all, "skip_success"), TechniqueState::Missing);
        assert_eq!(state(&all, "bundles"), TechniqueState::Missing);
        assert_eq!(state(&all, "direct_descriptors"), TechniqueState::OffByDefault);
        assert_eq!(state(&all, "minimum_wait"), TechniqueState::Missing);
        let refused = all.iter().find(|it| it.name == "minimum_wait").unwrap();
        assert!(refused.reason.as_ref().unwrap().contains("no memory"));
        let bundles = all.iter().find(|it| it.name == "bundles").unwrap();
        assert_eq!(bundles.needs, ["multishot_receive", "provided_buffers"]);
        assert_eq!(all.iter().filter(|it| it.in_force).count(), 1);
    }
}
