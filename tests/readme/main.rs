//! Checks README.md and the pages of the manual: commands work, links resolve, and the tests that
//! are named exist.
//!
//! The commands of the README run. Those of the manual are only parsed, unless
//! `RINGPOLL_TESTS=full`.

mod commands;
mod pages;

use std::fs;
use std::path::{Path, PathBuf};

use pages::Page;

/// Longest line of a page, except in tables.
const MAX_COLUMNS: usize = 120;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check_commands(pages: &[Page], run: bool) {
    let directory = tempfile::tempdir().unwrap();
    let mut checked: Vec<Vec<String>> = Vec::new();
    for page in pages {
        for command in page.commands() {
            // `cargo run --release --` starts the same program as `ringpoll`.
            let words = commands::words(&command).expect("all quotes are closed");
            if !checked.contains(&words) {
                println!("{}: {command}", page.path);
                commands::check(&words, run && !page.is_generated(), directory.path());
                checked.push(words);
            }
        }
    }
    assert!(checked.len() >= 5, "{checked:?}");
}

#[test]
fn commands_of_the_readme_work() {
    check_commands(&[Page::readme()], true);
}

#[test]
fn commands_of_the_manual_work() {
    check_commands(&Page::manual(), common::is_full());
}

#[test]
fn links_resolve() {
    for page in Page::all() {
        for link in page.links().into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&page.path),
                file => root().join(&page.path).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link} does not exist", page.path);
            if !anchor.is_empty() {
                let anchors = pages::anchors(&fs::read_to_string(target).unwrap());
                assert!(anchors.iter().any(|it| it == anchor), "{}: no anchor {link}", page.path);
            }
        }
    }
}

/// Tests are named `file::name`: `tests/file/main.rs`, one of its modules, or a source file.
#[test]
fn named_tests_exist() {
    let sources = sources();
    let mut count = 0;
    for page in Page::all() {
        for code in page.codes() {
            let Some((file, name)) = code.split_once("::") else { continue };
            let is_in = |(path, text): &(PathBuf, String)| {
                let in_file = path.iter().any(|part| Path::new(part).file_stem().unwrap() == file);
                let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
                in_file && text.split(|letter| !is_word(letter)).any(|word| word == name)
            };
            assert!(sources.iter().any(is_in), "{}: there is no test {code}", page.path);
            count += 1;
        }
    }
    assert!(count >= 50, "only {count} tests are named");
}

/// A table with numbered rows is followed by a list that names the tests of each row.
#[test]
fn numbered_rows_have_tests() {
    let mut tables = 0;
    for page in Page::manual() {
        let lines: Vec<&str> = page.text.lines().collect();
        for header in (0..lines.len()).filter(|&line| lines[line].starts_with("| # ")) {
            let rows = lines[header + 2..].iter().take_while(|line| line.starts_with('|'));
            let rows: Vec<_> = rows.map(|row| row.trim_start_matches("| ")).collect();
            let list = lines[header..].iter().skip_while(|line| !line.starts_with("1. "));
            let list = list.take_while(|line| !line.is_empty());
            let items: Vec<_> = list.filter(|line| !line.starts_with(' ')).collect();
            assert_eq!(rows.len(), items.len(), "{}: {}", page.path, lines[header]);
            for (index, (row, item)) in rows.into_iter().zip(items).enumerate() {
                let number = index + 1;
                assert!(row.starts_with(&format!("{number} ")), "{}: {row}", page.path);
                assert!(item.starts_with(&format!("{number}. `")), "{}: {item}", page.path);
            }
            tables += 1;
        }
    }
    assert_eq!(tables, 2);
}

#[test]
fn every_suite_is_listed() {
    let page = Page::manual().into_iter().find(|page| page.path.ends_with("testing.md")).unwrap();
    for entry in fs::read_dir(root().join("tests")).unwrap() {
        let suite = entry.unwrap();
        if suite.path().join("main.rs").is_file() {
            let row = format!("| `{}`", suite.file_name().to_str().unwrap());
            assert!(page.text.contains(&row), "{}: no row {row}", page.path);
        }
    }
}

#[test]
fn pages_fit_a_terminal() {
    for page in Page::manual().iter().filter(|page| !page.is_generated()) {
        assert!(page.text.starts_with("# "), "{}", page.path);
        assert!(!page.text.contains("\n# "), "{}: two titles", page.path);
        // A row of a table cannot be wrapped.
        let is_row = |line: &&str| line.trim_start_matches("> ").starts_with('|');
        for line in page.text.lines().filter(|line| !is_row(line)) {
            assert!(line.chars().count() <= MAX_COLUMNS, "{}: {line}", page.path);
        }
    }
}

/// Returns every Rust file of the suites and of the packages, with its path.
fn sources() -> Vec<(PathBuf, String)> {
    let mut directories: Vec<PathBuf> = vec!["tests".into(), "backends".into(), "src".into()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            if path.ends_with("target") {
                continue;
            }
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(root().join(&path)).unwrap();
                sources.push((path, text));
            }
        }
    }
    sources
}
