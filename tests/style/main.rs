//! Holds the repository to its style: the field's words, lines of at most 100 columns, functions of
//! at most 70 lines, and a map that names every source file.

mod functions;
mod map;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

const MAX_COLUMNS: usize = 100;
const MAX_FUNCTION_LINES: usize = 70;

/// Folders of generated or foreign data.
const SKIPPED: &[&str] =
    &["target", ".git", "tests/fuzz/corpus", "tests/kernels/expected", "tests/report/example"];

/// One text file of the repository.
struct File {
    /// Relative to the root, such as `backends/epoll/level.rs`.
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every text file whose name ends in one of `extensions`, sorted by path.
fn files(extensions: &[&str]) -> Vec<File> {
    let mut directories = vec![PathBuf::new()];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("the checkout is readable") {
            let path = directory.join(entry.expect("the checkout is readable").file_name());
            let name = path.to_str().expect("file names are UTF-8").to_owned();
            if SKIPPED.contains(&name.as_str()) || name.ends_with("/target") {
                continue;
            }
            if root().join(&path).is_dir() {
                directories.push(path);
            } else if extensions.iter().any(|extension| name.ends_with(extension)) {
                let text = fs::read_to_string(root().join(&path)).expect("sources are UTF-8");
                files.push(File { path: name, text });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files
}

/// Fails with one line for each problem.
fn report(problems: Vec<String>, rule: &str) {
    assert!(problems.is_empty(), "{} × {rule}:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn only_the_words_of_the_field_are_used() {
    let mut problems = Vec::new();
    for file in files(&[".rs", ".md", ".toml", ".yml", ".ci/run"]) {
        // The lists of these words contain them.
        if ["tests/style/words.rs", ".github/CONTRIBUTING.md"].contains(&file.path.as_str()) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            // The environments of results, which are numbered, have the names of CPUs.
            let is_numbered = line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit();
            if file.path == "src/manual/results.md" && is_numbered {
                continue;
            }
            for found in words::banned_in(line) {
                problems.push(format!("{}:{}: {found}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    report(problems, "a word or an opening that CONTRIBUTING.md replaces");
}

#[test]
fn lines_have_at_most_100_columns() {
    let mut problems = Vec::new();
    for file in files(&[".rs"]) {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            // A string that must not be broken, such as a URL or an expected output, may be longer.
            if columns > MAX_COLUMNS && !line.contains('"') && !line.contains("://") {
                problems.push(format!("{}:{}: {columns} columns", file.path, number + 1));
            }
        }
    }
    report(problems, "a line of more than 100 columns");
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut problems = Vec::new();
    for file in files(&[".rs"]) {
        for function in functions::of(&file.text) {
            if function.lines > MAX_FUNCTION_LINES {
                let (name, lines) = (function.name, function.lines);
                problems.push(format!("{}:{}: {name}: {lines} lines", file.path, function.line));
            }
        }
    }
    report(problems, "a function of more than 70 lines");
}

#[test]
fn the_maps_name_every_file() {
    let mut problems = Vec::new();
    for (directory, map) in [("backends", "backends/lib.rs"), ("src", "src/main.rs")] {
        let sources = files(&[".rs"]);
        let map = sources.iter().find(|file| file.path == map).expect("the crate has a root");
        let named = map::names(&map.text);
        for file in &sources {
            let Some(path) = file.path.strip_prefix(directory) else { continue };
            let path = path.trim_start_matches('/');
            if !map::is_named(&named, path) {
                problems.push(format!("{}: not in the map of {}", file.path, map.path));
            }
        }
        for name in named {
            let path = root().join(directory).join(name.trim_end_matches('/'));
            if !path.exists() {
                problems.push(format!("{}: names {name}, which does not exist", map.path));
            }
        }
    }
    report(problems, "a map that does not fit the files");
}
