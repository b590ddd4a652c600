//! The file of `--arms`: servers of other projects, with all that they need.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::arm::{PreparedArm, Program, usage};
use super::command_arm::{CommandArm, Limits, PLACEHOLDERS, Ready, split_command};
use crate::failure::Failure;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmsFile {
    #[serde(default)]
    arm: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ArmEntry {
    name: String,
    command: Command,
    #[serde(default)]
    environment: BTreeMap<String, Scalar>,
    directory: Option<PathBuf>,
    #[serde(default)]
    ready: Ready,
    #[serde(default)]
    settle_ms: u64,
    #[serde(default)]
    before: Vec<Command>,
    #[serde(default)]
    after: Vec<Command>,
    #[serde(default)]
    limits: Limits,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
enum Command {
    Text(String),
    Words(Vec<String>),
}

impl Command {
    fn words(self) -> Result<Vec<String>, String> {
        match self {
            Self::Text(text) => split_command(&text),
            Self::Words(words) if words.is_empty() => Err("the command is empty".to_owned()),
            Self::Words(words) => Ok(words),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string, a number or a boolean")]
enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Integer(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
        }
    }
}

/// Reads the arms of a file.
///
/// # Errors
/// Returns a usage failure that names the file, the arm and the key.
pub fn read(path: &Path) -> Result<Vec<PreparedArm>, Failure> {
    let invalid = |problem: String| {
        usage(format!("--arms {}: {}", path.display(), problem.trim_end().replace('\n', "\n  ")))
    };
    let text = fs::read_to_string(path).map_err(|error| invalid(error.to_string()))?;
    let file: ArmsFile = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    if file.arm.is_empty() {
        return Err(invalid("the file has no [[arm]]".to_owned()));
    }
    let mut arms: Vec<PreparedArm> = Vec::new();
    for (index, table) in file.arm.into_iter().enumerate() {
        let name = table.get("name").and_then(Value::as_str).map(str::to_owned);
        let name = name.unwrap_or_else(|| format!("number {}", index + 1));
        let arm = prepare(table, path)
            .map_err(|problem| invalid(format!("arm {name}: {}", one_line(&problem))))?;
        if arms.iter().any(|it| it.description.label == arm.description.label) {
            return Err(invalid(format!("arm {name}: name: another arm has this name")));
        }
        arms.push(arm);
    }
    Ok(arms)
}

/// Rewrites an error of the parser, whose second line has the key: `in `limits.open_files``.
fn one_line(problem: &str) -> String {
    let mut lines = problem.trim_end().lines();
    let what = lines.next().unwrap_or_default();
    let key = lines.find_map(|line| line.strip_prefix("in `")?.strip_suffix('`'));
    key.map_or_else(|| what.to_owned(), |key| format!("{key}: {what}"))
}

fn prepare(table: Table, file: &Path) -> Result<PreparedArm, String> {
    let entry: ArmEntry = table.try_into().map_err(|error| format!("{error}"))?;
    if entry.name.trim().is_empty() {
        return Err("name: must not be empty".to_owned());
    }
    match &entry.ready {
        Ready::Line(text) if text.trim().is_empty() => {
            return Err("ready.line: must not be empty".to_owned());
        }
        Ready::Get(path) if !path.starts_with('/') => {
            return Err(format!("ready.get: {path} must start with /"));
        }
        _ => {}
    }
    for (key, limit) in entry.limits.named() {
        if limit == Some(0) {
            return Err(format!("limits.{key}: must be at least 1"));
        }
    }
    let each = |key: &str, commands: Vec<Command>| -> Result<Vec<Vec<String>>, String> {
        let words: Result<Vec<Vec<String>>, String> =
            commands.into_iter().map(Command::words).collect();
        let words = words.map_err(|problem| format!("{key}: {problem}"))?;
        match words.iter().flatten().find(|word| PLACEHOLDERS.iter().any(|it| word.contains(it))) {
            Some(word) => Err(format!(
                "{key}: {word}: there is no server, so it has no port. Only `command` and \
                 `environment` have placeholders."
            )),
            None => Ok(words),
        }
    };
    // Relative paths are relative to the file, wherever ringpoll is started.
    let base = file.parent().unwrap_or(Path::new(""));
    let absolute = |directory: PathBuf| {
        std::path::absolute(base.join(directory)).map_err(|error| format!("directory: {error}"))
    };
    let arm = CommandArm {
        command: entry.command.words().map_err(|problem| format!("command: {problem}"))?,
        environment: entry.environment.into_iter().map(|(name, it)| (name, it.text())).collect(),
        directory: entry.directory.map(absolute).transpose()?,
        ready: entry.ready,
        settle: Duration::from_millis(entry.settle_ms),
        before: each("before", entry.before)?,
        after: each("after", entry.after)?,
        limits: entry.limits,
        ..CommandArm::default()
    };
    if let Some(directory) = arm.directory.as_ref().filter(|it| !it.is_dir()) {
        return Err(format!("directory: {} is not a directory", directory.display()));
    }
    let variables = arm.environment.keys();
    if let Some(name) = { variables }.find(|it| it.is_empty() || it.contains(['=', '\0'])) {
        return Err(format!("environment: {name:?} is not the name of a variable"));
    }
    arm.check_placeholders().map_err(|problem| format!("command: {problem}"))?;
    let spec = format!("{} in {}", entry.name, file.display());
    let description = arm.description(spec, entry.name, &file.display().to_string());
    Ok(PreparedArm { description, program: Program::Command(Box::new(arm)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn read_text(text: &str) -> Result<Vec<PreparedArm>, String> {
        let directory = TempDir::new().unwrap();
        fs::create_dir(directory.path().join("inner")).unwrap();
        let path = directory.path().join("arms.toml");
        fs::write(&path, text).unwrap();
        read(&path).map_err(|failure| {
            assert_eq!(failure.exit_code(), 2);
            let prefix = format!("ringpoll compare: --arms {}: ", path.display());
            let message = failure.to_string();
            message.strip_prefix(&prefix).expect("the name of the file").to_owned()
        })
    }

    fn command_of(arm: &PreparedArm) -> &CommandArm {
        match &arm.program {
            Program::Command(command) => command,
            Program::Engine { .. } => panic!("{arm:?}"),
        }
    }

    #[test]
    fn all_keys_are_read() {
        let arms = read_text(
            r#"
            [[arm]]
            name = "one"
            command = "serve --root 'two words' {port}"
            [[arm]]
            name = "two"
            command = ["serve", "a 'b"]
            environment = { LISTEN = "{address}", DEPTH = 3, FAST = true }
            directory = "inner"
            ready = { get = "/health" }
            settle_ms = 20
            before = ["make 'all of it'", ["touch", "x y"]]
            after = ["rm x"]
            limits = { open_files = 1024, locked_memory_bytes = 65536 }
            [[arm]]
            name = "three"
            command = "serve {port}"
            ready = { line = "ready" }
            "#,
        )
        .unwrap();
        let [one, two, three] = [0, 1, 2].map(|index| command_of(&arms[index]));
        assert_eq!(one.command, ["serve", "--root", "two words", "{port}"]);
        assert_eq!((&one.ready, one.settle), (&Ready::Listening, Duration::ZERO));
        assert_eq!(two.command, ["serve", "a 'b"]);
        assert_eq!(two.environment["DEPTH"], "3");
        assert_eq!(two.environment["FAST"], "true");
        assert!(two.directory.as_ref().unwrap().ends_with("inner"));
        assert_eq!(two.ready, Ready::Get("/health".to_owned()));
        assert_eq!(two.before, [vec!["make", "all of it"], vec!["touch", "x y"]]);
        assert_eq!(two.limits.open_files, Some(1024));
        assert_eq!(three.ready, Ready::Line("ready".to_owned()));
        assert!(arms[0].description.settings.is_empty());
        let keys: Vec<_> = arms[1].description.settings.iter().map(|it| it.key.as_str()).collect();
        let expected = [
            "environment.DEPTH",
            "environment.FAST",
            "environment.LISTEN",
            "directory",
            "ready.get",
            "settle_ms",
            "before",
            "before",
            "after",
            "limits.open_files",
            "limits.locked_memory_bytes",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn errors_name_the_arm_and_the_key() {
        let with = |line: &str| {
            let arm = format!("[[arm]]\nname = \"x\"\ncommand = \"a {{port}}\"\n{line}\n");
            read_text(&arm).expect_err(line)
        };
        let cases = [
            ("nme = 1", "arm x: unknown field `nme`, expected one of `name`, "),
            ("settle_ms = -1", "arm x: settle_ms: invalid value: integer `-1`"),
            ("limits = { files = 1 }", "arm x: limits: unknown field `files`"),
            ("limits = { open_files = 'x' }", "arm x: limits.open_files: invalid type: string"),
            ("limits = { open_files = 0 }", "arm x: limits.open_files: must be at least 1"),
            ("before = 'x'", "arm x: before: invalid type: string"),
            ("before = [1]", "arm x: before: expected a string or an array of strings"),
            ("before = [\"a 'b\"]", "arm x: before: the command is empty or a quote is open"),
            ("after = [[]]", "arm x: after: the command is empty"),
            ("ready = 'soon'", "arm x: ready: unknown variant `soon`, expected one of"),
            ("ready = { get = 'x' }", "arm x: ready.get: x must start with /"),
            ("ready = { line = '' }", "arm x: ready.line: must not be empty"),
            ("directory = 'absent'", "arm x: directory: "),
            ("environment = { A = [] }", "arm x: environment.A: expected a string, a number"),
            ("environment = { 'A=' = 1 }", "arm x: environment: \"A=\" is not the name"),
        ];
        for (line, expected) in cases {
            let message = with(line);
            assert!(message.starts_with(expected), "{line}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn invalid_files_are_refused_with_the_reason() {
        let cases = [
            ("", "the file has no [[arm]]"),
            ("[[arms]]\n", "TOML parse error at line 1"),
            ("[[arm]]\nname = 'x'\n", "arm x: missing field `command`"),
            ("[[arm]]\ncommand = 'x {port}'\n", "arm number 1: missing field `name`"),
            ("[[arm]]\nname = 'x'\ncommand = 'x'\n", "arm x: command: the command must contain"),
            (
                "[[arm]]\nname = 'x'\ncommand = 'x {port}'\nbefore = ['y {port}']\n",
                "arm x: before: {port}: there is no server",
            ),
            ("[[arm]]\nname = 'x'\ncommand = []\n", "arm x: command: the command is empty"),
            ("[[arm]]\nname = ''\ncommand = 'x {port}'\n", "arm : name: must not be empty"),
        ];
        for (text, expected) in cases {
            let message = read_text(text).unwrap_err();
            assert!(message.starts_with(expected), "{text}: {message}");
        }
        let twice = "[[arm]]\nname = 'x'\ncommand = 'x {port}'\n".repeat(2);
        assert!(read_text(&twice).unwrap_err().contains("arm x: name: another arm"));
        let message = read(Path::new("/absent/arms.toml")).unwrap_err().to_string();
        assert!(message.contains("--arms /absent/arms.toml: No such file"), "{message}");
    }
}
