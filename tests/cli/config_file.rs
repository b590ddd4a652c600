//! `config.toml` agrees with the table of keys, and the manual with the table of techniques.

use std::fs;

use ringpoll::config::KEYS;
use ringpoll_backends::{Technique, Techniques};
use toml::{Table, Value};

use crate::program::{ringpoll, stdout_of};

fn config_file() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.toml")).unwrap()
}

/// Returns the file with the # removed before every key.
fn with_all_keys_set() -> String {
    let is_key = |line: &str| line.strip_prefix('#').is_some_and(|it| !it.starts_with([' ', '#']));
    config_file().lines().fold(String::new(), |text, line| {
        text + if is_key(line) && line != "#" { &line[1..] } else { line } + "\n"
    })
}

fn value_of<'table>(table: &'table Table, key: &str) -> Option<&'table Value> {
    let mut parts = key.split('.');
    let first = table.get(parts.next()?);
    parts.fold(first, |value, part| value?.get(part))
}

#[test]
fn file_has_exactly_the_known_keys_with_their_defaults() {
    let table: Table = with_all_keys_set().parse().unwrap();
    for key in KEYS.iter() {
        assert_eq!(value_of(&table, key.name), Some(&key.default.into()), "{}", key.name);
    }
    let keys = table.values().map(|value| value.as_table().map_or(1, Table::len)).sum::<usize>();
    assert_eq!(keys, KEYS.len());
}

#[test]
fn comment_above_each_key_is_its_documentation() {
    let text = with_all_keys_set();
    for key in KEYS.iter() {
        let name = key.name.rsplit('.').next().unwrap();
        let assignment = format!("{name} = {}", Value::from(key.default));
        let lines: Vec<_> = text.lines().collect();
        // Search in the key's section: epoll and io_uring have keys of the same name.
        let section = key.name.split_once('.').map(|(section, _)| format!("[{section}]"));
        let begins = section.and_then(|it| lines.iter().position(|&line| line == it));
        let begins = begins.unwrap_or(0);
        let line = begins + lines[begins..].iter().position(|&line| line == assignment).unwrap();
        let comment: Vec<_> = lines[..line]
            .iter()
            .rev()
            .map_while(|line| line.strip_prefix("# "))
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect();
        assert_eq!(comment.join(" "), key.description(), "{}", key.name);
    }
}

#[test]
fn file_sets_nothing_and_is_valid_with_all_keys_set() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let run = |arguments: &[&str]| {
        stdout_of(&ringpoll(arguments).current_dir(directory.path()).output().unwrap())
    };
    let preset = ["config", "show", "--preset", "reference"];
    let without_a_file = run(&preset);
    fs::write(&file, config_file()).unwrap();
    assert_eq!(run(&preset), without_a_file);
    fs::write(&file, with_all_keys_set()).unwrap();
    assert_eq!(run(&["config", "check", "config.toml"]), "config.toml: valid\n");
    for line in run(&["config", "show"]).lines() {
        assert!(line.contains("# file config.toml:"), "{line}");
    }
}

#[test]
fn manual_describes_each_technique_as_the_table_does() {
    let page = include_str!("../../src/manual/techniques.md");
    let cells = |line: &str| line.split('|').map(|it| it.trim().to_owned()).collect::<Vec<_>>();
    let begins = page.lines().skip_while(|line| !line.starts_with("| key ")).skip(2);
    let rows: Vec<_> = begins.take_while(|line| line.starts_with('|')).map(cells).collect();
    let quoted = |keys: &[&str], between: &str| {
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(between)
    };
    let row = |it: &Technique| {
        let default = match (it.default > 0, it.is_experimental) {
            (true, _) => "on",
            (false, false) => "off",
            (false, true) => "off, experimental",
        };
        let requires = match it.yields_to {
            [] => quoted(it.requires, ", "),
            others => format!("no {}", quoted(others, " or ")),
        };
        let key = quoted(&[it.key], "");
        vec![String::new(), key, default.into(), it.linux.into(), requires, String::new()]
    };
    assert_eq!(rows, Techniques::ALL.iter().map(row).collect::<Vec<_>>());
    let (_, experimental) = page.split_once("## Experimental techniques").unwrap();
    for it in Techniques::ALL {
        let has_heading = |text: &str| {
            let headings = text.lines().filter_map(|line| line.strip_prefix("### "));
            headings.flat_map(|it| it.split(' ')).any(|word| word == it.key)
        };
        assert!(has_heading(page), "{}", it.key);
        assert_eq!(has_heading(experimental), it.is_experimental, "{}", it.key);
    }
}
