//! Reading of result files: valid, invalid, and of other versions.

use ringpoll::report::read;
use ringpoll::report::terminal;
use ringpoll::result::{ComparisonResult, Outcome, SCHEMA_VERSION};
use serde_json::Value;

use crate::fixture;
use crate::program::{directory_with, error_output, output_of, ringpoll};

/// Returns the error of a result after this change.
fn refusal(change: impl FnOnce(&mut ComparisonResult)) -> String {
    let mut result = fixture::two().clone();
    change(&mut result);
    read::parse(&fixture::json(&result)).unwrap_err()
}

#[test]
fn file_renders_same_table_as_result() {
    for result in fixture::all() {
        let directory = directory_with(&[("result.json", result)]);
        let table = output_of(&mut ringpoll(directory.path(), &["report", "result.json"]));
        assert_eq!(table, terminal::render(result, None));
        assert!(table.starts_with(&result.conclusion));
    }
}

#[test]
fn dash_reads_standard_input() {
    let result = fixture::two();
    let directory = directory_with(&[("result.json", result)]);
    let mut command = ringpoll(directory.path(), &["report", "-"]);
    command.stdin(std::fs::File::open(directory.path().join("result.json")).unwrap());
    assert_eq!(output_of(&mut command), terminal::render(result, None));
}

#[test]
fn unknown_fields_are_ignored() {
    let result = fixture::two();
    let mut value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
    value["environment"]["moon_phase"] = "full".into();
    assert_eq!(read::parse(&value.to_string()).unwrap().conclusion, result.conclusion);
}

#[test]
fn other_schema_versions_are_refused_with_advice() {
    let directory = tempfile::tempdir().unwrap();
    let old = SCHEMA_VERSION - 1;
    for (version, advice) in [(old, "Run the comparison again."), (99, "Use a newer ringpoll.")] {
        // The rest of the file is not checked.
        let text = format!(r#"{{"schema_version": {version}}}"#);
        std::fs::write(directory.path().join("other.json"), text).unwrap();
        let error = error_output(&mut ringpoll(directory.path(), &["report", "other.json"]), 1);
        let expected = format!(
            "ringpoll report: other.json has schema version {version}; this ringpoll reads only \
             {SCHEMA_VERSION}. {advice}\n"
        );
        assert_eq!(error, expected);
    }
    assert!(refusal(|result| result.schema_version = old).starts_with("has schema version"));
}

#[test]
fn html_file_is_opened_before_results_are_read() {
    let directory = directory_with(&[("result.json", fixture::two())]);
    let run = |file: &str, page: &str, exit_code| {
        let arguments = ["report", file, "--html", page];
        error_output(&mut ringpoll(directory.path(), &arguments), exit_code)
    };
    let error = run("absent.json", "absent/page.html", 2);
    assert!(error.starts_with("ringpoll: --html absent/page.html: cannot open"), "{error}");
    // A failure leaves neither an empty new file nor a changed old one.
    std::fs::write(directory.path().join("old.html"), "old").unwrap();
    for page in ["new.html", "old.html"] {
        let error = run("absent.json", page, 1);
        assert!(error.starts_with("ringpoll report: cannot read absent.json"), "{error}");
    }
    assert!(!directory.path().join("new.html").exists());
    let read = || std::fs::read_to_string(directory.path().join("old.html")).unwrap();
    assert_eq!(read(), "old");
    let arguments = ["report", "result.json", "--html", "old.html"];
    assert_eq!(output_of(&mut ringpoll(directory.path(), &arguments)), "");
    assert_eq!(read(), ringpoll::report::html::page(fixture::two()));
}

#[test]
fn page_does_not_replace_a_result_or_another_page() {
    let directory = directory_with(&[("result.json", fixture::two())]);
    let result = || std::fs::read_to_string(directory.path().join("result.json")).unwrap();
    let before = result();
    for flag in ["--html", "--markdown"] {
        let arguments = ["report", "result.json", flag, "./result.json"];
        let error = error_output(&mut ringpoll(directory.path(), &arguments), 2);
        let expected = format!("ringpoll: {flag} ./result.json: this would replace a result");
        assert!(error.starts_with(&expected), "{error}");
    }
    let arguments = ["report", "result.json", "--html", "page", "--markdown", "page"];
    let error = error_output(&mut ringpoll(directory.path(), &arguments), 2);
    assert!(error.starts_with("ringpoll: --html and --markdown are the same file, "), "{error}");
    assert!(!directory.path().join("page").exists());
    assert_eq!(result(), before);
}

#[test]
fn invalid_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in
        [("{", "is not JSON"), ("{}", "no schema_version"), ("[1]", "no schema_version")]
    {
        std::fs::write(directory.path().join("other.json"), text).unwrap();
        let error = error_output(&mut ringpoll(directory.path(), &["report", "other.json"]), 1);
        assert!(error.contains("other.json") && error.contains(expected), "{error}");
    }
    let error = error_output(&mut ringpoll(directory.path(), &["report", "absent.json"]), 1);
    assert!(error.contains("absent.json"), "{error}");
}

#[test]
fn invalid_arm_indices_are_refused() {
    let changes: [fn(&mut ComparisonResult); 6] = [
        |result| result.arms.clear(),
        |result| result.outcome = Outcome::Winner { arm: 9 },
        |result| result.experiments[0].comparisons[0].baseline = 9,
        |result| result.experiments[0].comparisons[0].candidate = 9,
        |result| result.experiments[0].summaries[0].arm = 9,
        |result| result.experiments[0].rounds[0].arm = 9,
    ];
    for change in changes {
        assert!(refusal(change).contains("arm"));
    }
}

#[test]
fn control_characters_are_escaped() {
    let mut result = fixture::two().clone();
    result.conclusion = "\u{1b}]0;title\u{7}text".to_owned();
    result.arms[0].label = "a\u{9b}31mb".to_owned();
    let counters = result.experiments[0].rounds[0].counters.as_mut().unwrap();
    counters.counters.insert("\u{1b}[2J".to_owned(), 1);
    let read = read::parse(&fixture::json(&result)).unwrap();
    assert_eq!(read.conclusion, "\\u{1b}]0;title\\u{7}text");
    let counters = read.experiments[0].rounds[0].counters.as_ref().unwrap();
    assert!(counters.counters.contains_key("\\u{1b}[2J"));
    let text = terminal::render(&read, None);
    assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
}
