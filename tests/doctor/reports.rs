//! Output as JSON and as a table.

use jsonschema::Validator;
use ringpoll_backends::capabilities;
use serde_json::Value;

use crate::commands::{diagnosis, doctor, refuse_call, stdout_of, with_locked_memory_limit};

fn schema() -> Validator {
    let text = stdout_of(&doctor(&["--schema"]).output().unwrap());
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn violations(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn output_matches_schema_with_and_without_io_uring() {
    let schema = schema();
    let (found, _) = diagnosis(&mut doctor(&["--json"]));
    assert_eq!(violations(&schema, &found), [""; 0]);
    let refused = &mut doctor(&["--json"]);
    let (found, _) = diagnosis(refuse_call(refused, libc::SYS_io_uring_setup, libc::EPERM));
    assert_eq!(violations(&schema, &found), [""; 0]);
}

#[test]
fn schema_rejects_invalid_diagnoses() {
    let schema = schema();
    let (good, _) = diagnosis(&mut doctor(&["--json"]));
    let wrong = [
        ("/schema_version", Value::from(99)),
        ("/capabilities/accept", Value::from("yes")),
        ("/limits/somaxconn", Value::from(-1)),
        ("/obstruction", serde_json::json!({ "kind": "weather" })),
    ];
    for (pointer, value) in wrong {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!violations(&schema, &bad).is_empty(), "{pointer}");
    }
    let mut bad = good.clone();
    bad["capabilities"].as_object_mut().unwrap().shift_remove("accept_multishot").unwrap();
    assert!(!violations(&schema, &bad).is_empty());
}

#[test]
fn every_capability_is_listed_and_every_missing_one_has_a_reason() {
    let (found, _) = diagnosis(&mut doctor(&["--json"]));
    let results = found["capabilities"].as_object().unwrap();
    assert_eq!(results.len(), capabilities::all().count());
    for it in capabilities::all() {
        let result = results[it.name].as_bool().unwrap();
        assert_eq!(found["missing"].get(it.name).is_none(), result, "{}", it.name);
    }
}

#[test]
fn repeated_runs_agree() {
    let (one, _) = diagnosis(&mut doctor(&["--json"]));
    let (other, _) = diagnosis(&mut doctor(&["--json"]));
    assert_eq!(one, other);
}

#[test]
fn table_lists_every_capability_within_terminal_width() {
    let output = doctor(&[]).env("COLUMNS", "100").output().unwrap();
    let text = stdout_of(&output);
    for it in capabilities::all() {
        assert!(text.contains(it.name), "{}", it.name);
    }
    let rows = text.lines().skip_while(|line| !line.starts_with(" limit"));
    for line in rows {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!text.contains('\u{1b}'), "the output has escape sequences");
    for words in ["backend auto uses ", "net.core.somaxconn", "technique", "RLIMIT_MEMLOCK"] {
        assert!(text.contains(words), "{words}");
    }
}

#[test]
fn soft_limit_that_is_the_hard_limit_cannot_be_raised() {
    let output = with_locked_memory_limit(&mut doctor(&[]), 1 << 23).output().unwrap();
    let table = stdout_of(&output);
    let line = table.lines().find(|line| line.contains("(RLIMIT_MEMLOCK)")).unwrap();
    assert!(
        line.contains("8388608") && line.trim_end().ends_with("this is the hard limit"),
        "{line}"
    );
}
