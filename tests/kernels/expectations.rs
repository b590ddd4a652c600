//! What the program must find on each kernel: `expected/NAME.toml`. What is found and not
//! expected is as wrong as what is expected and not found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::work::Observation;

/// What must hold on one kernel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// By situation, as the guest names it.
    observations: BTreeMap<String, ExpectedObservation>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedObservation {
    exit: i32,
    #[serde(default)]
    answers: bool,
    /// Each of them is in a line of what it said.
    #[serde(default)]
    says: Vec<String>,
    /// JSON pointers (RFC 6901) into what the doctor wrote, and what stands there.
    #[serde(default)]
    doctor: BTreeMap<String, Value>,
    /// Every capability that the doctor names, whether it is there: no more and no fewer.
    capabilities: Option<BTreeMap<String, bool>>,
}

/// The expectation of the kernel of that name.
pub(crate) fn of(kernel: &str) -> Result<Expected, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kernels/expected");
    let file = directory.join(format!("{kernel}.toml"));
    let text = fs::read_to_string(&file).map_err(|it| format!("{}: {it}", file.display()))?;
    toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

impl Expected {
    /// All that is otherwise, in words.
    pub(crate) fn differences(&self, found: &BTreeMap<String, Observation>) -> Vec<String> {
        let mut differences = Vec::new();
        for (situation, expected) in &self.observations {
            match found.get(situation) {
                Some(observation) => differences.extend(
                    expected.differences(observation).map(|it| format!("{situation}: {it}")),
                ),
                None => differences.push(format!("{situation}: it was not looked at")),
            }
        }
        for (situation, observation) in found {
            if !self.observations.contains_key(situation) {
                let observation = serde_json::to_string(observation).expect("it is plain data");
                differences.push(format!("{situation}: nothing was expected; found {observation}"));
            }
        }
        differences
    }
}

impl ExpectedObservation {
    fn differences(&self, found: &Observation) -> impl Iterator<Item = String> {
        let mut all = Vec::new();
        if found.exit != Some(self.exit) {
            all.push(format!("exit {:?}, not {}", found.exit, self.exit));
        }
        if found.answers != self.answers {
            all.push(format!("a request is answered: {}, not {}", found.answers, self.answers));
        }
        for words in &self.says {
            if !found.says.iter().any(|line| line.contains(words)) {
                all.push(format!("it does not say “{words}”, but {:?}", found.says));
            }
        }
        for (pointer, expected) in &self.doctor {
            let there = found.doctor.as_ref().and_then(|doctor| doctor.pointer(pointer));
            if there != Some(expected) {
                let there = there.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                all.push(format!("the doctor finds {there} at {pointer}, not {expected}"));
            }
        }
        if let Some(expected) = &self.capabilities {
            all.extend(capability_differences(expected, found));
        }
        all.into_iter()
    }
}

fn capability_differences(expected: &BTreeMap<String, bool>, found: &Observation) -> Vec<String> {
    let there = found.doctor.as_ref().and_then(|doctor| doctor.get("capabilities"));
    let there = there.and_then(Value::as_object).cloned().unwrap_or_default();
    let names = expected.keys().chain(there.keys().filter(|&name| !expected.contains_key(name)));
    names
        .filter_map(|name| {
            let (expected, found) = (expected.get(name), there.get(name).and_then(Value::as_bool));
            let words = |it: Option<bool>| it.map_or("not named".to_owned(), |it| it.to_string());
            let is_otherwise = found != expected.copied();
            let (found, expected) = (words(found), words(expected.copied()));
            is_otherwise.then(|| format!("capability {name} is {found}, expected {expected}"))
        })
        .collect()
}

pub(crate) fn what_is_otherwise_is_told() {
    let expected: Expected = toml::from_str(
        r#"
        [observations.a]
        exit = 3
        says = ["memlock"]
        [observations.doctor]
        exit = 0
        doctor = { "/x/y" = true }
        capabilities = { ring = true, sqpoll = false }
        [observations.b]
        exit = 0
        answers = true
        "#,
    )
    .unwrap();
    let refused = Observation {
        exit: Some(3),
        says: vec!["io_uring_setup: memlock".to_owned()],
        ..Observation::default()
    };
    let served = Observation { exit: Some(0), answers: true, ..Observation::default() };
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
    other.get_mut("a").unwrap().says.clear();
    other.get_mut("a").unwrap().exit = None;
    other.remove("b");
    other.insert(name("c"), refused);
    assert_eq!(expected.differences(&other).len(), 7, "{:?}", expected.differences(&other));
}
