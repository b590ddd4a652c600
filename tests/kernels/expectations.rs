//! The expected observations on each kernel: `expected/NAME.toml`. Unexpected observations and
//! missing ones are both errors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::work::Observation;

/// The expected observations on one kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// By the name of the situation.
    observations: BTreeMap<String, ExpectedObservation>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedObservation {
    exit: i32,
    #[serde(default)]
    serves: bool,
    /// Texts that lines of standard error must contain.
    #[serde(default)]
    stderr: Vec<String>,
    /// Values in the output of `doctor`, by JSON pointer (RFC 6901).
    #[serde(default)]
    doctor: BTreeMap<String, Value>,
    /// All capabilities in the output of `doctor`: no more and no fewer.
    capabilities: Option<BTreeMap<String, bool>>,
}

/// Reads the expected observations on a kernel.
pub(crate) fn read(kernel: &str) -> Result<Expected, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/expected");
    let file = directory.join(format!("{kernel}.toml"));
    let text = fs::read_to_string(&file).map_err(|it| format!("{}: {it}", file.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

impl Expected {
    /// Describes all differences.
    pub(crate) fn differences(&self, found: &BTreeMap<String, Observation>) -> Vec<String> {
        let mut differences = Vec::new();
        for (situation, expected) in &self.observations {
            match found.get(situation) {
                Some(observation) => differences.extend(
                    expected.differences(observation).map(|it| format!("{situation}: {it}")),
                ),
                None => differences.push(format!("{situation}: not observed")),
            }
        }
        for (situation, observation) in found {
            if !self.observations.contains_key(situation) {
                let observation = serde_json::to_string(observation).expect("plain data");
                differences.push(format!("{situation}: unexpected: {observation}"));
            }
        }
        differences
    }
}

impl ExpectedObservation {
    fn differences(&self, found: &Observation) -> impl Iterator<Item = String> {
        let mut all = Vec::new();
        if found.exit != Some(self.exit) {
            all.push(format!("exit code {:?}, expected {}", found.exit, self.exit));
        }
        if found.serves != self.serves {
            all.push(format!("serves a request: {}, expected {}", found.serves, self.serves));
        }
        for text in &self.stderr {
            if !found.stderr.iter().any(|line| line.contains(text)) {
                all.push(format!("“{text}” is not in standard error: {:?}", found.stderr));
            }
        }
        for (pointer, expected) in &self.doctor {
            let value = found.doctor.as_ref().and_then(|doctor| doctor.pointer(pointer));
            if value != Some(expected) {
                let value = value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                all.push(format!("doctor reports {value} at {pointer}, expected {expected}"));
            }
        }
        if let Some(expected) = &self.capabilities {
            all.extend(capability_differences(expected, found));
        }
        all.into_iter()
    }
}

fn capability_differences(expected: &BTreeMap<String, bool>, found: &Observation) -> Vec<String> {
    let actual = found.doctor.as_ref().and_then(|doctor| doctor.get("capabilities"));
    let actual = actual.and_then(Value::as_object).cloned().unwrap_or_default();
    let names = expected.keys().chain(actual.keys().filter(|&name| !expected.contains_key(name)));
    names
        .filter_map(|name| {
            let expected = expected.get(name).copied();
            let found = actual.get(name).and_then(Value::as_bool);
            let text = |it: Option<bool>| it.map_or("absent".to_owned(), |it| it.to_string());
            (found != expected).then(|| {
                format!("capability {name} is {}, expected {}", text(found), text(expected))
            })
        })
        .collect()
}

pub(crate) fn all_differences_are_reported() {
    let expected: Expected = toml::from_str(
        r#"
        [observations.a]
        exit = 3
        stderr = ["memlock"]
        [observations.doctor]
        exit = 0
        doctor = { "/x/y" = true }
        capabilities = { ring = true, sqpoll = false }
        [observations.b]
        exit = 0
        serves = true
        "#,
    )
    .unwrap();
    let refused = Observation {
        exit: Some(3),
        stderr: vec!["io_uring_setup: memlock".to_owned()],
        ..Observation::default()
    };
    let served = Observation { exit: Some(0), serves: true, ..Observation::default() };
    let doctor = serde_json::json!({
        "x": {"y": true}, "capabilities": {"ring": true, "sqpoll": false},
    });
    let doctor = Observation { exit: Some(0), doctor: Some(doctor), ..Observation::default() };
    let name = |name: &str| name.to_owned();
    let all = BTreeMap::from([
        (name("a"), refused.clone()),
        (name("b"), served),
        (name("doctor"), doctor),
    ]);
    assert!(expected.differences(&all).is_empty());
    let mut other = all.clone();
    other.get_mut("doctor").unwrap().doctor = Some(serde_json::json!({
        "x": {"y": false}, "capabilities": {"ring": true, "sqpoll": true, "new": true},
    }));
    other.get_mut("a").unwrap().stderr.clear();
    other.get_mut("a").unwrap().exit = None;
    other.remove("b");
    other.insert(name("c"), refused);
    assert_eq!(expected.differences(&other).len(), 7, "{:?}", expected.differences(&other));
}
