//! Output of several results of the same comparison side by side.

use std::sync::LazyLock;

use ringpoll::report::html;
use ringpoll::report::side_by_side::{Named, SideBySide, is_emulated};
use ringpoll::result::ComparisonResult;
use serde_json::Value;

use crate::fixture::{self, EDGE, LEVEL};
use crate::page::{check_numbers, parsed};
use crate::program::{directory_with, error_output, output_of, ringpoll};

fn results_of_kernels() -> Vec<ComparisonResult> {
    static KERNELS: LazyLock<[ComparisonResult; 5]> = LazyLock::new(|| {
        [
            fixture::result_on_kernel("6.1.0-37-amd64", 1.04, 11),
            fixture::result_on_kernel("6.12.48-amd64", 0.97, 12),
            fixture::result_on_kernel("6.18.1-amd64", 0.87, 13),
            fixture::result_on_emulated_cpu("5.10.0-35-amd64", 1.31, 14),
            fixture::result_on_emulated_cpu("6.19.0-amd64", 0.9, 15),
        ]
    });
    KERNELS.to_vec()
}

fn named(results: Vec<ComparisonResult>) -> Vec<Named> {
    let name = |index: usize| format!("{index}.json");
    results.into_iter().enumerate().map(|(at, result)| Named { name: name(at), result }).collect()
}

/// Returns the error for two results, the second of which is changed.
fn refusal(change: impl FnOnce(&mut ComparisonResult)) -> String {
    let mut all = named(results_of_kernels());
    all.truncate(2);
    SideBySide::new(&all).unwrap();
    change(&mut all[1].result);
    SideBySide::new(&all).unwrap_err()
}

#[test]
fn table_has_one_row_per_result() {
    let results = results_of_kernels();
    let files: Vec<(&str, &ComparisonResult)> =
        ["a.json", "b.json", "c.json", "d.json", "e.json"].into_iter().zip(&results).collect();
    let directory = directory_with(&files);
    let arguments = ["report", "a.json", "b.json", "c.json", "d.json", "e.json"];
    let text = output_of(&mut ringpoll(directory.path(), &arguments));
    for (name, result) in files {
        let metric = result.experiments[0].comparisons[0].metrics.iter().find(|it| it.is_primary);
        let ratio = format!("{:.3}", metric.unwrap().ratio.unwrap());
        let release = &result.environment.kernel_release;
        let has_all = |line: &&str| [name, release, &ratio].iter().all(|it| line.contains(*it));
        assert_eq!(text.lines().filter(has_all).count(), 1, "{name} {ratio}\n{text}");
    }
}

#[test]
fn emulated_cpus_are_in_separate_groups() {
    let all = named(results_of_kernels());
    let side_by_side = SideBySide::new(&all).unwrap();
    let groups = side_by_side.groups();
    assert_eq!(groups.iter().filter(|it| it.metric.is_primary).count(), 2);
    for group in &groups {
        assert_eq!(group.rows.len(), if group.emulated { 2 } else { 3 });
        for row in &group.rows {
            let model = &row.named.result.environment.cpu.model;
            assert_eq!(model.contains("TCG"), group.emulated, "{model}");
        }
    }
    let page = html::side_by_side_page(&side_by_side);
    assert!(page.contains("Emulated CPU."));
}

#[test]
fn qemu_cpu_with_kvm_is_not_emulated() {
    let mut all = named(results_of_kernels());
    all.truncate(1);
    let environment = &mut all[0].result.environment;
    environment.cpu.model = "QEMU Virtual CPU version 2.5+".to_owned();
    environment.virtualisation = "kvm".to_owned();
    assert!(!is_emulated(environment));
    environment.virtualisation = "a hypervisor".to_owned();
    assert!(is_emulated(environment));
}

#[test]
fn differing_comparisons_are_refused_with_differences() {
    type Change = fn(&mut ComparisonResult);
    let changes: [(Change, &str); 9] = [
        (|it| it.schema_version = 99, "schema version: 2 and 99"),
        (|it| it.arms[1].label = "nginx".to_owned(), "nginx"),
        (|it| it.arms[0].settings[1].value = "64".to_owned(), "server.backlog: 4096 and 64"),
        (|it| drop(it.arms[0].settings.remove(1)), "server.backlog: 4096 and unknown"),
        (|it| it.experiments[0].load.description = "a burst".to_owned(), " and churn: a burst"),
        (
            |it| it.experiments[0].load.parameters[0].value = "16".to_owned(),
            "connections: 64 and 16",
        ),
        (
            |it| {
                let level = &mut it.experiments[0].load_levels[0];
                level.rate_origin = Some("given by --rate".to_owned());
            },
            "rate: calibrated and 15000 requests/s",
        ),
        (|it| it.method.confidence = 0.99, "confidence: 0.95 and 0.99"),
        (|it| it.experiments.clear(), "loads"),
    ];
    for (change, expected) in changes {
        let refusal = refusal(change);
        assert!(refusal.contains("0.json and 1.json") && refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn refusal_has_exit_code_and_no_output() {
    let one = fixture::two();
    let other = fixture::result(&[LEVEL, EDGE], 1);
    let directory = directory_with(&[("one.json", one), ("other.json", &other)]);
    let arguments = ["report", "one.json", "other.json", "--html", "page.html"];
    let error = error_output(&mut ringpoll(directory.path(), &arguments), 2);
    assert!(error.contains("one.json and other.json: arms:"), "{error}");
    assert!(!directory.path().join("page.html").exists());
}

#[test]
fn numbers_equal_json_values() {
    let all = named(results_of_kernels());
    let page = html::side_by_side_page(&SideBySide::new(&all).unwrap());
    let value = |it: &Named| serde_json::from_str(&fixture::json(&it.result)).unwrap();
    let values: Vec<Value> = all.iter().map(value).collect();
    let metrics = all[0].result.experiments[0].comparisons[0].metrics.len();
    assert!(check_numbers(&parsed(&page), &values) > all.len() * metrics * 4);
}

#[test]
fn invalid_experiment_has_no_verdict() {
    let mut all = named(results_of_kernels());
    all.truncate(2);
    let result = &mut all[1].result;
    let mut rounds = result.experiments[0].rounds.clone();
    for round in &mut rounds {
        round.failures.wrong_bytes = 3;
    }
    result.experiments[0] = fixture::analysed(&result.arms, rounds);
    let side_by_side = SideBySide::new(&all).unwrap();
    let text = ringpoll::report::side_by_side::render(&side_by_side, None);
    let line = text.lines().find(|line| line.contains("1.json")).unwrap();
    assert!(line.contains("invalid"), "{line}");
}

#[test]
fn tables_fit_terminal_width() {
    let results = results_of_kernels();
    let directory = directory_with(&[("a.json", &results[0]), ("b.json", &results[1])]);
    let widest = |columns: Option<&str>| {
        let mut command = ringpoll(directory.path(), &["report", "a.json", "b.json"]);
        command.env("NO_COLOR", "1").envs(columns.map(|columns| ("COLUMNS", columns)));
        let text = output_of(&mut command);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let table = text.lines().filter(|line| line.contains(['─', '═', '│']));
        table.map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(None) > 100);
    assert!(widest(Some("80")) <= 80);
}

#[test]
#[ignore = "writes an example page to view in a browser"]
fn write_example_page() {
    let all = named(results_of_kernels());
    let page = html::side_by_side_page(&SideBySide::new(&all).unwrap());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("side_by_side.html");
    std::fs::write(&path, page).unwrap();
    println!("{}", path.display());
}
