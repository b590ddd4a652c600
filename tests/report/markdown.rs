//! The Markdown page, compact result files, and the manual's page of results.

use std::fs;
use std::path::{Path, PathBuf};

use ringpoll::report::terminal;
use ringpoll::report::{html, read};
use ringpoll::result::ComparisonResult;

use crate::fixture;
use crate::program::{directory_with, error_output, output_of, ringpoll};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a page with its committed text. The new text is kept for inspection.
fn assert_page(page: &str, committed: &Path, advice: &str) {
    let written = Path::new(env!("CARGO_TARGET_TMPDIR")).join(committed.file_name().unwrap());
    fs::write(&written, page).unwrap();
    let expected = fs::read_to_string(committed).unwrap();
    let differs = |(line, expected): &(&str, &str)| line != expected;
    let first = page.lines().zip(expected.lines()).find(differs);
    let files = format!("{} and {}", written.display(), committed.display());
    assert!(page == expected, "{files} differ, first in {first:#?}. {advice}");
}

#[test]
fn page_has_environments_tables_conclusions_and_notes() {
    let mut other = fixture::result_on_emulated_cpu("5.10.0-35-amd64", 1.31, 14);
    other.experiments[0].notes.push("a <b> | `c` *d* [e](f)".to_owned());
    other.command_line =
        ["/usr/bin/ringpoll", "compare", "--set", "a b=1"].map(str::to_owned).into();
    other.started_at = "2026-02-01T00:00:00Z".to_owned();
    let results = [
        ("loads.json", fixture::two_loads()),
        ("ladder.json", crate::ladder::result()),
        ("other.json", &other),
        ("sweep.json", fixture::swept()),
    ];
    let directory = directory_with(&results);
    let files = results.map(|(name, _)| name);
    let arguments = [&["report", "--markdown", "-"], &files[..]].concat();
    let page = output_of(&mut ringpoll(directory.path(), &arguments));
    let golden = project().join("tests/report/example/page.md");
    assert_page(&page, &golden, "If the change is intended, replace the second file.");
    let arguments = [&["report", "--markdown", "page.md"], &files[..]].concat();
    assert_eq!(output_of(&mut ringpoll(directory.path(), &arguments)), "");
    assert_eq!(fs::read_to_string(directory.path().join("page.md")).unwrap(), page);
}

#[test]
fn markdown_file_is_opened_before_results_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["report", "absent.json", "--markdown", "absent/page.md"];
    let error = error_output(&mut ringpoll(directory.path(), &arguments), 2);
    assert!(error.starts_with("ringpoll: --markdown absent/page.md: cannot open"), "{error}");
}

#[test]
fn compact_file_lacks_only_rounds_and_histograms() {
    for result in fixture::all() {
        let directory = directory_with(&[("result.json", result)]);
        let file = directory.path().join("result.json");
        let page = || {
            let arguments = ["report", "result.json", "--markdown", "-"];
            output_of(&mut ringpoll(directory.path(), &arguments))
        };
        let (whole, whole_page) = (fs::read_to_string(&file).unwrap(), page());
        let arguments = ["report", "result.json", "--compact", "result.json"];
        assert_eq!(output_of(&mut ringpoll(directory.path(), &arguments)), "");
        let compact = fs::read_to_string(&file).unwrap();
        assert!(compact.len() * 4 < whole.len(), "{} of {}", compact.len(), whole.len());
        let read = read::parse(&compact).unwrap();
        assert_eq!(read, without_rounds(result));
        let count = |rounds: usize| format!("{rounds} rounds of ");
        let rounds = result.experiments[0].rounds.len();
        assert_eq!(page(), whole_page.replace(&count(rounds), "rounds of "));
        let text = terminal::render(result, None).replace(&count(rounds), "rounds of ");
        assert_eq!(terminal::render(&read, None), text);
        let page = html::page(&read);
        assert!(!page.contains("Latency and rounds") && !page.contains("0 rounds"), "{page}");
    }
}

/// Returns the result without the fields that a compact file lacks.
fn without_rounds(result: &ComparisonResult) -> ComparisonResult {
    let mut result = result.clone();
    for experiment in &mut result.experiments {
        experiment.rounds = Vec::new();
        for summary in &mut experiment.summaries {
            summary.latency.corrected.histogram = String::new();
            summary.latency.uncorrected.histogram = String::new();
        }
    }
    result
}

