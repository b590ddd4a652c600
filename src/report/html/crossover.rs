//! Crossover map of a sweep: the better arm for each value.

use maud::{Markup, html};

use super::arm_marks;
use super::metrics::{interval, reason, verdict};
use super::numbers::{self, JsonPath};
use super::plot::{Plot, pixels};
use super::scale::{Scale, tick_text};
use crate::result::{ComparisonResult, CrossoverCell, CrossoverMap, LoadLevel};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 340.0;
/// Approximate width of a letter.
const LETTER: f64 = 7.2;
/// Border between the ratios and the names of the winners.
const BOTTOM: f64 = HEIGHT - 86.0;

pub(super) fn section(result: &ComparisonResult, map: &CrossoverMap, json: &JsonPath) -> Markup {
    html! {
        section.card {
            h2 { "Better arm for each value" }
            p { (map.conclusion) }
            (arm_marks::legend(&result.arms, &html! {}))
            figure.wide {
                figcaption {
                    (map.metric.metric.label()) ", " (level_label(map.metric.load_level))
                    ": ratio to " (result.arms[0].label) " by " (map.key)
                }
                (picture(result, map))
            }
            (table(result, map, &json.at("crossover").at("cells")))
        }
    }
}

fn level_label(load_level: LoadLevel) -> &'static str {
    match load_level {
        LoadLevel::FixedRate => "at the fixed rate of each value",
        LoadLevel::Saturation => "at saturation",
    }
}

fn reach(map: &CrossoverMap) -> f64 {
    let results = map.cells.iter().flat_map(|cell| &cell.results);
    let bounds = results.flat_map(|it| [it.low, it.high]).flatten();
    bounds.map(|it| it.max(1.0 / it)).fold(1.03, f64::max).min(20.0) * 1.02
}

fn picture(result: &ComparisonResult, map: &CrossoverMap) -> Markup {
    let reach = reach(map);
    let x = Scale::linear((0.0, map.cells.len() as f64), (62.0, WIDTH - 16.0));
    let y = Scale::logarithmic((1.0 / reach, reach), (BOTTOM, 34.0));
    let title = format!("Ratio to {} by {}: {}", result.arms[0].label, map.key, map.conclusion);
    let plot =
        Plot { title: &title, width: WIDTH, height: HEIGHT, x, y, x_label: "", y_label: "ratio" };
    let negligible = 1.0 + result.method.negligible;
    let (band_top, band_bottom) = (y.at(negligible), y.at(1.0 / negligible));
    let content = html! {
        rect.band x=(x.ends.0) y=(pixels(band_top)) width=(pixels(x.ends.1 - x.ends.0))
            height=(pixels(band_bottom - band_top)) {}
        path.one d={ "M" (x.ends.0) " " (pixels(y.at(1.0))) "H" (x.ends.1) } {}
        @for (index, cell) in map.cells.iter().enumerate() {
            (marks(cell, index, &x, &y))
            (winner(result, cell, index, &x))
        }
        text.name.end x=(x.ends.1) y=(HEIGHT - 4.0) { (map.key) }
    };
    let y_ticks: Vec<_> = y.ticks(5).into_iter().map(|it| (it, tick_text(it))).collect();
    plot.draw(&[], &y_ticks, &content)
}

/// Draws the arms after the first side by side within the cell.
fn marks(cell: &CrossoverCell, index: usize, x: &Scale, y: &Scale) -> Markup {
    let across = |at: usize| {
        let share = (at + 1) as f64 / (cell.results.len() + 1) as f64;
        x.at(index as f64 + share)
    };
    html! {
        @for (at, it) in cell.results.iter().enumerate() {
            @if let (Some(ratio), Some(low), Some(high)) = (it.ratio, it.low, it.high) {
                @let across = across(at);
                g class=(arm_marks::class(at + 1)) {
                    title { "between " (numbers::ratio_text(low)) " and " (numbers::ratio_text(high)) }
                    path.interval d={
                        "M" (pixels(across - 5.0)) " " (pixels(y.at(low))) "h10m-5 0V"
                        (pixels(y.at(high))) "m-5 0h10"
                    } {}
                    path.mark d=(arm_marks::shape(at + 1, across, y.at(ratio), 5.0)) {}
                }
            }
        }
    }
}

/// Draws the name of the better arm in a box of its colour.
fn winner(result: &ComparisonResult, cell: &CrossoverCell, index: usize, x: &Scale) -> Markup {
    let (from, to) = (x.at(index as f64) + 2.0, x.at(index as f64 + 1.0) - 2.0);
    let middle = pixels((from + to) / 2.0);
    let name = cell.winner.map_or("undecided", |arm| result.arms[arm].label.as_str());
    let room = to - from - 10.0;
    let squeezed = (name.chars().count() as f64 * LETTER > room).then(|| pixels(room));
    let class = cell.winner.map_or_else(|| "undecided".to_owned(), arm_marks::class);
    html! {
        g.winner.(class) {
            rect x=(pixels(from)) y=(BOTTOM + 10.0) width=(pixels(to - from)) height="26" rx="3" {}
            text.middle x=(middle) y=(BOTTOM + 27.0) textLength=[squeezed] lengthAdjust="spacingAndGlyphs" {
                (name)
            }
            text.middle.value x=(middle) y=(BOTTOM + 56.0) { (cell.value) }
        }
    }
}

fn table(result: &ComparisonResult, map: &CrossoverMap, json: &JsonPath) -> Markup {
    let ratio = format!("ratio to {}", result.arms[0].label);
    let columns = [&map.key, "better arm", "arm", &ratio, "interval", "verdict"];
    let rows = html! {
        @for (index, cell) in map.cells.iter().enumerate() {
            @for (at, it) in cell.results.iter().enumerate() {
                @let json = json.at(index).at("results").at(at);
                tr {
                    th scope="row" { (cell.value) }
                    td { (cell.winner.map_or("undecided", |arm| &result.arms[arm].label)) }
                    td { @if let Some(arm) = result.arms.get(at + 1) { (arm.label) } }
                    td.number { (numbers::ratio(&json.at("ratio"), it.ratio)) }
                    td.number { (interval(&json, it)) }
                    td { (verdict(it)) (reason(it)) }
                }
            }
        }
    };
    super::table("", "lllrrl", &columns, &rows)
}
