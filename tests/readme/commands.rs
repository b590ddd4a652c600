//! Checks one command of a page, by running or by parsing it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use clap::Parser;
use clap::error::ErrorKind;
use common::{ServerProcess, find_tool};
use ringpoll::cli::CommandLine;

use crate::root;

const TEST: &str = "commands_of_the_readme_work";

/// The shortest comparison. So few rounds decide nothing.
const SHORT_COMPARISON: [&str; 10] = [
    "--blocks",
    "1",
    "--round",
    "20ms",
    "--warm-up",
    "5ms",
    "--budget",
    "60s",
    "--connections",
    "4",
];

const SHORT_LOAD: [&str; 4] = ["--duration", "100ms", "--warm-up", "10ms"];

/// Splits a command into words, without its comment and its environment. `cargo run --release --`
/// is replaced by `ringpoll`. Returns `None` if a quote is open.
pub(crate) fn words(command: &str) -> Option<Vec<String>> {
    let is_name = |name: &str| name.bytes().all(|it| it.is_ascii_uppercase() || it == b'_');
    let is_assignment = |word: &String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let words = shlex::split(command)?;
    let mut words: Vec<_> = words.into_iter().skip_while(is_assignment).collect();
    if words.starts_with(&["cargo", "run", "--release", "--"].map(str::to_owned)) {
        words.splice(..4, ["ringpoll".to_owned()]);
    }
    Some(words)
}

/// Checks a command. Files that it writes are in `directory`.
pub(crate) fn check(words: &[String], run: bool, directory: &Path) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["ringpoll", ref arguments @ ..] => {
            if parses_to_run(arguments) && run {
                run_ringpoll(arguments, directory);
            }
        }
        ["cargo", ref arguments @ ..] => check_cargo(arguments),
        ["curl", ref arguments @ ..] => run_curl(arguments),
        ["diff", ref arguments @ ..] => {
            let output = Command::new("diff").args(arguments).current_dir(root()).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{words:?}: the files must differ");
        }
        _ => panic!("{words:?}: an unknown program"),
    }
}

/// Parses the arguments of ringpoll. Returns false if they are incomplete, as in the name of a
/// command or a flag, or have a placeholder, such as TOPIC.
fn parses_to_run(arguments: &[&str]) -> bool {
    let parse =
        |more: &[&str]| CommandLine::try_parse_from([&["ringpoll"], arguments, more].concat());
    let has_placeholder = arguments.iter().any(|argument| {
        argument.as_bytes().windows(2).any(|two| two.iter().all(u8::is_ascii_uppercase))
    });
    let Err(error) = parse(&[]) else { return !has_placeholder };
    let is_start = |more: &[&str]| {
        parse(more).err().is_some_and(|error| error.kind() == ErrorKind::DisplayHelp)
    };
    let is_incomplete = is_start(&["--help"]) || is_start(&["value", "--help"]);
    assert!(is_incomplete || has_placeholder, "{arguments:?}: {error}");
    false
}

/// Checks that what the arguments of cargo name exists. The commands do not run: they would test or
/// build everything again.
fn check_cargo(arguments: &[&str]) {
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    let exists = |path: &str| assert!(root().join(path).is_file(), "{arguments:?}: no {path}");
    let value = |flag: &str| {
        let at = arguments.iter().position(|&argument| argument == flag)?;
        arguments.get(at + 1).copied()
    };
    if let Some(test) = value("--test") {
        exists(&format!("tests/{test}/main.rs"));
        let sources = fs::read_dir(root().join("tests").join(test)).unwrap();
        let has_ignored =
            sources.map(|file| fs::read_to_string(file.unwrap().path())).any(|text| {
                text.is_ok_and(|text| {
                    text.contains("#[ignore") || text.contains("with_ignored_flag")
                })
            });
        assert!(has_ignored || !arguments.contains(&"--ignored"), "{arguments:?}");
    } else if let Some(manifest) = value("--manifest-path") {
        exists(manifest);
        assert!(ci.contains(&format!("cargo test --manifest-path {manifest}")), "{arguments:?}");
    } else if let Some(path) = value("--path") {
        exists(&format!("{path}/Cargo.toml"));
    } else if arguments[0] == "deny" {
        exists(".cargo/deny.toml");
    } else if let Some(package) = value("-p") {
        let manifest = fs::read_to_string(root().join("backends/Cargo.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{package}\"")), "{arguments:?}");
    } else {
        assert!(ci.contains(&format!("cargo {}", arguments[0])), "{arguments:?}: CI has no such");
    }
}

