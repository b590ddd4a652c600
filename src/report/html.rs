//! A result as one page that needs nothing but itself: no script, no font, no picture from
//! elsewhere. The template library escapes everything that is put into the page.
//!
//! Each number on it says where in the JSON it comes from (`data-from`, a JSON pointer), so that
//! the page can be held against its file. The colours of plots are those of the style sheet, light
//! and dark, and nothing is told by colour alone.

mod arms;
mod crossover;
mod experiment;
mod figure;
mod ladder;
mod latency;
mod metrics;
mod plot;
mod ratio;
mod rounds;
mod scale;
mod several;
mod surroundings;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::result::{ComparisonResult, Outcome};
use super::side_by_side::{SideBySide, is_emulated};
use super::verdict_words::outcome_words;
use crate::compare::terminal::has_several_loads;
use crate::compare::words::sentence_of_load;
use figure::Place;

const STYLE: &str = include_str!("html/style.css");

/// One result.
pub fn page(result: &ComparisonResult) -> String {
    let labels: Vec<&str> = result.arms.iter().map(|arm| arm.label.as_str()).collect();
    let title = match result.experiments.iter().find_map(|it| it.ladder.as_ref()) {
        Some(ladder) => format!("{}: from {} up, rung by rung", ladder.name, labels[0]),
        None => labels.join(" · "),
    };
    let root = Place::root();
    let several = result.experiments.len() > 1;
    document(
        &title,
        &html! {
            header {
                p.kicker { "ringpoll compare" }
                h1 { (title) }
                (verdict(result))
                (surroundings::in_short(result))
            }
            @if let Some(map) = &result.crossover { (crossover::section(result, map, &root)) }
            @for (index, one) in result.experiments.iter().enumerate() {
                @let place = root.at("experiments").at(index);
                (experiment::section(result, one, &place, several))
            }
            (surroundings::arms(result))
            (surroundings::method(result, &root))
            (surroundings::environment(result, &root))
        },
    )
}

/// Several results that answer the same question.
pub fn side_by_side_page(side_by_side: &SideBySide) -> String {
    let title = format!("{} results side by side", side_by_side.all.len());
    document(&title, &several::body(&title, side_by_side))
}

fn verdict(result: &ComparisonResult) -> Markup {
    let (sign, words) = outcome_words(result.outcome);
    let class = match result.outcome {
        Outcome::Winner { .. } => "decided",
        Outcome::Invalid => "invalid",
        _ => "open",
    };
    html! {
        div class={ "verdict " (class) } {
            p.badge { span.sign aria-hidden="true" { (sign) } " " (words) }
            @if has_several_loads(result) {
                @for one in &result.experiments { p.sentence { (sentence_of_load(one)) } }
            } @else {
                p.sentence { (result.sentence) }
            }
            @if is_emulated(&result.environment) { (emulated()) }
        }
    }
}

fn emulated() -> Markup {
    html! {
        p.emulated {
            strong { "Emulated processor." }
            " Time here is not time of a real machine, and ratios of times are not either."
        }
    }
}

fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                // Closed as XML wants it, so that both kinds of parsers can read the page.
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
