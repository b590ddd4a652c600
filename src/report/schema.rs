//! JSON Schema of results, generated from the result model.

use schemars::schema_for;

use crate::result::{ComparisonResult, SCHEMA_VERSION};

/// Returns the schema of the output of `ringpoll compare --json`.
pub fn schema() -> serde_json::Value {
    let mut schema = schema_for!(ComparisonResult);
    schema.insert("title".to_owned(), "Result of ringpoll compare".into());
    // The schema describes only the current version.
    if let Some(version) = schema.pointer_mut("/properties/schema_version") {
        version["const"] = SCHEMA_VERSION.into();
    }
    schema.to_value()
}
