//! Values from a TOML file, each with its line.

use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Value};

use super::{ConfigError, KEYS, Layers, Origin};

/// A key of a file, known or not.
struct Entry<'file> {
    name: String,
    value: Spanned<DeValue<'file>>,
    /// Offset of its name in the file, in bytes.
    start: usize,
}

/// Sets the keys of a file.
pub(super) fn apply(path: &Path, layers: &mut Layers) -> Result<(), ConfigError> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    apply_bytes(path, &bytes, layers)
}

/// Sets the keys of a file if it exists; returns false if it does not.
pub(super) fn apply_if_present(path: &Path, layers: &mut Layers) -> Result<bool, ConfigError> {
    match std::fs::read(path) {
        Ok(bytes) => apply_bytes(path, &bytes, layers).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError::new(path.display().to_string(), format!("cannot be read: {error}"))
}

fn apply_bytes(path: &Path, bytes: &[u8], layers: &mut Layers) -> Result<(), ConfigError> {
    let origin = |start: usize| Origin::File {
        path: path.display().to_string(),
        line: 1 + bytes[..start.min(bytes.len())].iter().filter(|&&byte| byte == b'\n').count(),
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| ConfigError::at(&origin(error.valid_up_to()), "not valid UTF-8"))?;
    let table = DeTable::parse(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        ConfigError::at(&origin(start), error.message().replace('\n', "; "))
    })?;
    for Entry { name, value, start } in entries(table.into_inner()) {
        let value = Value::deserialize(ValueDeserializer::from(value))
            .map_err(|error| ConfigError::at(&origin(start), error.message()))?;
        layers.set(&origin(start), &name, value)?;
    }
    Ok(())
}

/// Returns all keys with their full names, in the order of the file.
fn entries(table: DeTable<'_>) -> Vec<Entry<'_>> {
    let mut found = Vec::new();
    collect(table, "", &mut found);
    found.sort_by_key(|entry| entry.start);
    found
}

fn collect<'file>(table: DeTable<'file>, prefix: &str, found: &mut Vec<Entry<'file>>) {
    for (key, value) in table {
        let start = key.span().start;
        let name = format!("{prefix}{}", key.get_ref());
        let span = value.span();
        let is_section = KEYS.iter().any(|key| key.name.starts_with(&format!("{name}.")));
        match value.into_inner() {
            // For an unknown table the error names its first key, or the table if it is empty.
            DeValue::Table(inner) if is_section || !inner.is_empty() && !is_key(&name) => {
                collect(inner, &format!("{name}."), found);
            }
            value => found.push(Entry { name, value: Spanned::new(span, value), start }),
        }
    }
}

fn is_key(name: &str) -> bool {
    KEYS.iter().any(|key| key.name == name)
}
