//! Markdown page of results: a table of the environments, then a section for each result. The
//! cells of its tables are those of the terminal.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::iter;
use std::path::Path;

use super::labels::{required_settings, verdict_label};
use super::side_by_side::{Named, is_emulated};
use super::{cells, ladder_table, terminal};
use crate::compare::explanation::{at_load_level, format_percentage};
use crate::result::{
    Comparison, ComparisonResult, CrossoverMap, Experiment, LadderResult, LoadLevel,
};

const INTRODUCTION: &str = "\
# Results

`ringpoll report --markdown` generated this page from result files of `ringpoll compare --json`. Do
not edit it: measure again, then generate it again.

A ratio compares an arm with the first arm or, in a ladder, a step with another step. A ratio below
1 is less CPU time, less latency, fewer calls or fewer requests per second. All intervals of a load
hold together with the confidence in the head of the table. ◄ marks the primary metric, on which the
conclusion is based. Noise is the width of the interval of the first arm compared with itself.
`ringpoll help statistics` describes the method.
";

/// Returns the page. The results may be of different comparisons.
pub fn page(results: &[Named]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut environments: Vec<[String; 5]> = Vec::new();
    for Named { result, .. } in results {
        let cells = environment_cells(result);
        if !environments.contains(&cells) {
            environments.push(cells);
        }
    }
    let rows = environments.iter().zip(1..).map(|(cells, number)| {
        let own = results.iter().filter(|it| environment_cells(&it.result) == *cells);
        let dates: BTreeSet<&str> = own.map(|it| date(&it.result)).collect();
        let dates = Vec::from_iter(dates).join(", ");
        [&[number.to_string()], &cells[..], &[dates]].concat()
    });
    page += "\n## Environments\n";
    let header = ["", "CPU", "CPUs", "kernel", "virtualisation", "ringpoll", "measured on"];
    table(&mut page, "lllllll", header, rows);
    for Named { name, result } in results {
        let cells = environment_cells(result);
        let number = environments.iter().take_while(|it| **it != cells).count() + 1;
        section(&mut page, name, result, number);
    }
    page
}

fn environment_cells(result: &ComparisonResult) -> [String; 5] {
    let environment = &result.environment;
    let (cpu, program) = (&environment.cpu, &environment.program);
    let emulated = if is_emulated(environment) { ", emulated CPU" } else { "" };
    [
        cpu.model.clone(),
        format!("{} of {}", cpu.available, cpu.online),
        environment.kernel_release.clone(),
        format!("{}{emulated}", environment.virtualisation),
        format!("{} ({})", program.version, program.git_commit.as_deref().unwrap_or("no commit")),
    ]
}

fn date(result: &ComparisonResult) -> &str {
    result.started_at.split('T').next().unwrap_or_default()
}

fn section(page: &mut String, name: &str, result: &ComparisonResult, environment: usize) {
    let title = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    let _ = writeln!(
        page,
        "\n## {}\n\nFile `{name}`, measured on {} in environment {environment}; {}.\n\n\
         ```sh\n{}\n```",
        escape(&title),
        escape(date(result)),
        escape(&terminal::placement(&result.method)),
        command_line(result)
    );
    if let Some(map) = &result.crossover {
        paragraph(page, &result.conclusion);
        sweep(page, result, map);
        let items = result.experiments.iter().flat_map(|experiment| {
            let lines = iter::once(load(result, experiment)).chain(terminal::notes(experiment));
            let value = experiment.sweep.as_ref().map(|it| format!("{} = {}: ", it.key, it.value));
            lines.map(move |line| value.clone().unwrap_or_default() + &line)
        });
        list(page, items);
        return;
    }
    for experiment in &result.experiments {
        if terminal::has_several_loads(result) {
            let _ = writeln!(page, "\n### {}", escape(&experiment.load.name));
        }
        paragraph(page, &experiment.conclusion);
        paragraph(page, &format!("Load: {}", load(result, experiment)));
        match &experiment.ladder {
            Some(ladder) => steps(page, result, experiment, ladder),
            None => {
                for comparison in &experiment.comparisons {
                    metrics(page, result, experiment, comparison);
                }
            }
        }
        list(page, terminal::notes(experiment));
    }
}

/// Returns the command line without the directory of the program.
fn command_line(result: &ComparisonResult) -> String {
    let mut words = result.command_line.iter().map(String::as_str);
    let program = words.next().map(|it| it.rsplit('/').next().unwrap_or(it));
    let words: Vec<&str> = program.into_iter().chain(words).collect();
    shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))
}

