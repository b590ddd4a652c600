//! The printed JSON Schema accepts results and rejects invalid ones.

use jsonschema::Validator;
use serde_json::Value;

use crate::fixture;
use crate::program::output_of_arguments;

fn schema() -> Validator {
    let schema: Value =
        serde_json::from_str(&output_of_arguments(&["report", "--schema"])).unwrap();
    // The meta schema finds misspelt keywords.
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

fn schema_errors(schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn results_match_schema() {
    let schema = schema();
    for result in fixture::all().into_iter().chain([fixture::two_loads()]) {
        let value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
        assert_eq!(schema_errors(&schema, &value), [""; 0]);
    }
}

#[test]
fn schema_rejects_invalid_results() {
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
    for (path, value) in wrong {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = value;
        assert!(!schema_errors(&schema, &bad).is_empty(), "{path}");
    }
    for missing in ["outcome", "environment", "method", "experiments"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().shift_remove(missing).unwrap();
        assert!(!schema_errors(&schema, &bad).is_empty(), "{missing}");
    }
}
