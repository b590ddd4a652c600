//! What the README says is true: each of its commands is run, each of its links leads somewhere,
//! and each test that it names exists.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{ServerProcess, tool};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(project().join("README.md")).unwrap()
}

/// Every line of a shell block, and every command in a table or in the text.
fn commands() -> Vec<String> {
    let mut commands = Vec::new();
    let mut in_shell_block = false;
    for line in readme().lines() {
        match line.trim() {
            "```sh" => in_shell_block = true,
            "```" => in_shell_block = false,
            command if in_shell_block => commands.push(command.to_owned()),
            text => commands.extend(
                text.split('`')
                    .skip(1)
                    .step_by(2)
                    .filter(|code| is_command(code))
                    .map(str::to_owned),
            ),
        }
    }
    commands
}

fn is_command(code: &str) -> bool {
    ["cargo ", "curl ", "diff ", "ringpoll "].iter().any(|start| code.starts_with(start))
}

/// How a command is proved. Those that test everything are proved by `.ci/run`, which must have
/// them in the same words. The longer forms, which take too long for that, stand in a table that
/// says so; of them it is proved that what they name is there.
fn prove(command: &str, directory: &Path) {
    if let Some(arguments) = command.strip_prefix("cargo run --release -- ") {
        let words = shlex::split(arguments).unwrap();
        prove_program(&words.iter().map(String::as_str).collect::<Vec<_>>(), directory);
    } else if let Some(arguments) = command.strip_prefix("diff ") {
        let files: Vec<_> = arguments.split_whitespace().collect();
        let output = Command::new("diff").args(files).current_dir(project()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: the files must differ");
    } else if command.starts_with("curl ") {
        prove_curl(command);
    } else if let Some(test) = command.split(" --test ").nth(1).filter(|_| is_long(command)) {
        let name = test.split(' ').next().unwrap();
        let files = [format!("tests/{name}.rs"), format!("tests/{name}/main.rs")];
        let is_there = files.iter().any(|file| project().join(file).is_file());
        assert!(is_there, "{command}: there is no test {name}");
    } else if let Some(manifest) = command.strip_prefix("cargo run --release --manifest-path ") {
        // It takes ten minutes of a machine that does nothing else. That it works is tested there.
        let run = fs::read_to_string(project().join(".ci/run")).unwrap();
        let test = format!("cargo test --manifest-path {manifest} ");
        assert!(run.contains(&test), "{command}: nothing tests it");
        assert!(project().join(manifest).is_file(), "{command}: there is no such thing");
    } else if command.starts_with("cargo deny ") {
        assert!(project().join("deny.toml").is_file(), "{command}: nothing to check against");
    } else {
        let run = fs::read_to_string(project().join(".ci/run")).unwrap();
        let is_run = run.lines().any(|line| line.trim_start_matches("step ") == command);
        assert!(is_run, "nothing runs `{command}`");
    }
}

fn is_long(command: &str) -> bool {
    // `cargo test` boots kernels by itself where it is asked to, as in continuous integration.
    command.contains("-- --ignored") || command.contains("--test kernels -- --")
}

fn prove_program(arguments: &[&str], directory: &Path) {
    match arguments {
        ["serve", options @ ..] => {
            // The guard asks for the report itself, and for a port that is nobody's.
            let options: Vec<_> =
                options.iter().filter(|option| !["--stats", "json"].contains(*option)).collect();
            let server = ServerProcess::start(&options);
            let exchange = common::Client::request(server.address);
            match options.iter().any(|option| option.starts_with("server.")) {
                true => prove_other_answer(&exchange.bytes),
                false => assert_eq!(exchange.bytes, common::RESPONSE),
            }
            let ended = server.stopped();
            assert!(ended.status.success(), "{arguments:?}: {:?}", ended.stderr);
            assert_eq!(ended.report()["total"]["requests"], 1, "{arguments:?}");
        }
        ["compare", options @ ..] => prove_compare(options, directory),
        ["load", options @ ..] => {
            let server = ServerProcess::start(&[] as &[&str]);
            let target = server.address.to_string();
            let mut options = options.to_vec();
            for option in options.iter_mut().filter(|option| **option == "127.0.0.1:8080") {
                *option = &target;
            }
            let shortened = ["--duration", "100ms", "--warm-up", "10ms"];
            let output = ringpoll(&[&["load"], &options[..], &shortened].concat(), directory);
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        }
        // A result that a command above has written.
        ["report", ..] => {
            let output = ringpoll(arguments, directory);
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        }
        _ => {
            let output = ringpoll(arguments, project());
            assert!(output.status.success(), "{arguments:?}: {output:?}");
            assert!(!output.stdout.is_empty(), "{arguments:?} says nothing");
        }
    }
}

/// A server that is set to answer otherwise answers, and all of it.
fn prove_other_answer(answer: &[u8]) {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("a head has an end");
    let head = str::from_utf8(&answer[..end]).unwrap();
    assert!(head.starts_with("HTTP/1.") && head.contains(" 200 OK\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), answer.len() - (end + 4), "{head}");
    assert_ne!(answer, common::RESPONSE, "it is set to answer otherwise");
}

/// As short as it can be: so few rounds decide nothing, and a condition cannot be told.
fn prove_compare(options: &[&str], directory: &Path) {
    let needs_python = options.iter().any(|option| option.starts_with("command:python3"));
    if needs_python && tool("every_command_works", "python3").is_none() {
        return;
    }
    let short = ["--blocks", "1", "--round", "200ms", "--warm-up", "50ms", "--budget", "60s"];
    let output = ringpoll(&[&["compare"], options, &short].concat(), directory);
    let expected = if options.contains(&"--fail-if") { 5 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{options:?}: {output:?}");
}

fn ringpoll(arguments: &[&str], directory: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringpoll"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn prove_curl(command: &str) {
    let Some(curl) = tool("every_command_works", "curl") else { return };
    let server = ServerProcess::start(&[] as &[&str]);
    let command = command.replace("127.0.0.1:8080", &server.address.to_string());
    let output = Command::new(curl).args(command.split_whitespace().skip(1)).output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    assert_eq!(output.stdout, b"Hello, world!");
}

#[test]
fn every_command_works() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    let directory = tempfile::tempdir().unwrap();
    for command in commands {
        prove(&command, directory.path());
    }
}

#[test]
fn every_link_leads_somewhere() {
    let readme = readme();
    let links: Vec<_> = readme
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .filter(|link| !link.starts_with("http"))
        .collect();
    assert!(links.len() >= 8, "{links:?}");
    for link in links {
        let file = link.split('#').next().unwrap();
        assert!(file.is_empty() || project().join(file).exists(), "{link} leads nowhere");
    }
}

/// Tests are named in tables as `file::name`: `tests/conformance.rs` or one of its modules.
#[test]
fn every_test_that_is_named_exists() {
    let sources = sources();
    let readme = readme();
    let named: Vec<_> = readme
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, _)| file.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
        .collect();
    assert!(named.len() >= 20, "{named:?}");
    for (file, name) in named {
        let holds = |(path, text): &(PathBuf, String)| {
            let in_file = path.iter().any(|part| Path::new(part).file_stem().unwrap() == file);
            in_file
                && text
                    .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
                    .any(|word| word == name)
        };
        assert!(sources.iter().any(holds), "there is no test {file}::{name}");
    }
}

/// Every Rust file of the tests and of the packages, whose own tests stand in them.
fn sources() -> Vec<(PathBuf, String)> {
    let mut directories: Vec<PathBuf> = vec!["tests".into(), "backends".into(), "src".into()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(project().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if project().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(project().join(&path)).unwrap();
                sources.push((path, text));
            }
        }
    }
    sources
}
