//! A ladder as it is told: one that nobody measured, judged by the program's own judges.

use std::sync::LazyLock;
use std::time::Duration;

use ringpoll::compare::experiment::Rules;
use ringpoll::compare::ladder::{Climb, Ladder};
use ringpoll::compare::terminal;
use ringpoll::report::html;
use ringpoll::report::read;
use ringpoll::report::result::{ComparisonResult, Outcome, Point, Rung};
use roxmltree::Node;
use serde_json::Value;

use crate::fixture::{self, Cost, MARGINS, SINGLE_SHOT};
use crate::page::parsed;

/// What each step of the ladder of io_uring costs beside the one below.
const STEPS: [f64; 17] = [
    1.0, 0.97, 0.88, 0.82, 0.97, 0.95, 1.0, 1.0, 0.95, 0.99, 0.99, 1.02, 1.0, 0.999, 0.76, 0.8,
    0.98,
];
/// What the kernel of the fixture does not have.
const ABSENT: &str = "registered_ring";

pub(crate) fn result() -> &'static ComparisonResult {
    static RESULT: LazyLock<ComparisonResult> = LazyLock::new(climbed);
    &RESULT
}

fn climbed() -> ComparisonResult {
    let steps = Ladder::IoUring.steps();
    let mut cpu = 1.0;
    let costs: Vec<Cost> = steps
        .iter()
        .zip(STEPS)
        .map(|(step, factor)| {
            cpu *= factor;
            Cost { label: step.label, cpu, ..SINGLE_SHOT }
        })
        .collect();
    let mut result = fixture::result(&costs, 5);
    let mut features: Vec<String> = Vec::new();
    for (arm, step) in result.arms.iter_mut().zip(steps) {
        let technique = step.label.trim_start_matches("+ ");
        features.extend((technique != ABSENT).then(|| technique.to_owned()));
        arm.kernel_features = features.clone();
    }
    let arms = result.arms.clone();
    let climb = Climb::new(Ladder::IoUring, &arms);
    let rules = Rules {
        seed: 1,
        budget: Duration::ZERO,
        most_blocks: 1,
        confidence: 0.95,
        margins: MARGINS,
        points: vec![Point::FixedRate],
        rate: None,
        claims: climb.claims(),
    };
    let experiment = &mut result.experiments[0];
    climb.judge(experiment, &rules);
    (result.sentence, result.outcome) = (experiment.sentence.clone(), experiment.outcome);
    result
}

fn rungs(result: &ComparisonResult) -> &[Rung] {
    &result.experiments[0].ladder.as_ref().unwrap().rungs
}

fn is_of(class: &'static str) -> impl Fn(&Node) -> bool {
    move |node| node.attribute("class") == Some(class)
}

#[test]
fn the_picture_has_a_bar_for_each_rung_as_long_as_its_ratio() {
    let result = result();
    let page = html::page(result);
    let document = parsed(&page);
    let picture = document.descendants().find(is_of("plot ladder")).unwrap();
    let bars: Vec<Node> = picture.descendants().filter(is_of("bar")).collect();
    let whiskers = picture.descendants().filter(is_of("whisker")).count();
    let in_force = rungs(result).iter().filter(|it| it.not_in_force.is_none()).count();
    assert_eq!((bars.len(), whiskers, in_force), (16, 16, 16));
    let number = |bar: &Node, name: &str| bar.attribute(name).unwrap().parse::<f64>().unwrap();
    let whole = number(&bars[0], "width");
    for bar in &bars[1..] {
        let (long, ratio) = (number(bar, "width") / whole, number(bar, "data-value"));
        assert!((long - ratio).abs() < 0.001, "{long} for {ratio}");
    }
    let labels: Vec<&str> =
        picture.descendants().filter(is_of("label")).map(|it| it.text().unwrap()).collect();
    let arms: Vec<&str> = result.arms.iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, arms);
}

#[test]
fn a_rung_that_is_not_in_force_is_said_to_be_wherever_it_stands() {
    let result = result();
    let absent = result.arms.iter().position(|it| it.label.contains(ABSENT)).unwrap();
    let reason = rungs(result)[absent].not_in_force.clone().unwrap();
    let page = html::page(result);
    let document = parsed(&page);
    let said: Vec<&str> =
        document.descendants().filter(is_of("absent")).map(|it| it.text().unwrap()).collect();
    assert_eq!(said, ["not in force here"], "in the picture");
    let said = document.descendants().filter(is_of("says not-judged"));
    let said = said.filter(|it| it.text() == Some("not in force here")).count();
    assert_eq!(said, 1, "in the table");
    assert!(page.contains(&reason));
    let text = terminal::render(result, None);
    let line = text.lines().find(|it| it.trim_start().starts_with("+ registered_ring")).unwrap();
    assert!(line.trim_end().ends_with("not in force here") && !line.contains("0."), "{line}");
    assert!(text.contains(&reason));
    assert!(result.sentence.contains("Not in force here: registered_ring."));
}

#[test]
fn a_terminal_has_a_line_for_each_rung() {
    let result = result();
    let text = terminal::render(result, None);
    for (rung, arm) in rungs(result).iter().zip(&result.arms) {
        let begins = format!("{} ", arm.label);
        let line = text
            .lines()
            .find(|it| it.trim_start().starts_with(&begins))
            .unwrap_or_else(|| panic!("{text}"));
        if let Some(ratio) = rung.to_below.as_ref().and_then(|it| it.ratio) {
            assert!(line.contains(&format!("{ratio:.3}")), "{line}");
        }
    }
    assert!(matches!(result.outcome, Outcome::Winner { arm: 16 }), "{:?}", result.outcome);
}

#[test]
fn rungs_that_are_no_arms_are_refused() {
    let good: Value = serde_json::from_str(&fixture::json(result())).unwrap();
    for place in ["/experiments/0/ladder/rungs/3/arm", "/experiments/0/ladder/rungs/3/below"] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = 99.into();
        assert!(read::parse(&bad.to_string()).unwrap_err().contains("arm 99"), "{place}");
    }
}

#[test]
fn a_result_from_before_there_were_ladders_is_read() {
    let mut value: Value = serde_json::from_str(&fixture::json(fixture::two())).unwrap();
    let experiment = value["experiments"][0].as_object_mut().unwrap();
    experiment.shift_remove("ladder").unwrap();
    assert_eq!(read::parse(&value.to_string()).unwrap(), *fixture::two());
}
