//! Several loads in one result: a section and a verdict for each, and never a figure of two.

use ringpoll::compare::condition::{Answer, Condition};
use ringpoll::compare::terminal;
use ringpoll::report::result::{ComparisonResult, Outcome};
use ringpoll::report::side_by_side::{self, Named, SideBySide};
use ringpoll::report::{html, read};
use roxmltree::Node;
use serde_json::Value;

use crate::fixture;
use crate::page::{check_numbers, parsed, text_of};

fn named(result: &ComparisonResult, name: &str) -> Named {
    Named { name: name.to_owned(), result: result.clone() }
}

#[test]
fn each_load_has_its_line_and_its_table() {
    let result = fixture::two_loads();
    assert_eq!(result.outcome, Outcome::Depends);
    let text = terminal::render(result, None);
    for (experiment, line) in result.experiments.iter().zip(text.lines()) {
        assert_eq!(line, format!("{}: {}", experiment.load.name, experiment.sentence));
        assert!(result.sentence.contains(line), "{}", result.sentence);
        let heading = format!("load: {}: {}", experiment.load.name, experiment.load.text);
        assert!(text.lines().any(|line| line == heading), "{heading}\n{text}");
    }
    assert!(text.contains("all engines serve it with server.keep_alive=true"), "{text}");
}

#[test]
fn each_load_has_its_section_of_the_page() {
    let result = fixture::two_loads();
    let page = html::page(result);
    let document = parsed(&page);
    let sentences: Vec<String> = document
        .descendants()
        .filter(|node| node.attribute("class") == Some("sentence"))
        .map(text_of)
        .collect();
    let said = |at: usize| {
        let experiment = &result.experiments[at];
        format!("{}: {}", experiment.load.name, experiment.sentence)
    };
    assert_eq!(sentences, [said(0), said(1)]);
    let sections: Vec<Node> = document
        .descendants()
        .filter(|node| node.has_tag_name("details") && node.attribute("open") == Some("open"))
        .collect();
    assert_eq!(sections.len(), 2);
    for (section, experiment) in sections.into_iter().zip(&result.experiments) {
        let text = text_of(section);
        assert!(text.contains(&format!("{}: the verdict", experiment.load.name)), "{text}");
        assert!(text.contains(&experiment.load.text) && text.contains(&experiment.sentence));
        let set = text.contains("server.keep_alive=true");
        assert_eq!(set, experiment.load.name == "keep-alive");
    }
    let value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
    assert!(check_numbers(&document, &[value]) > 100);
}

#[test]
fn results_beside_each_other_keep_their_loads_apart() {
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
    for load in ["load: churn: what churn is", "load: keep-alive: what keep-alive is"] {
        assert!(text.contains(load), "{text}");
    }
    let page = html::side_by_side_page(&side_by_side);
    assert!(page.contains("under churn") && page.contains("under keep-alive"));
    // One load of two is another question, and so are two in another order.
    other.experiments.pop();
    let fewer = [named(one, "one.json"), named(&other, "other.json")];
    let refusal = SideBySide::new(&fewer).unwrap_err();
    assert!(refusal.contains("keep-alive: what keep-alive is"), "{refusal}");
    let mut turned = one.clone();
    turned.experiments.reverse();
    let turned = [named(one, "one.json"), named(&turned, "turned.json")];
    assert!(SideBySide::new(&turned).is_err());
}

#[test]
fn a_condition_asks_its_own_load() {
    let ask = |text: &str| text.parse::<Condition>().unwrap().ask(fixture::two_loads());
    assert_eq!(ask("cpu_per_request > 1.02"), Answer::Holds);
    assert_eq!(ask("keep-alive: cpu_per_request > 1.02"), Answer::Holds);
    assert_eq!(ask("churn: cpu_per_request > 1.02"), Answer::DoesNotHold);
    assert_eq!(ask("mixed: cpu_per_request > 1.02"), Answer::Unknown);
}

#[test]
fn results_from_before_there_were_loads_are_read() {
    let mut value: Value = serde_json::from_str(&fixture::json(fixture::two())).unwrap();
    let load = value["experiments"][0]["load"].as_object_mut().unwrap();
    load.shift_remove("name").unwrap();
    load.shift_remove("server_settings").unwrap();
    for round in value["experiments"][0]["rounds"].as_array_mut().unwrap() {
        round["client"].as_object_mut().unwrap().shift_remove("connections_ended").unwrap();
    }
    let read = read::parse(&value.to_string()).unwrap();
    assert_eq!(&read, fixture::two());
}
