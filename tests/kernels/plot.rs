//! The path lengths as an HTML page: a bar for each kernel, load and server.

use maud::{DOCTYPE, Markup, html};

use crate::path_length::{CAPTION, KernelLengths, Length, distinct};
use crate::work::PathLengthPlan;

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 250.0;
const RIGHT: f64 = 330.0;
const BAR: f64 = 18.0;
const GAP: f64 = 14.0;

/// The colour-blind safe palette of Okabe and Ito.
const COLOURS: &[&str] = &["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7"];

/// Returns a self-contained page.
pub(crate) fn page(all: &[KernelLengths], plan: &PathLengthPlan, compiler: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "ringpoll: path length by kernel" }
                style { "body{font:16px sans-serif;margin:2em auto;max-width:60em}text{font:13px sans-serif}" }
            }
            body {
                h1 { "Path length by kernel" }
                p { (CAPTION) ". Counted by an emulated CPU: caches, devices and waiting have no effect. Shorter is less work." }
                (picture(all, plan))
                p { "Compiled by " (compiler) ". " @for kernel in all { (kernel.kernel) ": " (kernel.package) " " (kernel.package_version) "; " } }
            }
        }
    };
    page.into_string()
}

/// The bars of one kernel and load.
struct Group<'all> {
    label: String,
    bars: Vec<(usize, String, &'all Length)>,
}

fn groups<'all>(all: &'all [KernelLengths], plan: &PathLengthPlan) -> Vec<Group<'all>> {
    let servers = distinct(plan, |arm| arm.server.clone());
    let loads = distinct(plan, |arm| arm.load.to_string());
    let group = |kernel: &'all KernelLengths, load: &str| {
        let bar = |(index, server): (usize, &String)| {
            let length = kernel.arms.get(&format!("{server}, {load}"))?;
            Some((index, server.clone(), length))
        };
        let bars = servers.iter().enumerate().filter_map(bar).collect();
        Group { label: format!("{}, {load}", kernel.kernel), bars }
    };
    all.iter()
        .flat_map(|kernel| loads.iter().map(move |load| (kernel, load)))
        .map(|(kernel, load)| group(kernel, load))
        .filter(|group| !group.bars.is_empty())
        .collect()
}

fn picture(all: &[KernelLengths], plan: &PathLengthPlan) -> Markup {
    let groups = groups(all, plan);
    let lengths = all.iter().flat_map(|kernel| kernel.arms.values());
    let longest = lengths.map(|arm| arm.instructions_per_request).fold(1.0, f64::max);
    let width = |value: f64| value / longest * (WIDTH - LEFT - RIGHT);
    let tops = groups.iter().scan(30.0, |top, group| {
        let here = *top;
        *top += group.bars.len() as f64 * BAR + GAP;
        Some(here)
    });
    let tops: Vec<_> = tops.collect();
    let bars: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = 40.0 + bars as f64 * BAR + groups.len() as f64 * GAP;
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(CAPTION) {
            title { (CAPTION) }
            text x=(LEFT) y="16" { (CAPTION) }
            @for (group, top) in groups.iter().zip(tops) {
                text x=(LEFT - 8.0) y=(top + BAR) text-anchor="end" { (group.label) }
                @for (row, (index, name, arm)) in group.bars.iter().enumerate() {
                    @let y = top + row as f64 * BAR;
                    @let length = width(arm.instructions_per_request);
                    rect x=(LEFT) y=(y) width={ (format!("{length:.1}")) } height=(BAR - 3.0) fill=(COLOURS[index % COLOURS.len()]) {}
                    text x={ (format!("{:.1}", LEFT + length + 6.0)) } y=(y + BAR - 6.0) {
                        (format!("{:.0}", arm.instructions_per_request)) " · " (name)
                    }
                }
            }
        }
    }
}
