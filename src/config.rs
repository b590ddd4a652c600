//! The configuration: one table of keys ([`KEYS`]), five layers that can set them, and the typed
//! [`Config`] that comes out.
//!
//! A flag wins over the environment, the environment over the file, the file over the preset, and
//! the preset over the default. Every value remembers which of them it came from ([`Origin`]).

mod backend_choice;
mod environment;
mod error;
mod file;
mod kind;
mod layers;
mod preset;
mod settings;
mod shutdown_choice;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use backend_choice::{Automatic, BackendChoice, automatic};
pub use environment::variable_of;
pub use error::ConfigError;
pub use kind::{DefaultValue, Kind};
pub use layers::{Layers, Origin, Setting};
pub use preset::Preset;
pub use settings::{
    Config, DeadlineSettings, EpollSettings, IoUringSettings, KEYS, Key, LimitSettings,
    ServerSettings,
};
pub use shutdown_choice::ShutdownChoice;

/// The file that is read when no other is named and this one is there.
pub const DEFAULT_FILE: &str = "config.toml";

/// Everything that can set a key.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What the command line sets, in its order.
    pub flags: Vec<FlagSetting>,
    /// The environment, of which only `RINGPOLL_*` is looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that was named; without one, [`DEFAULT_FILE`] is read if it is there.
    pub file: Option<PathBuf>,
    /// The preset that was named.
    pub preset: Option<Preset>,
}

/// One key that the command line sets.
#[derive(Clone, Debug)]
pub struct FlagSetting {
    /// The flag that sets it, such as `--listen`.
    pub flag: &'static str,
    /// The key's full name.
    pub key: String,
    /// The value, as it was written.
    pub value: String,
}

/// A configuration in force.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values, typed.
    pub config: Config,
    /// The same values, each with where it came from.
    pub layers: Layers,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

/// Puts the layers on top of each other.
///
/// # Errors
/// The first thing that is wrong, with its place: a file that cannot be read, an unknown key, a
/// value of the wrong type, an impossible value.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::of_defaults();
    if let Some(preset) = sources.preset {
        preset.apply(&mut layers)?;
    }
    let file = match &sources.file {
        Some(path) => {
            file::apply(path, &mut layers)?;
            Some(path.clone())
        }
        None => {
            let path = Path::new(DEFAULT_FILE);
            file::apply_if_there(path, &mut layers)?.then(|| path.to_owned())
        }
    };
    environment::apply(&sources.environment, &mut layers)?;
    for FlagSetting { flag, key, value } in &sources.flags {
        layers.set_text(&Origin::Flag(flag), key, value)?;
    }
    finish(layers, file)
}

/// Reads one file over the defaults, and nothing else.
///
/// # Errors
/// As [`load`].
pub fn check_file(path: &Path) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::of_defaults();
    file::apply(path, &mut layers)?;
    finish(layers, Some(path.to_owned()))
}

fn finish(layers: Layers, file: Option<PathBuf>) -> Result<Loaded, ConfigError> {
    let config = Config::deserialize(layers.to_table())
        .map_err(|error| ConfigError::nowhere(error.message()))?;
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
