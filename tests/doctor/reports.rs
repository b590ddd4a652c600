//! What it prints, for people and for programs.

use jsonschema::Validator;
use ringpoll_backends::capabilities;
use serde_json::Value;

use crate::program::{diagnosis, doctor, printed, refuse};

fn schema() -> Validator {
    let text = printed(&doctor(&["--schema"]).output().unwrap());
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn complaints(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn what_it_finds_obeys_the_schema_usable_or_not() {
    let schema = schema();
    let (found, _) = diagnosis(&mut doctor(&["--json"]));
    assert_eq!(complaints(&schema, &found), [""; 0]);
    let refused = &mut doctor(&["--json"]);
    let (found, _) = diagnosis(refuse(refused, libc::SYS_io_uring_setup, libc::EPERM));
    assert_eq!(complaints(&schema, &found), [""; 0]);
}

#[test]
fn the_schema_refuses_what_is_no_diagnosis() {
    let schema = schema();
    let (good, _) = diagnosis(&mut doctor(&["--json"]));
    let wrong = [
        ("/schema_version", Value::from(99)),
        ("/capabilities/accept", Value::from("yes")),
        ("/limits/somaxconn", Value::from(-1)),
        ("/obstruction", serde_json::json!({ "case": "weather" })),
    ];
    for (place, value) in wrong {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(!complaints(&schema, &bad).is_empty(), "{place}");
    }
    let mut bad = good.clone();
    bad["capabilities"].as_object_mut().unwrap().shift_remove("accept_multishot").unwrap();
    assert!(!complaints(&schema, &bad).is_empty());
}

#[test]
fn each_capability_has_one_flat_key_and_each_no_a_reason() {
    let (found, _) = diagnosis(&mut doctor(&["--json"]));
    let answers = found["capabilities"].as_object().unwrap();
    assert_eq!(answers.len(), capabilities::all().count());
    for it in capabilities::all() {
        let answer = answers[it.name].as_bool().unwrap();
        assert_eq!(found["missing"].get(it.name).is_none(), answer, "{}", it.name);
    }
}

#[test]
fn it_finds_the_same_each_time() {
    let (one, _) = diagnosis(&mut doctor(&["--json"]));
    let (other, _) = diagnosis(&mut doctor(&["--json"]));
    assert_eq!(one, other);
}

#[test]
fn the_table_has_every_capability_and_fits_into_the_terminal() {
    let output = doctor(&[]).env("COLUMNS", "100").output().unwrap();
    let text = printed(&output);
    for it in capabilities::all() {
        assert!(text.contains(it.name), "{}", it.name);
    }
    let rows = text.lines().skip_while(|line| !line.starts_with(" limit"));
    for line in rows {
        assert!(line.chars().count() <= 100, "{line}");
    }
    assert!(!text.contains('\u{1b}'), "it has colours, or moves the cursor");
    for words in ["backend auto takes ", "net.core.somaxconn", "technique", "RLIMIT_MEMLOCK"] {
        assert!(text.contains(words), "{words}");
    }
}
