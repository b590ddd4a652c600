//! Help, manual, man pages, version and completions.

use std::fs;
use std::path::Path;
use std::process::Command;

use ringpoll::config::KEYS;
use ringpoll::manual::TOPICS;
use toml::Value;

use crate::program::{ringpoll, run, stderr_of_failure};

#[test]
fn help_lists_the_exit_codes() {
    for (arguments, codes) in [
        (&["--help"][..], "012345"),
        (&["serve", "-h"], "0123"),
        (&["serve", "--help"], "0123"),
        (&["compare", "--help"], "012345"),
    ] {
        let help = run(arguments);
        for code in codes.chars().map(|code| format!("  {code}  ")) {
            assert!(help.contains(&format!("\n{code}")), "{help}");
        }
    }
}

#[test]
fn long_help_of_serve_documents_every_key_with_its_default() {
    let help = run(&["serve", "--help"]);
    let one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in KEYS.iter() {
        let entry = format!("{} = {} {}", key.name, Value::from(key.default), key.description());
        assert!(one_line.contains(&entry), "{entry}");
    }
}

#[test]
fn help_lists_every_backend() {
    let help = run(&["serve", "--help"]);
    for name in ringpoll::config::BackendChoice::names() {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn version_is_that_of_the_package() {
    assert_eq!(run(&["--version"]), format!("ringpoll {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_has_completions() {
    // clap_complete's scripts for the last two complete no values of flags.
    for (shell, words) in [
        ("bash", &["preset", "reference", "epoll:edge"][..]),
        ("fish", &["preset", "reference", "epoll:edge"]),
        ("zsh", &["preset", "reference", "epoll:edge"]),
        ("elvish", &["preset"]),
        ("powershell", &["preset"]),
    ] {
        // A colon is escaped in shells where it is special.
        let script = run(&["completions", shell]).replace('\\', "");
        for word in words.iter().chain(&["ringpoll"]) {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
}

#[test]
fn help_prints_topics_as_markdown_without_links() {
    for topic in TOPICS {
        let page = run(&["help", topic.name]);
        assert!(page.starts_with("# "), "{page}");
        assert!(!page.contains("]("), "{page}");
        assert_eq!(page.lines().count(), topic.text.lines().count());
        let sites = |text: &str| text.matches("https://").count();
        assert_eq!(sites(&page), sites(topic.text), "{page}");
    }
}

#[test]
fn help_lists_commands_and_topics_and_prints_the_help_of_commands() {
    let help = run(&["help"]);
    assert_eq!(help, run(&["--help"]));
    for name in TOPICS.iter().map(|topic| topic.name).chain(["serve", "compare", "help", "man"]) {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{name} "))),
            "{name}"
        );
    }
    assert_eq!(run(&["help", "serve"]), run(&["serve", "--help"]));
    assert_eq!(run(&["help", "config", "show"]), run(&["config", "show", "--help"]));
}

#[test]
fn unknown_topic_is_a_usage_error_with_a_suggestion() {
    let message = stderr_of_failure(&mut ringpoll(&["help", "techniqes"]), 2);
    let start = "ringpoll help: no topic or command `techniqes`. Did you mean techniques? Topics: ";
    assert!(message.starts_with(start), "{message}");
    for topic in TOPICS {
        assert!(message.contains(topic.name), "{message}");
    }
    let message = stderr_of_failure(&mut ringpoll(&["help", "sevre"]), 2);
    assert!(message.contains("Did you mean serve?"), "{message}");
    let message = stderr_of_failure(&mut ringpoll(&["help", ""]), 2);
    assert!(message.starts_with("ringpoll help: no topic or command ``. Topics: "), "{message}");
    stderr_of_failure(&mut ringpoll(&["help", "config", "shwo"]), 2);
    let message = stderr_of_failure(&mut ringpoll(&["help", "statistics", "compare"]), 2);
    assert_eq!(message, "ringpoll help: statistics is a topic; compare cannot follow it.\n");
    stderr_of_failure(&mut ringpoll(&["man"]), 2);
    stderr_of_failure(&mut ringpoll(&["man", "--dir", "/dev/null"]), 1);
}

/// Returns the arguments of every `.SH` line.
fn sections(page: &str) -> Vec<&str> {
    page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect()
}

/// Checks that every line is text or a known macro, and that blocks are closed.
fn check_roff(file: &Path, page: &str) {
    const MACROS: [&str; 16] = [
        ".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".RS", ".RE", ".nf", ".fi", ".br", ".ie", ".el",
        ".sp", ".in", ".ad",
    ];
    let count = |macro_name: &str| {
        page.lines().filter(|line| line.split(' ').next() == Some(macro_name)).count()
    };
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        let name = line.split(' ').next().unwrap();
        assert!(MACROS.contains(&name), "{}: {line}", file.display());
    }
    assert_eq!(count(".RS"), count(".RE"), "{}", file.display());
    assert_eq!(count(".nf"), count(".fi"), "{}", file.display());
    assert_eq!(count(".TH"), 1, "{}", file.display());
    // The formatters are optional: they are not on every machine.
    for formatter in [
        &["groff", "-K", "utf8", "-man", "-Tutf8", "-ww", "-z"][..],
        &["mandoc", "-T", "lint", "-W", "warning"],
    ] {
        let output = Command::new(formatter[0]).args(&formatter[1..]).arg(file).output();
        let Ok(output) = output else { continue };
        let text = [output.stdout, output.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&text), "", "{formatter:?} {}", file.display());
    }
}

#[test]
fn man_pages_of_commands_and_topics_are_valid() {
    let directory = tempfile::tempdir().unwrap();
    run(&["man", "--dir", directory.path().to_str().unwrap()]);
    let commands = [
        "",
        "-serve",
        "-load",
        "-compare",
        "-report",
        "-doctor",
        "-config",
        "-config-show",
        "-config-check",
        "-completions",
        "-help",
        "-man",
    ];
    let commands = commands.iter().map(|name| (format!("ringpoll{name}"), "1"));
    let topics = TOPICS.iter().map(|topic| (format!("ringpoll-{}", topic.name), "7"));
    let pages: Vec<_> = commands.chain(topics).collect();
    for (name, section) in &pages {
        let file = directory.path().join(format!("man{section}/{name}.{section}"));
        let page = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let title = format!(".TH {name} {section} \"\" \"ringpoll {}\"", env!("CARGO_PKG_VERSION"));
        assert!(page.lines().any(|line| line.starts_with(&title)), "{name}: {page}");
        let escaped = name.replace('-', "\\-");
        assert!(page.contains(&format!(".SH NAME\n{escaped} \\- ")), "{name}: {page}");
        let sections = sections(&page);
        assert_eq!((sections[0], *sections.last().unwrap()), ("NAME", "\"SEE ALSO\""), "{name}");
        if *section == "1" {
            assert!(sections.contains(&"SYNOPSIS"), "{name}: {sections:?}");
        }
        check_roff(&file, &page);
    }
    let files = |section| fs::read_dir(directory.path().join(section)).unwrap().count();
    assert_eq!(files("man1") + files("man7"), pages.len());
    let serve = fs::read_to_string(directory.path().join("man1/ringpoll-serve.1")).unwrap();
    assert!(sections(&serve).contains(&"\"EXIT CODES\""), "{:?}", sections(&serve));
    assert!(serve.contains("server.listen = "), "{serve}");
}
