//! JSON Schema of a diagnosis, generated from the data model and the list of capabilities.

use ringpoll_backends::capabilities;
use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::diagnosis::{Diagnosis, SCHEMA_VERSION};

/// Returns the JSON Schema of `ringpoll doctor --json`.
pub fn schema() -> Value {
    let mut schema = schema_for!(Diagnosis);
    schema.insert("title".to_owned(), "A diagnosis of ringpoll doctor".into());
    if let Some(version) = schema.pointer_mut("/properties/schema_version") {
        version["const"] = SCHEMA_VERSION.into();
    }
    if let Some(results) = schema.pointer_mut("/properties/capabilities") {
        let property = |it: &capabilities::Capability| {
            (it.name.to_owned(), json!({ "type": "boolean", "description": it.meaning }))
        };
        results["properties"] = capabilities::all().map(property).collect::<Map<_, _>>().into();
        results["required"] = capabilities::all().map(|it| it.name).collect::<Vec<_>>().into();
    }
    schema.to_value()
}
