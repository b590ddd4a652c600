use super::*;
use crate::compare::synthetic;
use crate::report::result::GateKind;

fn result(ratio: f64, verdict: Verdict) -> MetricResult {
    MetricResult {
        metric: Metric::CpuPerRequest,
        point: Point::FixedRate,
        decides: true,
        baseline: Some(10.0),
        contender: Some(10.0 * ratio),
        ratio: Some(ratio),
        low: Some(ratio * 0.98),
        high: Some(ratio * 1.02),
        confidence: Some(0.97),
        pairs: 12,
        verdict,
        no_difference_larger_than: (verdict == Verdict::NoDifference).then_some(0.021),
        reason: None,
    }
}

fn comparison(contender: usize, ratio: f64, verdict: Verdict) -> Comparison {
    let mut comparison = Comparison {
        baseline: 0,
        contender,
        metrics: vec![result(ratio, verdict)],
        sentence: String::new(),
        why: Vec::new(),
    };
    let point = WorkingPoint {
        point: Point::FixedRate,
        requests_per_second: Some(15_000.0),
        rate_origin: None,
    };
    comparison.sentence = sentence_of_two(&synthetic::arms(3), &comparison, &[point], 0.95);
    comparison
}

#[test]
fn numbers_in_words() {
    assert_eq!(difference(0.868), "13 % less");
    assert_eq!(difference(0.955), "4.5 % less");
    assert_eq!(difference(1.2), "20 % more");
    assert_eq!(difference(2.13), "2.1 times as much");
    assert_eq!(percentage(0.021), "2.1 %");
    assert_eq!(percentage(0.95), "95 %");
    assert_eq!(thousands(1_234_567.2), "1,234,567");
    assert_eq!(thousands(15.0), "15");
}

#[test]
fn each_verdict_has_its_sentence() {
    let sentence = |ratio, verdict| comparison(1, ratio, verdict).sentence;
    assert_eq!(
        sentence(0.85, Verdict::Better),
        "B is better than A: 15 % less CPU per request at 15,000 requests/s (ratio 0.850, between \
         0.833 and 0.867, 95 % sure)."
    );
    assert!(sentence(1.2, Verdict::Worse).starts_with("A is better than B, which takes 20 % more"));
    let none = sentence(1.001, Verdict::NoDifference);
    assert!(none.starts_with("No difference larger than 2.1 % in CPU per request"), "{none}");
    let open = sentence(1.01, Verdict::Inconclusive);
    assert!(open.contains("from 1.0 % less to 3.0 % more CPU per request than A"), "{open}");
    assert!(sentence(1.0, Verdict::NotJudgeable).starts_with("Not judged"));
}

#[test]
fn throughput_is_told_where_it_is_judged() {
    let mut two = comparison(1, 0.85, Verdict::Better);
    two.metrics.push(MetricResult {
        metric: Metric::Throughput,
        point: Point::Saturated,
        decides: false,
        ..result(1.2, Verdict::Better)
    });
    let sentence = sentence_of_two(&synthetic::arms(2), &two, &[], 0.95);
    assert!(sentence.ends_with("At saturation B serves 20 % more requests/s."), "{sentence}");
}

#[test]
fn a_winner_is_shown_to_win() {
    let outcome = |comparisons: &[Comparison]| outcome(comparisons, &[]);
    let better = comparison(1, 0.85, Verdict::Better);
    let worse = comparison(1, 1.2, Verdict::Worse);
    let same = comparison(1, 1.0, Verdict::NoDifference);
    let open = comparison(1, 1.0, Verdict::Inconclusive);
    assert_eq!(outcome(std::slice::from_ref(&better)), Outcome::Winner { arm: 1 });
    assert_eq!(outcome(std::slice::from_ref(&worse)), Outcome::Winner { arm: 0 });
    assert_eq!(outcome(&[same]), Outcome::NoDifference);
    assert_eq!(outcome(&[open]), Outcome::Inconclusive);
    // Of three: apart from both others, or not.
    let apart = comparison(2, 0.7, Verdict::Better);
    let near = comparison(2, 0.83, Verdict::Better);
    assert_eq!(outcome(&[better.clone(), apart]), Outcome::Winner { arm: 2 });
    assert_eq!(outcome(&[better, near]), Outcome::Inconclusive);
    assert_eq!(
        outcome(&[worse.clone(), comparison(2, 1.1, Verdict::Worse)]),
        Outcome::Winner { arm: 0 }
    );
}

#[test]
fn an_invalid_experiment_says_why_and_what_to_try() {
    let gate = Gate {
        kind: GateKind::WrongBytes,
        effect: GateEffect::Invalid,
        metrics: Vec::new(),
        arms: vec![1],
        reason: "3 answers were wrong".to_owned(),
        remedy: "look at one".to_owned(),
    };
    let comparisons = [comparison(1, 0.85, Verdict::Better)];
    let gates = [gate];
    let outcome = outcome(&comparisons, &gates);
    assert_eq!(outcome, Outcome::Invalid);
    let sentence = sentence(&synthetic::arms(2), &comparisons, &gates, outcome);
    assert_eq!(sentence, "Invalid: 3 answers were wrong. Try: look at one.");
}

#[test]
fn of_three_the_best_is_named_first() {
    let comparisons = [comparison(1, 0.85, Verdict::Better), comparison(2, 0.7, Verdict::Better)];
    let outcome = outcome(&comparisons, &[]);
    let sentence = sentence(&synthetic::arms(3), &comparisons, &[], outcome);
    assert!(sentence.starts_with("C is the best of the 3. B is better than A"), "{sentence}");
}
