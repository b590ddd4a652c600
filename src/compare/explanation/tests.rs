use super::*;
use crate::compare::summary::summaries;
use crate::compare::synthetic;
use crate::result::GateKind;

fn result(ratio: f64, verdict: Verdict) -> MetricResult {
    MetricResult {
        metric: Metric::CpuPerRequest,
        load_level: LoadLevel::FixedRate,
        is_primary: true,
        baseline: Some(10.0),
        candidate: Some(10.0 * ratio),
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

fn comparison(candidate: usize, ratio: f64, verdict: Verdict) -> Comparison {
    let mut comparison = Comparison {
        baseline: 0,
        candidate,
        metrics: vec![result(ratio, verdict)],
        conclusion: String::new(),
        causes: Vec::new(),
    };
    let load_level = LoadLevelResult {
        load_level: LoadLevel::FixedRate,
        requests_per_second: Some(15_000.0),
        rate_origin: None,
    };
    comparison.conclusion =
        comparison_conclusion(&synthetic::arms(3), &comparison, &[load_level], 0.95);
    comparison
}

#[test]
fn numbers_are_formatted() {
    assert_eq!(format_difference(0.868), "13% less");
    assert_eq!(format_difference(0.955), "4.5% less");
    assert_eq!(format_difference(1.2), "20% more");
    assert_eq!(format_difference(2.13), "2.1 times as much");
    assert_eq!(format_percentage(0.021), "2.1%");
    assert_eq!(format_percentage(0.95), "95%");
    assert_eq!(format_thousands(1_234_567.2), "1,234,567");
    assert_eq!(format_thousands(15.0), "15");
}

#[test]
fn each_verdict_has_its_conclusion() {
    let sentence = |ratio, verdict| comparison(1, ratio, verdict).conclusion;
    assert_eq!(
        sentence(0.85, Verdict::Better),
        "B is better than A: 15% less CPU per request at 15,000 requests/s (ratio 0.850, 0.833 \
         to 0.867 with 95% confidence)."
    );
    assert!(sentence(1.2, Verdict::Worse).starts_with("A is better than B, which uses 20% more"));
    let none = sentence(1.001, Verdict::NoDifference);
    assert!(none.starts_with("No difference larger than 2.1% in CPU per request"), "{none}");
    let open = sentence(1.01, Verdict::Inconclusive);
    assert!(
        open.starts_with(
            "Inconclusive: B uses between 1.0% less and 3.0% more CPU per request than A"
        ),
        "{open}"
    );
    assert!(
        sentence(1.0, Verdict::NotCompared)
            .starts_with("Not compared: CPU per request of B and A. ")
    );
}

#[test]
fn compared_throughput_is_reported() {
    let mut two = comparison(1, 0.85, Verdict::Better);
    two.metrics.push(MetricResult {
        metric: Metric::Throughput,
        load_level: LoadLevel::Saturation,
        is_primary: false,
        ..result(1.2, Verdict::Better)
    });
    let sentence = comparison_conclusion(&synthetic::arms(2), &two, &[], 0.95);
    assert!(sentence.ends_with("At saturation B serves 20% more requests/s."), "{sentence}");
    let fewer = throughput_clause("B", &result(0.8, Verdict::Worse)).unwrap();
    assert_eq!(fewer, " At saturation B serves 20% fewer requests/s.");
    let bytes = MetricResult { metric: Metric::BytesThroughput, ..result(1.2, Verdict::Better) };
    let more = throughput_clause("B", &bytes).unwrap();
    assert_eq!(more, " At saturation B serves 20% more bytes/s.");
}

#[test]
fn winner_needs_intervals_that_do_not_overlap() {
    let outcome = |comparisons: &[Comparison]| outcome(comparisons, &[]);
    let better = comparison(1, 0.85, Verdict::Better);
    let worse = comparison(1, 1.2, Verdict::Worse);
    let same = comparison(1, 1.0, Verdict::NoDifference);
    let open = comparison(1, 1.0, Verdict::Inconclusive);
    assert_eq!(outcome(std::slice::from_ref(&better)), Outcome::Winner { arm: 1 });
    assert_eq!(outcome(std::slice::from_ref(&worse)), Outcome::Winner { arm: 0 });
    assert_eq!(outcome(&[same]), Outcome::NoDifference);
    assert_eq!(outcome(&[open]), Outcome::Inconclusive);
    // Three arms, with intervals that are disjoint or overlap.
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
fn invalid_experiment_reports_reason_and_remedy() {
    let gate = Gate {
        kind: GateKind::WrongBytes,
        effect: GateEffect::Invalid,
        metrics: Vec::new(),
        arms: vec![1],
        reason: "3 responses were wrong.".to_owned(),
        remedy: "Inspect one.".to_owned(),
    };
    let comparisons = [comparison(1, 0.85, Verdict::Better)];
    let gates = [gate];
    let outcome = outcome(&comparisons, &gates);
    assert_eq!(outcome, Outcome::Invalid);
    let sentence = experiment_conclusion(&synthetic::arms(2), &comparisons, &gates, outcome);
    assert_eq!(sentence, "Invalid: 3 responses were wrong. Inspect one.");
}

#[test]
fn best_of_three_arms_is_named_first() {
    let comparisons = [comparison(1, 0.85, Verdict::Better), comparison(2, 0.7, Verdict::Better)];
    let outcome = outcome(&comparisons, &[]);
    let sentence = experiment_conclusion(&synthetic::arms(3), &comparisons, &[], outcome);
    assert!(sentence.starts_with("C is the best of 3 arms. B is better than A"), "{sentence}");
}

#[test]
fn kernel_threads_of_io_uring_have_their_kind() {
    let line = |tasks: u32, workers: u32| {
        let mut rounds = synthetic::rounds(2, 1);
        for round in rounds.iter_mut().filter(|round| round.arm == 1) {
            (round.server.io_uring_tasks, round.server.io_wq_workers) = (tasks, workers);
            round.server.io_wq_cpu_ns = if workers > 0 { round.server.cpu_ns / 5 } else { 0 };
        }
        let summaries = summaries(&rounds, 2, &[LoadLevel::FixedRate]);
        let lines = causes(&synthetic::arms(2), &summaries, (0, 1), LoadLevel::FixedRate);
        lines
            .into_iter()
            .find_map(|it| Some(it.strip_prefix("kernel threads for io_uring: ")?.to_owned()))
    };
    assert_eq!(line(0, 0), None);
    assert_eq!(line(1, 0).as_deref(), Some("B an SQPOLL thread"));
    assert_eq!(line(2, 0).as_deref(), Some("B 2 SQPOLL threads"));
    assert_eq!(line(1, 1).as_deref(), Some("B up to 1 io-wq worker (20% of the CPU time)"));
    let both = "B an SQPOLL thread and up to 3 io-wq workers (20% of the CPU time)";
    assert_eq!(line(4, 3).as_deref(), Some(both));
}
