//! A server of another project: its command, its surroundings, and how to know that it is ready.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::result::{Arm, ArmKind, Setting};

/// The placeholders of a command: the port that the server must listen on, and its address with
/// this port.
pub(super) const PLACEHOLDERS: [&str; 2] = ["{port}", "{address}"];

/// Everything that is needed to start a server of another project.
#[derive(Clone, Debug, Default)]
pub struct CommandArm {
    /// Its program and arguments, with placeholders.
    pub command: Vec<String>,
    /// Environment variables in addition to those of ringpoll, with placeholders.
    pub environment: BTreeMap<String, String>,
    /// Its working directory; `None` is that of ringpoll.
    pub directory: Option<PathBuf>,
    /// The sign that it is ready.
    pub ready: Ready,
    /// The time from this sign to the first connection.
    pub settle: Duration,
    /// Commands that run once, before the first server of this arm starts.
    pub before: Vec<Vec<String>>,
    /// Commands that run once, after the last server of this arm has ended.
    pub after: Vec<Vec<String>>,
    /// Its resource limits.
    pub limits: Limits,
    /// Set when a server of this arm has ignored SIGTERM, so that later ones are not waited for.
    pub ignores_sigterm: Arc<AtomicBool>,
}

/// The sign that a server is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// It listens on its port.
    #[default]
    Listening,
    /// It listens, and has written a line with this text.
    Line(String),
    /// It listens, and responds to a GET request for this path with a 2xx status.
    Get(String),
}

/// Resource limits (setrlimit(2)): the soft limit, and the hard one if that is lower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// RLIMIT_NOFILE.
    pub open_files: Option<u64>,
    /// RLIMIT_MEMLOCK in bytes.
    pub locked_memory_bytes: Option<u64>,
    /// RLIMIT_NPROC.
    pub processes: Option<u64>,
    /// RLIMIT_AS in bytes.
    pub address_space_bytes: Option<u64>,
}

impl CommandArm {
    /// Checks that the server gets its port.
    ///
    /// # Errors
    /// Returns a message if no placeholder is in its command or environment.
    pub fn check_placeholders(&self) -> Result<(), String> {
        let mut words = self.command.iter().chain(self.environment.values());
        if words.any(|word| PLACEHOLDERS.iter().any(|it| word.contains(it))) {
            return Ok(());
        }
        Err("the command must contain {port}, which is replaced by the port that the server must \
             listen on, or {address}, which is replaced by 127.0.0.1 and this port. So may a \
             variable of `environment` in a file of --arms."
            .to_owned())
    }

    /// Describes the arm for a result. `origin` is that of its settings.
    pub fn description(&self, spec: String, label: String, origin: &str) -> Arm {
        let settings = self.settings().into_iter();
        Arm {
            spec,
            label,
            kind: ArmKind::Command,
            command_line: self.command.clone(),
            engine: None,
            settings: settings
                .map(|(key, value)| Setting { key, value, origin: origin.to_owned() })
                .collect(),
            kernel_features: Vec::new(),
        }
    }

    /// Returns the settings that differ from the defaults.
    fn settings(&self) -> Vec<(String, String)> {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: String| settings.push((key.to_owned(), value));
        for (name, value) in &self.environment {
            add(&format!("environment.{name}"), value.clone());
        }
        if let Some(directory) = &self.directory {
            add("directory", directory.display().to_string());
        }
        match &self.ready {
            Ready::Listening => {}
            Ready::Line(text) => add("ready.line", text.clone()),
            Ready::Get(path) => add("ready.get", path.clone()),
        }
        if !self.settle.is_zero() {
            add("settle_ms", self.settle.as_millis().to_string());
        }
        for (key, commands) in [("before", &self.before), ("after", &self.after)] {
            for words in commands {
                add(key, words.join(" "));
            }
        }
        for (key, limit) in self.limits.named() {
            if let Some(limit) = limit {
                add(&format!("limits.{key}"), limit.to_string());
            }
        }
        settings
    }
}

impl Limits {
    /// Returns each limit with its key.
    pub const fn named(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("open_files", self.open_files),
            ("locked_memory_bytes", self.locked_memory_bytes),
            ("processes", self.processes),
            ("address_space_bytes", self.address_space_bytes),
        ]
    }
}

/// Replaces the placeholders of a word.
pub fn with_port(word: &str, port: u16) -> String {
    word.replace("{port}", &port.to_string()).replace("{address}", &format!("127.0.0.1:{port}"))
}

/// Splits a command into words, with the quotes of a shell.
///
/// # Errors
/// Returns a message if the command is empty or a quote is open.
pub fn split_command(command: &str) -> Result<Vec<String>, String> {
    shlex::split(command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| "the command is empty or a quote is open".to_owned())
}

/// Returns the name of the program of a command, without its directory.
pub fn program_name(words: &[String]) -> String {
    let name = words.first().and_then(|program| Path::new(program).file_name());
    name.unwrap_or_default().to_string_lossy().into_owned()
}
