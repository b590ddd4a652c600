//! Results beside each other: only those that answer the same question.

use std::sync::LazyLock;

use ringpoll::report::html;
use ringpoll::report::result::ComparisonResult;
use ringpoll::report::side_by_side::{Named, SideBySide, is_emulated};
use serde_json::Value;

use crate::fixture::{self, EDGE, LEVEL};
use crate::page::{check_numbers, parsed};
use crate::program::{complaint, directory_with, printed, ringpoll};

fn kernels() -> Vec<ComparisonResult> {
    static KERNELS: LazyLock<[ComparisonResult; 5]> = LazyLock::new(|| {
        [
            fixture::on_kernel("6.1.0-37-amd64", 1.04, 11),
            fixture::on_kernel("6.12.48-amd64", 0.97, 12),
            fixture::on_kernel("6.18.1-amd64", 0.87, 13),
            fixture::emulated("5.10.0-35-amd64", 1.31, 14),
            fixture::emulated("6.19.0-amd64", 0.9, 15),
        ]
    });
    KERNELS.to_vec()
}

fn named(results: Vec<ComparisonResult>) -> Vec<Named> {
    let name = |index: usize| format!("{index}.json");
    results.into_iter().enumerate().map(|(at, result)| Named { name: name(at), result }).collect()
}

/// What is said when the second is changed before it is put beside the first.
fn refusal(change: impl FnOnce(&mut ComparisonResult)) -> String {
    let mut all = named(kernels());
    all.truncate(2);
    SideBySide::new(&all).unwrap();
    change(&mut all[1].result);
    SideBySide::new(&all).unwrap_err()
}

#[test]
fn every_result_has_its_line() {
    let results = kernels();
    let files: Vec<(&str, &ComparisonResult)> =
        ["a.json", "b.json", "c.json", "d.json", "e.json"].into_iter().zip(&results).collect();
    let directory = directory_with(&files);
    let arguments = ["report", "a.json", "b.json", "c.json", "d.json", "e.json"];
    let text = printed(&mut ringpoll(directory.path(), &arguments));
    for (name, result) in files {
        let metric = result.experiments[0].comparisons[0].metrics.iter().find(|it| it.decides);
        let ratio = format!("{:.3}", metric.unwrap().ratio.unwrap());
        let release = &result.environment.kernel_release;
        let has_all = |line: &&str| [name, release, &ratio].iter().all(|it| line.contains(*it));
        assert_eq!(text.lines().filter(has_all).count(), 1, "{name} {ratio}\n{text}");
    }
}

#[test]
fn emulated_ones_stand_apart() {
    let all = named(kernels());
    let side_by_side = SideBySide::new(&all).unwrap();
    let groups = side_by_side.groups();
    assert_eq!(groups.iter().filter(|it| it.metric.decides).count(), 2);
    for group in &groups {
        assert_eq!(group.rows.len(), if group.emulated { 2 } else { 3 });
        for row in &group.rows {
            let model = &row.named.result.environment.cpu.model;
            assert_eq!(model.contains("TCG"), group.emulated, "{model}");
        }
    }
    let page = html::side_by_side_page(&side_by_side);
    assert!(page.contains("Emulated processor."));
}

#[test]
fn a_processor_of_qemu_is_real_under_kvm() {
    let mut all = named(kernels());
    all.truncate(1);
    let environment = &mut all[0].result.environment;
    environment.cpu.model = "QEMU Virtual CPU version 2.5+".to_owned();
    environment.virtualisation = "kvm".to_owned();
    assert!(!is_emulated(environment));
    environment.virtualisation = "a hypervisor".to_owned();
    assert!(is_emulated(environment));
}

#[test]
fn other_questions_are_refused_by_name() {
    type Change = fn(&mut ComparisonResult);
    let changes: [(Change, &str); 9] = [
        (|it| it.schema_version = 2, "schema version: 1 there, 2 here"),
        (|it| it.arms[1].label = "nginx".to_owned(), "nginx"),
        (
            |it| it.arms[0].settings[1].value = "64".to_owned(),
            "server.backlog: 4096 there, 64 here",
        ),
        (|it| drop(it.arms[0].settings.remove(1)), "server.backlog: 4096 there, not known here"),
        (|it| it.experiments[0].load.text = "a burst".to_owned(), "a burst here"),
        (
            |it| it.experiments[0].load.parameters[0].value = "16".to_owned(),
            "connections: 64 there, 16 here",
        ),
        (
            |it| {
                let point = &mut it.experiments[0].working_points[0];
                point.rate_origin = Some("given by --rate".to_owned());
            },
            "rate: calibrated there, 15000 requests/s here",
        ),
        (|it| it.method.confidence = 0.99, "confidence: 0.95 there, 0.99 here"),
        (|it| it.experiments.clear(), "loads"),
    ];
    for (change, says) in changes {
        let refusal = refusal(change);
        assert!(refusal.contains("0.json and 1.json") && refusal.contains(says), "{refusal}");
    }
}

#[test]
fn a_refusal_is_an_exit_code_and_no_table() {
    let one = fixture::two();
    let other = fixture::result(&[LEVEL, EDGE], 1);
    let directory = directory_with(&[("one.json", one), ("other.json", &other)]);
    let arguments = ["report", "one.json", "other.json", "--html", "page.html"];
    let complaint = complaint(&mut ringpoll(directory.path(), &arguments), 2);
    assert!(complaint.contains("one.json and other.json: arms:"), "{complaint}");
    assert!(!directory.path().join("page.html").exists());
}

#[test]
fn every_number_beside_another_is_its_own() {
    let all = named(kernels());
    let page = html::side_by_side_page(&SideBySide::new(&all).unwrap());
    let value = |it: &Named| serde_json::from_str(&fixture::json(&it.result)).unwrap();
    let values: Vec<Value> = all.iter().map(value).collect();
    let metrics = all[0].result.experiments[0].comparisons[0].metrics.len();
    assert!(check_numbers(&parsed(&page), &values) > all.len() * metrics * 4);
}

#[test]
fn what_is_invalid_is_not_told_as_a_verdict() {
    let mut all = named(kernels());
    all.truncate(2);
    let result = &mut all[1].result;
    let mut rounds = result.experiments[0].rounds.clone();
    for round in &mut rounds {
        round.failures.wrong_bytes = 3;
    }
    result.experiments[0] = fixture::judged(&result.arms, rounds);
    let side_by_side = SideBySide::new(&all).unwrap();
    let text = ringpoll::report::side_by_side::render(&side_by_side, None);
    let line = text.lines().find(|line| line.contains("1.json")).unwrap();
    assert!(line.contains("invalid"), "{line}");
}

#[test]
fn tables_are_as_wide_as_the_terminal() {
    let results = kernels();
    let directory = directory_with(&[("a.json", &results[0]), ("b.json", &results[1])]);
    let widest = |columns: Option<&str>| {
        let mut command = ringpoll(directory.path(), &["report", "a.json", "b.json"]);
        command.env("NO_COLOR", "1").envs(columns.map(|columns| ("COLUMNS", columns)));
        let text = printed(&mut command);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let table = text.lines().filter(|line| line.contains(['─', '═', '│']));
        table.map(|line| line.chars().count()).max().unwrap()
    };
    assert!(widest(None) > 100);
    assert!(widest(Some("80")) <= 80);
}

#[test]
#[ignore = "writes a page for somebody to look at in a browser"]
fn page_to_look_at() {
    let all = named(kernels());
    let page = html::side_by_side_page(&SideBySide::new(&all).unwrap());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("side_by_side.html");
    std::fs::write(&path, page).unwrap();
    println!("{}", path.display());
}