fn load(result: &ComparisonResult, experiment: &Experiment) -> String {
    let settings = required_settings(&experiment.load);
    let settings =
        if settings.is_empty() { settings } else { format!("; required settings: {settings}") };
    let description = &experiment.load.description;
    let rounds = terminal::rounds(result, experiment);
    format!("{description}{settings}; {rounds}.")
}

/// Writes a table for each load level.
fn metrics(
    page: &mut String,
    result: &ComparisonResult,
    experiment: &Experiment,
    comparison: &Comparison,
) {
    for load_level in [LoadLevel::FixedRate, LoadLevel::Saturation] {
        let metrics = comparison.metrics.iter().filter(|it| it.load_level == load_level);
        let rows: Vec<_> = metrics.map(|it| terminal::row(experiment, it)).collect();
        if rows.is_empty() {
            continue;
        }
        let header = [
            &at_load_level(load_level, &experiment.load_levels),
            &result.arms[comparison.baseline].label,
            &result.arms[comparison.candidate].label,
            "ratio",
            &interval_name(result),
            "verdict",
            "noise",
        ];
        table(page, "lrrrrlr", header, rows);
    }
}

fn steps(
    page: &mut String,
    result: &ComparisonResult,
    experiment: &Experiment,
    ladder: &LadderResult,
) {
    let [metric, unit, calls, to_first, _, to_previous, _, _] =
        &ladder_table::header(experiment, ladder);
    let interval = &interval_name(result);
    let header = [metric, unit, calls, to_first, interval, to_previous, interval, "effect"];
    let rows = ladder.steps.iter().map(|step| ladder_table::row(result, step));
    table(page, "lrrrrrrl", header, rows);
}

fn sweep(page: &mut String, result: &ComparisonResult, map: &CrossoverMap) {
    let label = |arm: usize| result.arms.get(arm).map_or("", |it| &it.label).to_owned();
    let rows = map.cells.iter().flat_map(|cell| {
        cell.results.iter().zip(1..).map(move |(it, arm)| {
            let winner = cell.winner.map_or_else(|| "undecided".to_owned(), label);
            let names = [cell.value.clone(), winner, label(arm)];
            [&names[..], &cells::values(it), &[verdict_label(it)]].concat()
        })
    });
    let unit = map.metric.metric.unit();
    let at = at_load_level(map.metric.load_level, &[]);
    paragraph(page, &format!("{} {at}, {unit}:", map.metric.metric.label()));
    let header = [
        &map.key,
        "better arm",
        "compared arm",
        &result.arms[0].label,
        "its value",
        "ratio",
        &interval_name(result),
        "verdict",
    ];
    table(page, "lllrrrrl", header, rows);
}

fn interval_name(result: &ComparisonResult) -> String {
    format!("{} interval", format_percentage(result.method.confidence))
}

fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, "\n{}", block(text));
}

fn list(page: &mut String, items: impl IntoIterator<Item = String>) {
    for (index, item) in items.into_iter().enumerate() {
        *page += if index == 0 { "\n" } else { "" };
        let _ = writeln!(page, "- {}", block(&item));
    }
}

/// Writes a table. `alignment` has a letter for each column: `l` is left, `r` is right.
fn table<Header: AsRef<str>, Cell: AsRef<str>>(
    page: &mut String,
    alignment: &str,
    header: impl IntoIterator<Item = Header>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = Cell>>,
) {
    let rule = alignment.chars().map(|it| if it == 'r' { "--:|" } else { "---|" });
    let _ = writeln!(page, "\n{}\n|{}", line(header), rule.collect::<String>());
    for row in rows {
        let _ = writeln!(page, "{}", line(row));
    }
}

fn line<Cell: AsRef<str>>(cells: impl IntoIterator<Item = Cell>) -> String {
    cells
        .into_iter()
        .fold("|".to_owned(), |line, it| line + " " + &escape(it.as_ref().trim()) + " |")
}

/// Escapes a text that starts a line.
fn block(text: &str) -> String {
    let mark = if text.starts_with(['+', '-', '#', '>']) { "\\" } else { "" };
    format!("{mark}{}", escape(text))
}

/// Escapes Markdown and HTML, but not code: messages contain commands in backticks.
fn escape(text: &str) -> String {
    let special = text.replace('\\', "\\\\").replace("](", "]\\(");
    special.replace('|', "\\|").replace('<', "\\<").replace('*', "\\*")
}
