//! From a result to a file and back; and files that are no results.

use ringpoll::compare::terminal;
use ringpoll::report::read;
use ringpoll::report::result::{ComparisonResult, Outcome};
use serde_json::Value;

use crate::fixture;
use crate::program::{complaint, directory_with, printed, ringpoll};

/// What a file was before it was broken, and what is then said of it.
fn refusal(breaking: impl FnOnce(&mut ComparisonResult)) -> String {
    let mut result = fixture::two().clone();
    breaking(&mut result);
    read::parse(&fixture::json(&result)).unwrap_err()
}

#[test]
fn a_result_read_again_says_the_same() {
    for result in fixture::all() {
        let directory = directory_with(&[("result.json", result)]);
        let table = printed(&mut ringpoll(directory.path(), &["report", "result.json"]));
        assert_eq!(table, terminal::render(result, None));
        assert!(table.starts_with(&result.sentence));
    }
}

#[test]
fn a_result_can_come_from_standard_input() {
    let result = fixture::two();
    let directory = directory_with(&[("result.json", result)]);
    let mut command = ringpoll(directory.path(), &["report", "-"]);
    command.stdin(std::fs::File::open(directory.path().join("result.json")).unwrap());
    assert_eq!(printed(&mut command), terminal::render(result, None));
}

#[test]
fn fields_of_a_later_program_are_no_obstacle() {
    let result = fixture::two();
    let mut value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
    value["environment"]["moon_phase"] = "full".into();
    assert_eq!(read::parse(&value.to_string()).unwrap().sentence, result.sentence);
}

#[test]
fn another_version_is_refused_before_anything_else() {
    let problem = refusal(|result| result.schema_version = 2);
    assert!(problem.contains("schema version 2"), "{problem}");
    let problem = read::parse(r#"{"schema_version": 7}"#).unwrap_err();
    assert!(problem.contains("schema version 7"), "{problem}");
}

#[test]
fn what_is_no_result_is_refused_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    for (text, says) in
        [("{", "no JSON"), ("{}", "no schema_version"), ("[1]", "no schema_version")]
    {
        std::fs::write(directory.path().join("other.json"), text).unwrap();
        let complaint = complaint(&mut ringpoll(directory.path(), &["report", "other.json"]), 1);
        assert!(complaint.contains("other.json") && complaint.contains(says), "{complaint}");
    }
    let complaint = complaint(&mut ringpoll(directory.path(), &["report", "absent.json"]), 1);
    assert!(complaint.contains("absent.json"), "{complaint}");
}

#[test]
fn arms_that_are_not_there_are_refused() {
    let breakings: [fn(&mut ComparisonResult); 6] = [
        |result| result.arms.clear(),
        |result| result.outcome = Outcome::Winner { arm: 9 },
        |result| result.experiments[0].comparisons[0].baseline = 9,
        |result| result.experiments[0].comparisons[0].contender = 9,
        |result| result.experiments[0].summaries[0].arm = 9,
        |result| result.experiments[0].rounds[0].arm = 9,
    ];
    for breaking in breakings {
        assert!(refusal(breaking).contains("arm"));
    }
}

#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let mut result = fixture::two().clone();
    result.sentence = "\u{1b}]0;taken\u{7}over".to_owned();
    result.arms[0].label = "a\u{9b}31mb".to_owned();
    let counters = result.experiments[0].rounds[0].counters.as_mut().unwrap();
    counters.counters.insert("\u{1b}[2J".to_owned(), 1);
    let read = read::parse(&fixture::json(&result)).unwrap();
    assert_eq!(read.sentence, "\\u{1b}]0;taken\\u{7}over");
    let counters = read.experiments[0].rounds[0].counters.as_ref().unwrap();
    assert!(counters.counters.contains_key("\\u{1b}[2J"));
    let text = terminal::render(&read, None);
    assert!(text.chars().all(|it| it == '\n' || !it.is_control()), "{text:?}");
}
