//! Output of a ladder with synthetic rounds.

use std::sync::LazyLock;
use std::time::Duration;

use ringpoll::compare::experiment::ExperimentPlan;
use ringpoll::compare::ladder::{Ladder, LadderAnalysis};
use ringpoll::report::html;
use ringpoll::report::read;
use ringpoll::report::terminal;
use ringpoll::result::{ComparisonResult, LadderStepResult, LoadLevel, Outcome};
use roxmltree::Node;
use serde_json::Value;

use crate::fixture::{self, Cost, MARGINS, SINGLE_SHOT};
use crate::page::parsed;

/// CPU cost of each step of the io_uring ladder, relative to the previous step.
const STEPS: [f64; 12] = [1.0, 0.97, 0.88, 0.82, 0.97, 0.95, 1.0, 1.0, 0.95, 0.76, 0.8, 0.98];
/// Technique that the kernel of the fixture does not support.
const UNSUPPORTED: &str = "multishot_receive";

pub(crate) fn result() -> &'static ComparisonResult {
    static RESULT: LazyLock<ComparisonResult> = LazyLock::new(fixture_ladder);
    &RESULT
}

fn fixture_ladder() -> ComparisonResult {
    let steps = Ladder::IoUring.steps();
    assert_eq!(steps.len(), STEPS.len());
    let mut cpu = 1.0;
    let costs: Vec<Cost> = steps
        .iter()
        .zip(STEPS)
        .map(|(step, factor)| {
            cpu *= factor;
            Cost { label: &step.label, cpu, ..SINGLE_SHOT }
        })
        .collect();
    let mut result = fixture::result(&costs, 5);
    let mut features: Vec<String> = Vec::new();
    for (arm, step) in result.arms.iter_mut().zip(steps) {
        let technique = step.label.trim_start_matches("+ ");
        features.extend((technique != UNSUPPORTED).then(|| technique.to_owned()));
        arm.kernel_features = features.clone();
    }
    let arms = result.arms.clone();
    let analysis = LadderAnalysis::new(Ladder::IoUring, &arms);
    let plan = ExperimentPlan {
        seed: 1,
        budget: Duration::ZERO,
        sharing_budget: 1,
        max_blocks: 1,
        confidence: 0.95,
        margins: MARGINS,
        load_levels: vec![LoadLevel::FixedRate],
        rate: None,
        decide: None,
        requested: Vec::new(),
        claims: analysis.claims(),
    };
    let experiment = &mut result.experiments[0];
    analysis.add_to(experiment, &plan);
    (result.conclusion, result.outcome) = (experiment.conclusion.clone(), experiment.outcome);
    result
}

fn steps_of(result: &ComparisonResult) -> &[LadderStepResult] {
    &result.experiments[0].ladder.as_ref().unwrap().steps
}

fn has_class(class: &'static str) -> impl Fn(&Node) -> bool {
    move |node| node.attribute("class") == Some(class)
}

#[test]
fn bar_length_is_ratio_to_first_step() {
    let result = result();
    let page = html::page(result);
    let document = parsed(&page);
    let picture = document.descendants().find(has_class("plot ladder")).unwrap();
    let bars: Vec<Node> = picture.descendants().filter(has_class("bar")).collect();
    let whiskers = picture.descendants().filter(has_class("whisker")).count();
    let in_force = steps_of(result).iter().filter(|it| it.unused_reason.is_none()).count();
    assert_eq!((bars.len(), whiskers, in_force), (in_force, in_force, STEPS.len() - 1));
    let number = |bar: &Node, name: &str| bar.attribute(name).unwrap().parse::<f64>().unwrap();
    let unit = number(&bars[0], "width");
    for bar in &bars[1..] {
        let (length, ratio) = (number(bar, "width") / unit, number(bar, "data-value"));
        assert!((length - ratio).abs() < 0.001, "{length} for {ratio}");
    }
    let labels: Vec<&str> =
        picture.descendants().filter(has_class("label")).map(|it| it.text().unwrap()).collect();
    let arms: Vec<&str> = result.arms.iter().map(|it| it.label.as_str()).collect();
    assert_eq!(labels, arms);
}

#[test]
fn unused_step_is_marked_in_plot_tables_and_conclusion() {
    let result = result();
    let unused = result.arms.iter().position(|it| it.label.contains(UNSUPPORTED)).unwrap();
    let reason = steps_of(result)[unused].unused_reason.clone().unwrap();
    let page = html::page(result);
    let document = parsed(&page);
    let labels: Vec<&str> =
        document.descendants().filter(has_class("absent")).map(|it| it.text().unwrap()).collect();
    assert_eq!(labels, ["not in force"], "in the plot");
    let labels = document.descendants().filter(has_class("verdict-label not-compared"));
    let labels = labels.filter(|it| it.text() == Some("not in force"));
    assert_eq!(labels.count(), 1, "in the table");
    assert!(page.contains(&reason));
    let text = terminal::render(result, None);
    let line = text.lines().find(|it| it.trim_start().starts_with("+ multishot_receive")).unwrap();
    assert!(line.trim_end().ends_with("not in force") && !line.contains("0."), "{line}");
    assert!(text.contains(&reason));
    assert!(result.conclusion.contains("Not in force: multishot_receive."));
}

#[test]
fn terminal_has_one_line_per_step() {
    let result = result();
    let text = terminal::render(result, None);
    for (step, arm) in steps_of(result).iter().zip(&result.arms) {
        let begins = format!("{} ", arm.label);
        let line = text
            .lines()
            .find(|it| it.trim_start().starts_with(&begins))
            .unwrap_or_else(|| panic!("{text}"));
        if let Some(ratio) = step.to_previous.as_ref().and_then(|it| it.ratio) {
            assert!(line.contains(&format!("{ratio:.3}")), "{line}");
        }
    }
    let last = STEPS.len() - 1;
    assert!(
        matches!(result.outcome, Outcome::Winner { arm } if arm == last),
        "{:?}",
        result.outcome
    );
}

#[test]
fn invalid_arm_indices_of_steps_are_refused() {
    let good: Value = serde_json::from_str(&fixture::json(result())).unwrap();
    for path in ["/experiments/0/ladder/steps/3/arm", "/experiments/0/ladder/steps/3/previous"] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap() = 99.into();
        assert!(read::parse(&bad.to_string()).unwrap_err().contains("arm 99"), "{path}");
    }
}
