//! Techniques of the tuned io_uring engine that are in force here. Found by opening the engine as
//! the server does: a separate list of requirements could be wrong.

use ringpoll_backends::{
    Backend, BackendError, EngineOptions, Technique, Techniques, Variant, open,
};

use super::diagnosis::{self, TechniqueState};

/// The only engine with techniques.
const ENGINE: Variant = Variant::IoUringTuned;

/// Returns all techniques. `in_force` are those of an engine that was opened with its defaults.
pub fn all(in_force: &[&'static str]) -> Vec<diagnosis::Technique> {
    let try_open = |techniques: Techniques| {
        let options = EngineOptions { techniques, ..EngineOptions::default() };
        open(ENGINE, &options).map(|engine| engine.techniques())
    };
    classify(in_force, try_open)
}

fn classify(
    in_force: &[&'static str],
    try_open: impl Fn(Techniques) -> Result<Vec<&'static str>, BackendError>,
) -> Vec<diagnosis::Technique> {
    let classify_one = |technique: &Technique| {
        let (name, set) = (technique.key, technique.alone());
        let needs = set.names().into_iter().filter(|&it| it != name).map(str::to_owned).collect();
        let (state, reason) = if in_force.contains(&name) {
            (TechniqueState::InForce, None)
        } else {
            match try_open(set) {
                Ok(opened) if !opened.contains(&name) => (TechniqueState::Missing, None),
                Ok(_) if technique.default > 0 => (TechniqueState::NotNeeded, None),
                Ok(_) => (TechniqueState::OffByDefault, None),
                Err(error) => (TechniqueState::Missing, Some(format!("{error:#}"))),
            }
        };
        let is_in_force = state == TechniqueState::InForce;
        diagnosis::Technique {
            name: name.to_owned(),
            needs,
            in_force: is_in_force,
            state: Some(state),
            reason,
            is_experimental: technique.is_experimental,
        }
    };
    Techniques::ALL.iter().map(classify_one).collect()
}

#[cfg(test)]
mod tests {
    use ringpoll_backends::ErrorKind;

    use super::*;

    fn state(all: &[diagnosis::Technique], name: &str) -> TechniqueState {
        all.iter().find(|it| it.name == name).and_then(|it| it.state).unwrap()
    }

    #[test]
    fn techniques_are_classified_into_four_states() {
        let kernel_lacks = ["bundles", "multishot_accept"];
        let try_open = |set: Techniques| {
            if set.send_zc_min_bytes > 0 {
                return Err(BackendError::new(ErrorKind::BackendRefused, "a ring", "no memory"));
            }
            Ok(set.names().into_iter().filter(|it| !kernel_lacks.contains(it)).collect())
        };
        let all = classify(&["defer_taskrun"], try_open);
        assert_eq!(state(&all, "defer_taskrun"), TechniqueState::InForce);
        assert_eq!(state(&all, "coop_taskrun"), TechniqueState::NotNeeded);
        assert_eq!(state(&all, "multishot_accept"), TechniqueState::Missing);
        assert_eq!(state(&all, "bundles"), TechniqueState::Missing);
        assert_eq!(state(&all, "sqpoll"), TechniqueState::OffByDefault);
        assert_eq!(state(&all, "send_zc_min_bytes"), TechniqueState::Missing);
        let refused = all.iter().find(|it| it.name == "send_zc_min_bytes").unwrap();
        assert!(refused.reason.as_ref().unwrap().contains("no memory"));
        let bundles = all.iter().find(|it| it.name == "bundles").unwrap();
        assert_eq!(bundles.needs, ["provided_buffers", "multishot_receive"]);
        assert!(bundles.is_experimental);
        assert_eq!(all.iter().filter(|it| it.in_force).count(), 1);
    }
}
