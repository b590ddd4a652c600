//! The configuration as text: what `config show` prints, and what `serve --help` says of it.

use std::fmt::Write;

use toml::Value;

use crate::config::{KEYS, Loaded, Setting};
use crate::serve::connections_in_force;

const PRECEDENCE: &str = "\
Every key of the configuration, with its default. A flag (--set server.backlog=16) wins over the
environment (RINGPOLL_SERVER_BACKLOG=16), the environment over the file, the file over the
preset, and the preset over the default. `ringpoll config show` prints the values in force.";

/// Every key with its value and its origin, as lines of a valid file.
pub(super) fn shown(loaded: &Loaded) -> String {
    let assignment = |setting: &Setting| format!("{} = {}", setting.key.name, setting.value);
    let width = loaded.layers.iter().map(|setting| assignment(setting).len()).max().unwrap_or(0);
    let mut text = String::new();
    for setting in loaded.layers.iter() {
        let _ = write!(text, "{:width$}  # {}", assignment(setting), setting.origin);
        if setting.key.name == "limits.connections" && loaded.config.limits.connections == 0 {
            let _ = write!(text, "; here that is {}", connections_in_force(&loaded.config));
        }
        text.push('\n');
    }
    text
}

/// What stands below the flags in the long help of `serve`.
pub(super) fn serve_help(exit_codes: &str) -> String {
    let mut text = format!("{PRECEDENCE}\n\n");
    for key in KEYS {
        let _ = writeln!(text, "  {} = {}", key.name, Value::from(key.default));
        for line in wrapped(&key.meaning(), 88) {
            let _ = writeln!(text, "      {line}");
        }
    }
    let _ = write!(text, "\n{exit_codes}");
    text
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
