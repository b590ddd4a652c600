//! The JSON Schema of results. It is made from the model itself, so it cannot say anything else.

use schemars::schema_for;

use super::result::{ComparisonResult, SCHEMA_VERSION};

/// The schema of `ringpoll compare --json`, as JSON.
pub fn schema() -> serde_json::Value {
    let mut schema = schema_for!(ComparisonResult);
    schema.insert("title".to_owned(), "A result of ringpoll compare".into());
    // Of the version that is described here, and of no other.
    if let Some(version) = schema.pointer_mut("/properties/schema_version") {
        version["const"] = SCHEMA_VERSION.into();
    }
    schema.to_value()
}