fn run_ringpoll(arguments: &[&str], directory: &Path) {
    match arguments {
        ["serve", options @ ..] => run_serve(options),
        ["load", options @ ..] => run_load(options, directory),
        ["compare", options @ ..] => run_compare(options, directory),
        // The result file is that of a command before.
        ["report", ..] => succeeds(&ringpoll(arguments, directory), arguments),
        _ => {
            let output = ringpoll(arguments, root());
            succeeds(&output, arguments);
            assert!(!output.stdout.is_empty(), "{arguments:?} prints nothing");
        }
    }
}

fn run_serve(options: &[&str]) {
    // `ServerProcess` adds the format of the report, and a free port.
    let options: Vec<_> =
        options.iter().filter(|option| !["--stats", "json"].contains(*option)).collect();
    let server = ServerProcess::start(&options);
    let exchange = common::Client::request(server.address);
    match options.iter().any(|option| option.starts_with("server.")) {
        true => check_other_response(&exchange.bytes),
        false => assert_eq!(exchange.bytes, common::RESPONSE),
    }
    let output = server.stop_and_wait();
    assert!(output.status.success(), "{options:?}: {:?}", output.stderr);
    assert_eq!(output.report()["total"]["requests"], 1, "{options:?}");
}

/// Checks the response of a server with other settings than the defaults.
fn check_other_response(response: &[u8]) {
    let end = response.windows(4).position(|it| it == b"\r\n\r\n").expect("a head has an end");
    let head = str::from_utf8(&response[..end]).unwrap();
    assert!(head.starts_with("HTTP/1.") && head.contains(" 200 OK\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), response.len() - (end + 4), "{head}");
    assert_ne!(response, common::RESPONSE, "the settings have no effect");
}

fn run_load(options: &[&str], directory: &Path) {
    let protocol = |option: &str| match option {
        "127.0.0.1:8080" => Some("http"),
        // The ports of RFC 862, 863 and 864.
        "127.0.0.1:7" => Some("echo"),
        "127.0.0.1:9" => Some("discard"),
        "127.0.0.1:19" => Some("chargen"),
        _ => None,
    };
    let spoken = options.iter().find_map(|option| protocol(option)).unwrap_or("http");
    let server = ServerProcess::start(&["--protocol", spoken]);
    let target = server.address.to_string();
    let options = options.iter().filter(|&&it| it != "--target" && protocol(it).is_none());
    let arguments = ["load", "--target", &target].into_iter().chain(options.copied());
    let arguments: Vec<&str> = arguments.chain(SHORT_LOAD).collect();
    succeeds(&ringpoll(&arguments, directory), &arguments);
}

fn run_compare(options: &[&str], directory: &Path) {
    let commands = options.iter().filter_map(|option| option.strip_prefix("command:"));
    let mut programs = commands.filter_map(|command| command.split(' ').next());
    if programs.any(|program| find_tool(TEST, program).is_none()) {
        return;
    }
    let mut own = options.to_vec();
    for shortened in SHORT_COMPARISON.iter().step_by(2) {
        if let Some(at) = own.iter().position(|option| option == shortened) {
            own.drain(at..at + 2);
        }
    }
    let output = ringpoll(&[&["compare"], &own[..], &SHORT_COMPARISON].concat(), directory);
    // A condition is inconclusive after one block.
    let expected = if options.contains(&"--fail-if") { 5 } else { 0 };
    assert_eq!(output.status.code(), Some(expected), "{options:?}: {output:?}");
}

fn run_curl(arguments: &[&str]) {
    let Some(curl) = find_tool(TEST, "curl") else { return };
    let server = ServerProcess::start(&[] as &[&str]);
    let address = server.address.to_string();
    let arguments = arguments.iter().map(|it| it.replace("127.0.0.1:8080", &address));
    let output = Command::new(curl).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"Hello, world!");
}

fn succeeds(output: &Output, arguments: &[&str]) {
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Runs ringpoll without the variables of the test run, which it would refuse.
fn ringpoll(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringpoll"));
    let ours =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RINGPOLL_"));
    for (name, _) in ours {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(directory).output().unwrap()
}
