//! Output of a result with several loads: each has its own section and verdict.

use ringpoll::compare::condition::{Condition, Evaluation};
use ringpoll::report::html;
use ringpoll::report::side_by_side::{self, Named, SideBySide};
use ringpoll::report::terminal;
use ringpoll::result::{ComparisonResult, Outcome};
use roxmltree::Node;
use serde_json::Value;

use crate::fixture;
use crate::page::{check_numbers, parsed, text_of};

fn named(result: &ComparisonResult, name: &str) -> Named {
    Named { name: name.to_owned(), result: result.clone() }
}

#[test]
fn terminal_has_conclusion_and_table_per_load() {
    let result = fixture::two_loads();
    assert_eq!(result.outcome, Outcome::Depends);
    let text = terminal::render(result, None);
    for (experiment, line) in result.experiments.iter().zip(text.lines()) {
        assert_eq!(line, format!("{}: {}", experiment.load.name, experiment.conclusion));
        assert!(result.conclusion.contains(line), "{}", result.conclusion);
        let heading = format!("load: {}: {}", experiment.load.name, experiment.load.description);
        assert!(text.lines().any(|line| line == heading), "{heading}\n{text}");
    }
    assert!(text.contains("required settings: server.keep_alive=true"), "{text}");
}

#[test]
fn page_has_one_section_per_load() {
    let result = fixture::two_loads();
    let page = html::page(result);
    let document = parsed(&page);
    let conclusions: Vec<String> = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("conclusion"))
        .map(text_of)
        .collect();
    let expected = |at: usize| {
        let experiment = &result.experiments[at];
        format!("{}: {}", experiment.load.name, experiment.conclusion)
    };
    assert_eq!(conclusions, [expected(0), expected(1)]);
    let sections: Vec<Node> = document
        .descendants()
        .filter(|node| node.has_tag_name("details") && node.attribute("open") == Some("open"))
        .collect();
    assert_eq!(sections.len(), 2);
    for (section, experiment) in sections.into_iter().zip(&result.experiments) {
        let text = text_of(section);
        assert!(text.contains(&format!("{}: verdict by metric", experiment.load.name)), "{text}");
        assert!(
            text.contains(&experiment.load.description) && text.contains(&experiment.conclusion)
        );
        let set = text.contains("server.keep_alive=true");
        assert_eq!(set, experiment.load.name == "keep-alive");
    }
    let value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
    assert!(check_numbers(&document, &[value]) > 100);
}

#[test]
fn side_by_side_groups_do_not_mix_loads() {
    let (one, mut other) = (fixture::two_loads(), fixture::two_loads().clone());
    other.environment.kernel_release = "6.1.0".to_owned();
    let all = [named(one, "one.json"), named(&other, "other.json")];
    let side_by_side = SideBySide::new(&all).unwrap();
    for group in side_by_side.groups() {
        assert_eq!(group.rows.len(), 2);
        let same = |name: &String| *name == group.experiment.load.name;
        assert!(group.rows.iter().map(|row| &row.experiment.load.name).all(same));
    }
    let text = side_by_side::render(&side_by_side, None);
    for load in ["load: churn: description of churn", "load: keep-alive: description of keep-alive"]
    {
        assert!(text.contains(load), "{text}");
    }
    let page = html::side_by_side_page(&side_by_side);
    assert!(page.contains("under churn") && page.contains("under keep-alive"));
    // Results with fewer loads, or with loads in another order, are not comparable.
    other.experiments.pop();
    let fewer = [named(one, "one.json"), named(&other, "other.json")];
    let refusal = SideBySide::new(&fewer).unwrap_err();
    assert!(refusal.contains("keep-alive: description of keep-alive"), "{refusal}");
    let mut reversed = one.clone();
    reversed.experiments.reverse();
    let reversed = [named(one, "one.json"), named(&reversed, "reversed.json")];
    assert!(SideBySide::new(&reversed).is_err());
}

#[test]
fn condition_with_load_name_evaluates_only_that_load() {
    let evaluate = |text: &str| text.parse::<Condition>().unwrap().evaluate(fixture::two_loads());
    assert_eq!(evaluate("cpu_per_request > 1.02"), Evaluation::Holds);
    assert_eq!(evaluate("keep-alive: cpu_per_request > 1.02"), Evaluation::Holds);
    assert_eq!(evaluate("churn: cpu_per_request > 1.02"), Evaluation::DoesNotHold);
    assert_eq!(evaluate("mixed: cpu_per_request > 1.02"), Evaluation::Unknown);
}
