//! What explains a difference: what the server does for each request.

use crate::compare::metrics::RARE;
use crate::report::result::{Arm, ArmSummary, Point};

/// How many system calls are named.
const NAMED_CALLS: usize = 4;

/// A line for each thing that can explain the difference between two arms at a point.
pub fn why(
    arms: &[Arm],
    summaries: &[ArmSummary],
    pair: (usize, usize),
    point: Point,
) -> Vec<String> {
    let of = |arm: usize| summaries.iter().find(|it| it.arm == arm && it.point == point);
    let (Some(first), Some(other)) = (of(pair.0), of(pair.1)) else { return Vec::new() };
    let mut lines = Vec::new();
    let both = |text: fn(&ArmSummary) -> Option<String>| -> Option<String> {
        let (one, two) = (text(first)?, text(other)?);
        Some(format!("{} {one} · {} {two}", arms[pair.0].label, arms[pair.1].label))
    };
    let mut line = |name: &str, text: Option<String>| {
        lines.extend(text.map(|text| format!("{name}: {text}")));
    };
    line("system calls per request", both(system_calls));
    line("context switches per request", both(|it| Some(small(it.context_switches_per_request))));
    line("CPU per request", both(cpu_split));
    line("events per wait", both(|it| it.events_per_wait.map(|events| format!("{events:.1}"))));
    line("kernel threads for io_uring", io_uring_threads(arms, [first, other]));
    lines
}

fn system_calls(summary: &ArmSummary) -> Option<String> {
    let all = summary.system_calls_per_request?;
    // What stops the server is called once, and is no part of a request.
    let often = summary.system_calls.iter().filter(|(_, each)| *each >= RARE);
    let named = often.clone().take(NAMED_CALLS);
    let named: Vec<_> = named.map(|(name, each)| format!("{name} {}", small(*each))).collect();
    let rest = if often.count() > NAMED_CALLS { ", …" } else { "" };
    Some(format!("{} ({}{rest})", small(all), named.join(", ")))
}

fn cpu_split(summary: &ArmSummary) -> Option<String> {
    let all = format!("{:.1} µs", summary.cpu_per_request_us);
    Some(match summary.user_share {
        Some(user) => format!("{all} ({:.0} % user)", user * 100.0),
        None => all,
    })
}

fn io_uring_threads(arms: &[Arm], summaries: [&ArmSummary; 2]) -> Option<String> {
    let some = |it: &&ArmSummary| it.io_uring_tasks > 0;
    let texts: Vec<_> = summaries
        .into_iter()
        .filter(some)
        .map(|it| format!("{} {}", arms[it.arm].label, it.io_uring_tasks))
        .collect();
    (!texts.is_empty()).then(|| texts.join(" · "))
}

/// Two digits that count.
fn small(number: f64) -> String {
    match number {
        number if number >= 0.095 => format!("{number:.1}"),
        number if number >= 0.0095 => format!("{number:.2}"),
        number => format!("{number:.3}"),
    }
}
