//! Diagnosis as text for a terminal. It has no colours, so it needs no NO_COLOR.

use std::fmt::Write;

use comfy_table::Table;
use ringpoll_backends::capabilities::GROUPS;

use super::diagnosis::{Diagnosis, Limits, TechniqueState};
use crate::console::table;

/// Renders a diagnosis, in tables that are at most `width` columns wide.
pub fn render(diagnosis: &Diagnosis, width: Option<u16>) -> String {
    let mut text = format!("Linux {} {}\n\n", diagnosis.kernel_release, diagnosis.kernel_version);
    render_conclusion(&mut text, diagnosis);
    render_faults(&mut text, diagnosis);
    let _ = writeln!(text, "\n{}", limits(&diagnosis.limits, width));
    if !diagnosis.techniques.is_empty() {
        let _ = writeln!(text, "\n{}", techniques(diagnosis, width));
    }
    let _ = writeln!(text, "\n{}", capabilities(diagnosis, width));
    text
}

fn render_conclusion(text: &mut String, diagnosis: &Diagnosis) {
    if let Some(obstruction) = &diagnosis.obstruction {
        let _ = writeln!(
            text,
            "io_uring cannot be used: {}\n  failed: {}{}\n  remedy: {}",
            obstruction.cause,
            obstruction.operation,
            obstruction.errno.map_or_else(String::new, |errno| format!(
                ": {}",
                std::io::Error::from_raw_os_error(errno)
            )),
            obstruction.remedy
        );
    } else {
        text.push_str("io_uring can be used\n");
    }
    let engine = diagnosis.auto.variant.as_deref().unwrap_or("nothing");
    let _ = writeln!(text, "backend auto uses {engine}: {}", diagnosis.auto.reason);
}

fn render_faults(text: &mut String, diagnosis: &Diagnosis) {
    for it in &diagnosis.known_faults {
        let _ = writeln!(
            text,
            "warning: Linux {}, unless fixed by the distribution: {}\n  remedy: {}\n  reference: {}",
            it.versions, it.fault, it.remedy, it.reference
        );
    }
}

fn limits(limits: &Limits, width: Option<u16>) -> Table {
    let limit = |value: Option<u64>| {
        value.map_or_else(|| "unlimited".to_owned(), |value| value.to_string())
    };
    let known =
        |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
    let hard = |soft: Option<u64>, hard: Option<u64>| match hard {
        _ if soft == hard => "this is the hard limit".to_owned(),
        hard => format!("can be raised to {}", limit(hard)),
    };
    let switch = limits.io_uring_disabled.map(u64::from);
    let rows = [
        (
            "open files (RLIMIT_NOFILE)",
            limit(limits.open_files_limit),
            hard(limits.open_files_limit, limits.open_files_hard_limit),
        ),
        (
            "locked memory, bytes (RLIMIT_MEMLOCK)",
            limit(limits.locked_memory_limit_bytes),
            hard(limits.locked_memory_limit_bytes, limits.locked_memory_hard_limit_bytes),
        ),
        ("net.core.somaxconn", known(limits.somaxconn), "maximum accept queue length".into()),
        ("net.ipv4.tcp_max_syn_backlog", known(limits.tcp_max_syn_backlog), String::new()),
        (
            "kernel.io_uring_disabled",
            known(switch),
            "1: disabled for unprivileged users; 2: for all".into(),
        ),
        (
            "kernel.io_uring_group",
            limits.io_uring_group.map_or_else(|| known(None), |group| group.to_string()),
            "group allowed with io_uring_disabled=1; -1: none".into(),
        ),
        ("seccomp filter", yes_or_no(limits.seccomp_filter).to_owned(), String::new()),
    ];
    let mut table = table(["limit", "value", ""], width);
    for (name, value, note) in rows {
        table.add_row([name.to_owned(), value, note]);
    }
    table
}

fn techniques(diagnosis: &Diagnosis, width: Option<u16>) -> Table {
    let mut table = table(["technique", "state", "requires, or error"], width);
    for it in &diagnosis.techniques {
        let state = it.state.map_or_else(|| yes_or_no(it.in_force), TechniqueState::as_str);
        let experimental = if it.is_experimental { ", experimental" } else { "" };
        let note = it.reason.clone().unwrap_or_else(|| it.needs.join(", "));
        table.add_row([it.name.clone(), format!("{state}{experimental}"), note]);
    }
    table
}

fn capabilities(diagnosis: &Diagnosis, width: Option<u16>) -> Table {
    let mut table = table(["capability", "available", "description, or error"], width);
    for (group, members) in GROUPS {
        table.add_row([format!("— {group}"), String::new(), String::new()]);
        for it in *members {
            let available = diagnosis.capabilities.get(it.name).copied().unwrap_or(false);
            let mut meaning = it.meaning.to_owned();
            if let Some(missing) = diagnosis.missing.get(it.name) {
                let _ = write!(meaning, "; missing: {}", missing.reason);
            }
            table.add_row([it.name.to_owned(), yes_or_no(available).to_owned(), meaning]);
        }
    }
    table
}

const fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
