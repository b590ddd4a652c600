//! Results obey the schema that the program prints, and the schema refuses what is no result.

use jsonschema::Validator;
use serde_json::Value;

use crate::fixture;
use crate::program::printed_by;

fn schema() -> Validator {
    let schema: Value = serde_json::from_str(&printed_by(&["report", "--schema"])).unwrap();
    // Against the meta schema, so that a misspelt word of it is found.
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn complaints(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn results_obey_the_schema() {
    let schema = schema();
    for result in fixture::all().into_iter().chain([fixture::two_loads()]) {
        let value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
        assert_eq!(complaints(&schema, &value), [""; 0]);
    }
}

#[test]
fn the_schema_refuses_what_is_no_result() {
    let schema = schema();
    let good: Value = serde_json::from_str(&fixture::json(fixture::two())).unwrap();
    let ratio = "/experiments/0/comparisons/0/metrics/0/ratio";
    let verdict = "/experiments/0/comparisons/0/metrics/0/verdict";
    let wrong = [
        ("/schema_version", Value::from(99)),
        ("/arms", Value::from("two")),
        (ratio, Value::from("0.87")),
        (verdict, Value::from("best")),
        ("/experiments/0/ladder", Value::from("epoll")),
        ("/experiments/0/rounds/0/requests", Value::from(-1)),
    ];
    for (place, value) in wrong {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        assert!(!complaints(&schema, &bad).is_empty(), "{place}");
    }
    for missing in ["outcome", "environment", "method", "experiments"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().shift_remove(missing).unwrap();
        assert!(!complaints(&schema, &bad).is_empty(), "{missing}");
    }
}
