//! The JSON Schema of a diagnosis. It is made from the model and from the list of capabilities, so
//! it cannot say anything else.

use ringpoll_backends::capabilities;
use schemars::schema_for;
use serde_json::{Map, Value, json};

use super::diagnosis::{Diagnosis, SCHEMA_VERSION};

/// The schema of `ringpoll doctor --json`, as JSON.
pub fn schema() -> Value {
    let mut schema = schema_for!(Diagnosis);
    schema.insert("title".to_owned(), "A diagnosis of ringpoll doctor".into());
    if let Some(version) = schema.pointer_mut("/properties/schema_version") {
        version["const"] = SCHEMA_VERSION.into();
    }
    if let Some(answers) = schema.pointer_mut("/properties/capabilities") {
        let property = |it: &capabilities::Capability| {
            (it.name.to_owned(), json!({ "type": "boolean", "description": it.meaning }))
        };
        answers["properties"] = capabilities::all().map(property).collect::<Map<_, _>>().into();
        answers["required"] = capabilities::all().map(|it| it.name).collect::<Vec<_>>().into();
    }
    schema.to_value()
}
