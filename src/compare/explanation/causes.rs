//! Probable causes of a difference: what each server does per request.

use crate::compare::metrics::MIN_EVENTS_PER_REQUEST;
use crate::result::{Arm, ArmSummary, LoadLevel};

/// The number of system calls that are listed by name.
const NAMED_CALLS: usize = 4;

/// Returns one line for each probable cause of the difference between two arms.
pub fn causes(
    arms: &[Arm],
    summaries: &[ArmSummary],
    pair: (usize, usize),
    load_level: LoadLevel,
) -> Vec<String> {
    let summary_of =
        |arm: usize| summaries.iter().find(|it| it.arm == arm && it.load_level == load_level);
    let (Some(first), Some(other)) = (summary_of(pair.0), summary_of(pair.1)) else {
        return Vec::new();
    };
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
    line("CPU per request", both(|it| Some(cpu_split(it))));
    line("events per wait", both(|it| it.events_per_wait.map(|events| format!("{events:.1}"))));
    line("kernel threads for io_uring", io_uring_threads(arms, [first, other]));
    line("peak resident memory", both(peak_resident_memory));
    lines
}

fn system_calls(summary: &ArmSummary) -> Option<String> {
    let all = summary.system_calls_per_request?;
    // Calls at startup and shutdown are rare and not part of a request.
    let often = summary.system_calls.iter().filter(|(_, each)| *each >= MIN_EVENTS_PER_REQUEST);
    let named = often.clone().take(NAMED_CALLS);
    let named: Vec<_> = named.map(|(name, each)| format!("{name} {}", small(*each))).collect();
    let rest = if often.count() > NAMED_CALLS { ", …" } else { "" };
    let named = match named.is_empty() {
        // The kernel counts all calls of another program together.
        true => "counted by the kernel".to_owned(),
        false => named.join(", "),
    };
    Some(format!("{} ({named}{rest})", small(all)))
}

fn cpu_split(summary: &ArmSummary) -> String {
    let all = format!("{:.1} µs", summary.cpu_per_request_us);
    match summary.user_cpu_share {
        Some(user) => format!("{all} ({:.0}% user)", user * 100.0),
        None => all,
    }
}

fn peak_resident_memory(summary: &ArmSummary) -> Option<String> {
    let mebibytes = summary.peak_resident_bytes as f64 / f64::from(1 << 20);
    (mebibytes > 0.0).then(|| format!("{mebibytes:.1} MiB"))
}

fn io_uring_threads(arms: &[Arm], summaries: [&ArmSummary; 2]) -> Option<String> {
    let some = |it: &&ArmSummary| it.io_uring_tasks > 0;
    let texts: Vec<_> = summaries
        .into_iter()
        .filter(some)
        .map(|it| format!("{} {}", arms[it.arm].label, io_uring_tasks(it)))
        .collect();
    (!texts.is_empty()).then(|| texts.join(" · "))
}

/// Describes both kinds: an SQPOLL thread always exists, io-wq workers start when needed.
fn io_uring_tasks(summary: &ArmSummary) -> String {
    let workers = summary.io_wq_workers;
    let polling = match summary.io_uring_tasks.saturating_sub(workers) {
        0 => None,
        1 => Some("an SQPOLL thread".to_owned()),
        threads => Some(format!("{threads} SQPOLL threads")),
    };
    let working = (workers > 0).then(|| {
        let plural = if workers == 1 { "" } else { "s" };
        let share = summary.io_wq_cpu_share * 100.0;
        format!("up to {workers} io-wq worker{plural} ({share:.0}% of the CPU time)")
    });
    polling.into_iter().chain(working).collect::<Vec<_>>().join(" and ")
}

/// Formats with about two significant digits.
fn small(number: f64) -> String {
    match number {
        number if number >= 0.095 => format!("{number:.1}"),
        number if number >= 0.0095 => format!("{number:.2}"),
        number => format!("{number:.3}"),
    }
}
