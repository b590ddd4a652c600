//! The configuration: one table of keys ([`KEYS`]), the layers that set them, and the typed result
//! ([`Config`]).
//!
//! A flag overrides the environment, the environment overrides the file, the file overrides the
//! preset, and the preset overrides the default. Every value has its [`Origin`].

mod backend_choice;
mod environment;
mod error;
mod file;
mod kind;
mod layers;
mod preset;
mod protocol_choice;
mod settings;
mod shutdown_choice;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use backend_choice::{AutoSelection, BackendChoice, start_auto};
pub use environment::environment_variable;
pub use error::ConfigError;
pub(crate) use error::nearest;
pub use kind::{DefaultValue, Kind};
pub use layers::{Layers, Origin, Setting};
pub use preset::Preset;
pub use protocol_choice::ProtocolChoice;
pub use settings::{
    Config, DeadlineSettings, EpollSettings, IoUringSettings, KEYS, Key, LimitSettings,
    ServerSettings,
};
pub use shutdown_choice::ShutdownChoice;

/// The file that is read if it exists and `--config` names no other.
pub const DEFAULT_FILE: &str = "config.toml";

/// The value of `--config` that reads no file. A file of this name is `./none`.
pub const NO_FILE: &str = "none";

/// Everything that can set a key.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Keys that the command line sets, in its order.
    pub flags: Vec<FlagSetting>,
    /// The environment; only `RINGPOLL_*` is used.
    pub environment: Vec<(OsString, OsString)>,
    /// The value of `--config`: a file or [`NO_FILE`]. `None`: [`DEFAULT_FILE`], if it exists.
    pub file: Option<PathBuf>,
    /// The value of `--preset`.
    pub preset: Option<Preset>,
}

/// A key that the command line sets.
#[derive(Clone, Debug)]
pub struct FlagSetting {
    /// The flag that sets it, such as `--listen`.
    pub flag: &'static str,
    /// The key's full name.
    pub key: String,
    /// The value as text.
    pub value: String,
}

impl FlagSetting {
    /// Returns the key that `flag` sets.
    pub fn new(flag: &'static str, key: &str, value: &str) -> Self {
        Self { flag, key: key.to_owned(), value: value.to_owned() }
    }

    /// Parses the `KEY=VALUE` of `--set`.
    ///
    /// # Errors
    /// A message if there is no `=`.
    pub fn parse_set(set: &str) -> Result<Self, String> {
        let (key, value) =
            set.split_once('=').ok_or_else(|| format!("--set: expected KEY=VALUE, not {set}"))?;
        Ok(Self::new("--set", key.trim(), value.trim()))
    }
}

/// The result of [`load`].
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values, typed.
    pub config: Config,
    /// The values with their origins.
    pub layers: Layers,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// Combines the layers.
///
/// # Errors
/// The first problem, with its place: an unreadable file, an unknown key, an invalid value.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::defaults();
    if let Some(preset) = sources.preset {
        preset.apply(&mut layers)?;
    }
    let file = match &sources.file {
        Some(path) if path == Path::new(NO_FILE) => None,
        Some(path) => {
            file::apply(path, &mut layers)?;
            Some(path.clone())
        }
        None => {
            let path = Path::new(DEFAULT_FILE);
            // It may be the file of another program, which also calls it config.toml.
            let is_present =
                file::apply_if_present(path, &mut layers).map_err(ConfigError::in_default_file)?;
            is_present.then(|| path.to_owned())
        }
    };
    environment::apply(&sources.environment, &mut layers)?;
    for FlagSetting { flag, key, value } in &sources.flags {
        layers.set_text(&Origin::Flag(flag), key, value)?;
    }
    deserialize(layers, file)
}

/// Checks one file; ignores the environment and the command line.
///
/// # Errors
/// See [`load`].
pub fn check_file(path: &Path) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::defaults();
    file::apply(path, &mut layers)?;
    deserialize(layers, Some(path.to_owned()))
}

fn deserialize(layers: Layers, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
    let mut config = toml::from_str::<Config>(&layers.to_toml())
        .map_err(|error| ConfigError::without_place(error.message()))?;
    config.io_uring.techniques = layers.techniques();
    let queues = &config.io_uring;
    let completions = queues.completion_queue_entries;
    if completions != 0 && completions < queues.submission_queue_entries {
        let key = "io_uring.completion_queue_entries";
        let problem = format!(
            "{key} must be 0, or at least io_uring.submission_queue_entries, which is {}; it is \
             {completions}",
            queues.submission_queue_entries
        );
        return Err(layers.error_at(&[key, "io_uring.submission_queue_entries"], problem));
    }
    Ok(Loaded { config, layers, file })
}
