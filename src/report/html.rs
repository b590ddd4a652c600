//! HTML pages of results. A page is self-contained: it has no scripts and loads no fonts or
//! images. The template library escapes all text.
//!
//! The attribute `data-from` of each number is the JSON pointer of its value in the result, so
//! that tests can compare page and file. The style sheet has light and dark colours. No
//! information is conveyed by colour alone.

mod arm_marks;
mod crossover;
mod environment;
mod experiment;
mod ladder;
mod latency;
mod metrics;
mod numbers;
mod plot;
mod ratio;
mod rounds;
mod scale;
mod side_by_side;

use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

use super::labels::outcome_label;
use super::side_by_side::{SideBySide, is_emulated};
use super::terminal::has_several_loads;
use crate::compare::explanation::load_conclusion;
use crate::result::{ComparisonResult, Outcome};
use numbers::JsonPath;

const STYLE: &str = include_str!("html/style.css");

/// Returns the page of one result.
pub fn page(result: &ComparisonResult) -> String {
    let labels: Vec<&str> = result.arms.iter().map(|arm| arm.label.as_str()).collect();
    let title = match result.experiments.iter().find_map(|it| it.ladder.as_ref()) {
        Some(ladder) => format!("{}: step by step from {}", ladder.name, labels[0]),
        None => labels.join(" · "),
    };
    let root = JsonPath::root();
    let several = result.experiments.len() > 1;
    document(
        &title,
        &html! {
            header {
                p.kicker { "ringpoll compare" }
                h1 { (title) }
                (verdict(result))
                (environment::summary_line(result))
            }
            @if let Some(map) = &result.crossover { (crossover::section(result, map, &root)) }
            @for (index, one) in result.experiments.iter().enumerate() {
                @let place = root.at("experiments").at(index);
                (experiment::section(result, one, &place, several))
            }
            (environment::arms(result))
            (environment::method(result, &root))
            (environment::environment(result, &root))
        },
    )
}

/// Returns the page of several results side by side.
pub fn side_by_side_page(side_by_side: &SideBySide) -> String {
    let title = format!("{} results side by side", side_by_side.all.len());
    document(&title, &side_by_side::body(&title, side_by_side))
}

fn verdict(result: &ComparisonResult) -> Markup {
    let (sign, words) = outcome_label(result.outcome);
    let class = match result.outcome {
        Outcome::Winner { .. } => "decided",
        Outcome::Invalid => "invalid",
        _ => "open",
    };
    html! {
        div class={ "verdict " (class) } {
            p.badge { span.sign aria-hidden="true" { (sign) } " " (words) }
            @if has_several_loads(result) {
                @for one in &result.experiments { p.conclusion { (load_conclusion(one)) } }
            } @else {
                p.conclusion { (result.conclusion) }
            }
            @if is_emulated(&result.environment) { (emulated()) }
        }
    }
}

/// Returns a table that scrolls within its card. `alignment` has a letter for each column: `l` is
/// text, `r` is numbers.
fn table(caption: &str, alignment: &str, columns: &[impl Render], rows: &Markup) -> Markup {
    html! {
        div.scroll {
            table {
                @if !caption.is_empty() { caption { (caption) } }
                thead {
                    tr {
                        @for (letter, name) in alignment.chars().zip(columns) {
                            th class=[(letter == 'r').then_some("number")] scope="col" { (name) }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

fn emulated() -> Markup {
    html! {
        p.emulated {
            strong { "Emulated CPU." }
            " Times, and ratios of times, are not those of a real machine."
        }
    }
}

fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                // Self-closing tags, so that XML parsers can read the page too.
                (PreEscaped("<meta charset=\"utf-8\"/>"))
                (PreEscaped("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"))
                (PreEscaped("<meta name=\"color-scheme\" content=\"light dark\"/>"))
                title { (title) " – ringpoll" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    page.into_string()
}
