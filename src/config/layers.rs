//! The values of all keys and the layer that set each.

use std::fmt;

use ringpoll_backends::Techniques;
use toml::Value;

use super::error::ConfigError;
use super::{KEYS, Key, Preset};

/// The layer that set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table of keys.
    Default,
    /// A preset.
    Preset(Preset),
    /// A line of a file.
    File {
        /// The path, as the user named it.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A command-line flag.
    Flag(&'static str),
}

impl Origin {
    /// Returns the place for an error; `None` for a default.
    pub(super) fn place(&self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::Preset(preset) => Some(format!("--preset {preset}")),
            Self::File { path, line } => Some(format!("{path}:{line}")),
            Self::Environment(variable) => Some(variable.clone()),
            Self::Flag(flag) => Some((*flag).to_owned()),
        }
    }
}

impl fmt::Display for Origin {
    /// The layer and the place in it: `file config.toml:7`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::Preset(preset) => write!(formatter, "preset {preset}"),
            Self::File { path, line } => write!(formatter, "file {path}:{line}"),
            Self::Environment(variable) => write!(formatter, "environment {variable}"),
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

/// One key with its value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The key.
    pub key: &'static Key,
    /// A value that the key's kind accepts.
    pub value: Value,
    /// The layer that set the value.
    pub origin: Origin,
}

/// One [`Setting`] for every key, in the order of [`KEYS`].
#[derive(Clone, Debug)]
pub struct Layers {
    settings: Vec<Setting>,
}

impl Layers {
    /// Returns every key at its default.
    pub fn defaults() -> Self {
        let setting =
            |key: &'static Key| Setting { key, value: key.default.into(), origin: Origin::Default };
        Self { settings: KEYS.iter().map(setting).collect() }
    }

    /// Returns every key with its value and origin.
    pub fn iter(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter()
    }

    /// Sets a key; overrides earlier layers.
    ///
    /// # Errors
    /// An unknown key, or a value that its kind does not accept.
    pub fn set(&mut self, origin: &Origin, name: &str, value: Value) -> Result<(), ConfigError> {
        let setting = self.find(origin, name)?;
        if !setting.key.kind.accepts(&value) {
            let expectation = setting.key.kind.expectation();
            let problem = format!("{name} must be {expectation}, not {}", shown(&value));
            return Err(ConfigError::at(origin, problem));
        }
        setting.value = value;
        setting.origin = origin.clone();
        Ok(())
    }

    /// Parses `text` as the key's kind and sets the key.
    ///
    /// # Errors
    /// As [`Layers::set`].
    pub fn set_text(&mut self, origin: &Origin, name: &str, text: &str) -> Result<(), ConfigError> {
        let value = self.find(origin, name)?.key.kind.parse(text);
        self.set(origin, name, value)
    }

    fn find(&mut self, origin: &Origin, name: &str) -> Result<&mut Setting, ConfigError> {
        self.settings
            .iter_mut()
            .find(|setting| setting.key.name == name)
            .ok_or_else(|| ConfigError::unknown_key(origin, name))
    }

    /// Returns an error about several keys, at the place of the first that is not a default.
    pub(super) fn error_at(&self, names: &[&str], problem: String) -> ConfigError {
        let origins = names.iter().filter_map(|&name| {
            self.iter().find(|setting| setting.key.name == name).map(|setting| &setting.origin)
        });
        let set = origins.into_iter().find(|&origin| *origin != Origin::Default);
        ConfigError::at(set.unwrap_or(&Origin::Default), problem)
    }

    /// Returns the techniques of io_uring:tuned.
    pub(super) fn techniques(&self) -> Techniques {
        let mut techniques = Techniques::NONE;
        for Setting { key, value, .. } in self.iter() {
            let Some(technique) = key.technique else { continue };
            let number = value.as_integer().or_else(|| value.as_bool().map(i64::from));
            let number = number.and_then(|it| it.try_into().ok());
            assert!(
                number.is_some_and(|it| techniques.set(technique.key, it)),
                "the kind of the key accepts only values of the technique"
            );
        }
        techniques
    }

    /// Returns the values as a TOML file, without the techniques.
    pub(super) fn to_toml(&self) -> String {
        let others = self.iter().filter(|it| it.key.technique.is_none());
        others.map(|Setting { key, value, .. }| format!("{} = {value}\n", key.name)).collect()
    }
}

/// Formats a value for an error.
fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        value => value.to_string(),
    }
}