#[test]
fn compact_refuses_several_results() {
    let directory = directory_with(&[("a.json", fixture::two()), ("b.json", fixture::two())]);
    let arguments = ["report", "a.json", "b.json", "--compact", "c.json"];
    let error = error_output(&mut ringpoll(directory.path(), &arguments), 2);
    assert_eq!(error, "ringpoll report: --compact can only be used with a single result.\n");
    assert!(!directory.path().join("c.json").exists());
}

/// Returns the result files below `directory`, in the order of the shell.
fn result_files(directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(project().join(directory)) else { return Vec::new() };
    let names = entries.map(|entry| PathBuf::from(directory).join(entry.unwrap().file_name()));
    let json = names.filter(|path| path.extension().is_some_and(|it| it == "json"));
    let mut files: Vec<String> = json.map(|path| path.display().to_string()).collect();
    files.sort();
    files
}

#[test]
fn results_page_of_the_manual_is_generated_from_committed_results() {
    let folders = ["", "/disputes", "/competitors", "/servers"];
    let files = folders.map(|it| result_files(&format!("tests/results{it}"))).concat();
    assert!(files.len() >= 2, "{files:?}");
    for file in &files {
        let text = fs::read_to_string(project().join(file)).unwrap();
        // The path of a request is `/`; anything longer is a path of the machine.
        let absolute = text.matches("\"/").count() - text.matches("\"/\"").count();
        assert_eq!(absolute, 0, "{file} contains a path of the machine");
        let result = read::parse(&text).unwrap();
        assert_eq!(result, without_rounds(&result), "{file} is not compact");
    }
    let arguments =
        ["report", "--markdown", "-"].into_iter().chain(files.iter().map(String::as_str));
    let page = output_of(&mut ringpoll(project(), &arguments.collect::<Vec<_>>()));
    let advice = "tests/results/measure.sh --page writes the page.";
    assert_page(&page, &project().join("src/manual/results.md"), advice);
}

/// The page quotes tables of results, next to the commands that measured them.
#[test]
fn quotes_of_the_page_of_disputes_are_measured_results() {
    let page = |name: &str| fs::read_to_string(project().join("src/manual").join(name)).unwrap();
    let (disputes, results) = (page("disputes.md"), page("results.md"));
    let tables: Vec<Vec<&str>> = results.split("\n\n").map(|it| it.lines().collect()).collect();
    let measured: Vec<_> = results.lines().filter_map(arguments_of_comparison).collect();
    for section in disputes.split("\n## ").skip(1) {
        let paragraphs = section.split("\n\n").filter(|it| it.starts_with("> "));
        let quotes: Vec<_> = paragraphs.collect();
        assert!(!quotes.is_empty(), "a section without a result: {section}");
        for quote in quotes {
            let mut rows = quote.lines().map(|line| line.trim_start_matches("> "));
            let (title, rows) = (rows.next().unwrap(), rows.collect::<Vec<_>>());
            let is_from = |table: &&Vec<&str>| {
                table[0] == title && rows.iter().all(|row| table.contains(row))
            };
            assert!(tables.iter().any(|table| is_from(&table)), "not of one table: {quote}");
            assert!(rows.len() > 1, "no row: {quote}");
        }
        let commands = section.replace("\\\n", "");
        let commands: Vec<_> = commands.lines().filter_map(arguments_of_comparison).collect();
        assert!(!commands.is_empty(), "a section without a command: {section}");
        for command in commands {
            assert!(measured.contains(&command), "not measured: {command:?}");
        }
    }
}

/// Returns the arguments of `ringpoll compare` but those that do not concern what is measured.
fn arguments_of_comparison(line: &str) -> Option<Vec<String>> {
    let mut words = shlex::split(line.strip_prefix("ringpoll compare ")?)?.into_iter();
    let mut arguments = Vec::new();
    while let Some(word) = words.next() {
        if ["--config", "--budget", "--json"].contains(&word.as_str()) {
            words.next();
        } else {
            arguments.push(word);
        }
    }
    Some(arguments)
}
