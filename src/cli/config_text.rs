//! The configuration as text, for `config show` and `serve --help`.

use std::fmt::Write;

use toml::Value;

use crate::config::{KEYS, Loaded, Setting};
use crate::serve::InForce;

const PRECEDENCE: &str = "\
Configuration keys:
  A flag (--set server.backlog=16) overrides the environment
  (RINGPOLL_SERVER_BACKLOG=16), the environment overrides the file, the
  file overrides the preset, and the preset overrides the defaults below.
  `ringpoll config show` prints the values in force.";

/// Returns every key with its value and origin, as lines of a valid file. Comments tell which
/// values are not in force here.
pub(super) fn shown(loaded: &Loaded) -> String {
    let assignment = |setting: &Setting| format!("{} = {}", setting.key.name, setting.value);
    let width = loaded.layers.iter().map(|setting| assignment(setting).len()).max().unwrap_or(0);
    let in_force = InForce::new(&loaded.config);
    let mut text = String::new();
    for setting in loaded.layers.iter() {
        let mut comment = setting.origin.to_string();
        if let Some(note) = in_force.note(setting) {
            let _ = write!(comment, "; {note}");
        }
        // A path can have control characters, which a comment cannot.
        let comment = comment.replace(char::is_control, "\u{fffd}");
        let _ = writeln!(text, "{:width$}  # {comment}", assignment(setting));
    }
    text
}

/// Returns the end of the long help of `serve`: all keys and the exit codes.
pub(super) fn serve_help(exit_codes: &str) -> String {
    let mut text = format!("{PRECEDENCE}\n\n");
    for key in KEYS.iter() {
        let _ = writeln!(text, "  {} = {}", key.name, Value::from(key.default));
        for line in wrapped(&key.description(), 66) {
            let _ = writeln!(text, "      {line}");
        }
    }
    let _ = write!(text, "\n{exit_codes}");
    text
}

/// Breaks text between words into lines of at most `width` bytes.
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
