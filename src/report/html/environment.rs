//! Arms, method and environment of a comparison.

use maud::{Markup, html};

use super::arm_marks::chip;
use super::numbers::{self, JsonPath};
use crate::doctor::diagnosis::{Diagnosis, MissingReason};
use crate::result::{Arm, ComparisonResult, NamedValue, Setting};

/// Returns the line below the conclusion.
pub(super) fn summary_line(result: &ComparisonResult) -> Markup {
    let environment = &result.environment;
    html! {
        p.short {
            "Linux " (environment.kernel_release) " · " (environment.cpu.available) " × "
            (environment.cpu.model) " · virtualisation: " (environment.virtualisation) " · "
            time datetime=(result.started_at) { (result.started_at) }
        }
    }
}

/// Returns the section of the arms: differing settings, and all settings.
pub(super) fn arms(result: &ComparisonResult) -> Markup {
    html! {
        section.card {
            h2 { "Arms" }
            @if result.differences.is_empty() {
                p { "All settings are equal in all arms." }
            } @else {
                (differences(result))
            }
            @for (index, arm) in result.arms.iter().enumerate() { (one_arm(result, index, arm)) }
        }
    }
}

fn differences(result: &ComparisonResult) -> Markup {
    let chips = (0..result.arms.len()).map(|arm| chip(&result.arms, arm));
    let columns: Vec<Markup> = [html! { "setting" }].into_iter().chain(chips).collect();
    let rows = html! {
        @for difference in &result.differences {
            tr {
                th scope="row" { code { (difference.key) } }
                @for value in &difference.values {
                    td {
                        @match value {
                            Some(value) => code { (value) },
                            None => (numbers::no_value()),
                        }
                    }
                }
            }
        }
    };
    let caption = "Settings that differ. All others are equal in all arms.";
    super::table(caption, &"l".repeat(columns.len()), &columns, &rows)
}

fn one_arm(result: &ComparisonResult, index: usize, arm: &Arm) -> Markup {
    html! {
        details {
            summary {
                (chip(&result.arms, index))
                @if let Some(engine) = &arm.engine { span.aside { (engine) } }
            }
            p { "Command: " code { (arm.command_line.join(" ")) } }
            @if !arm.kernel_features.is_empty() {
                p { "Kernel features in force: " (arm.kernel_features.join(", ")) }
            }
            @if !arm.settings.is_empty() { (settings(&arm.settings)) }
        }
    }
}

fn settings(settings: &[Setting]) -> Markup {
    let rows = html! {
        @for setting in settings {
            tr {
                th scope="row" { code { (setting.key) } }
                td { code { (setting.value) } }
                td { (setting.origin) }
            }
        }
    };
    super::table("", "lll", &["setting", "value", "origin"], &rows)
}

fn entry(name: &str, content: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (content) } } }
}

/// Returns the section of the method.
pub(super) fn method(result: &ComparisonResult, root: &JsonPath) -> Markup {
    let (method, json) = (&result.method, root.at("method"));
    let placement = &method.cpu_placement;
    let seconds = |name: &str, value: f64| {
        html! { (numbers::decimal(&json.at(name), Some(value), 2)) " s" }
    };
    html! {
        section.card {
            h2 { "Method" }
            p {
                "Each block runs all arms, and the first arm twice, in random order. Each round has "
                "a separate server process. Ratios are computed within blocks."
            }
            dl {
                (entry("seed", &html! { code { (method.seed) } }))
                (entry("round", &seconds("round_seconds", method.round_seconds)))
                (entry("warm-up", &seconds("warm_up_seconds", method.warm_up_seconds)))
                (entry("time budget per load", &seconds("budget_seconds", method.budget_seconds)))
                (entry("total time", &html! {
                    (numbers::decimal(&root.at("duration_seconds"), Some(result.duration_seconds), 0)) " s"
                }))
                (entry("confidence", &numbers::percent(&json.at("confidence"), Some(method.confidence), 1)))
                (entry("no difference", &html! {
                    "within " (numbers::percent(&json.at("negligible"), Some(method.negligible), 1))
                    ", or proved within "
                    (numbers::percent(&json.at("equivalence"), Some(method.equivalence), 1))
                }))
                (entry("CPUs", &html! {
                    "server " (list(&placement.server_cpus)) ", client " (list(&placement.client_cpus))
                    ": " (placement.reason)
                }))
                (entry("network", &html! { (method.isolation.reason) }))
                (entry("command", &html! { code { (result.command_line.join(" ")) } }))
            }
        }
    }
}

fn list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}

/// Returns the section of the environment.
pub(super) fn environment(result: &ComparisonResult, root: &JsonPath) -> Markup {
    let (environment, json) = (&result.environment, root.at("environment"));
    let (cpu, program) = (&environment.cpu, &environment.program);
    html! {
        section.card {
            h2 { "Environment" }
            dl {
                (entry("kernel", &html! { (environment.kernel_release) " " (environment.kernel_version) }))
                (entry("CPUs", &html! {
                    (cpu.available) " of " (cpu.online) " × " (cpu.model) ", " (cpu.threads_per_core)
                    " thread(s) per core, " (cpu.numa_nodes) " NUMA node(s), governor "
                    (cpu.governor.as_deref().unwrap_or("unknown"))
                }))
                (entry("virtualisation", &html! { (environment.virtualisation) }))
                (entry("memory", &html! {
                    (numbers::mebibytes(&json.at("memory_bytes"), environment.memory_bytes)) " MiB"
                }))
                (entry("other load before", &html! {
                    (numbers::decimal(&json.at("load_before"), Some(environment.load_before), 2))
                    " CPUs"
                }))
                (entry("ringpoll", &html! {
                    (program.version) " (" (program.git_commit.as_deref().unwrap_or("no commit known"))
                    "), " (program.target)
                    @if !program.optimised { ", built without optimisation" }
                }))
                (entry("io_uring", &html! { (environment.doctor.summary()) }))
                @if let Some(parameters) = &environment.kernel_parameters {
                    @let omitted = json.at("kernel_parameters").at("omitted");
                    (entry("kernel parameters", &html! {
                        code { (parameters.reported.join(" ")) }
                        " (" (numbers::count(&omitted, parameters.omitted as u64)) " omitted)"
                    }))
                }
            }
            (missing(&environment.doctor))
            (named_values("sysctls", Some(&environment.sysctls)))
            (named_values("Resource limits", Some(&environment.limits)))
            (named_values("Hardware vulnerabilities", Some(&environment.mitigations)))
            (named_values("Kernel build", environment.kernel_build.as_ref()))
        }
    }
}

/// Returns the table of missing io_uring capabilities and their reasons.
fn missing(doctor: &Diagnosis) -> Markup {
    let reason = |(name, absence): (&String, &MissingReason)| NamedValue {
        name: name.clone(),
        value: absence.reason.clone(),
    };
    named_values(
        "Missing io_uring capabilities",
        Some(&doctor.missing.iter().map(reason).collect()),
    )
}

fn named_values(name: &str, values: Option<&Vec<NamedValue>>) -> Markup {
    html! {
        @if let Some(values) = values.filter(|it| !it.is_empty()) {
            details {
                summary { (name) }
                div.scroll {
                    table {
                        tbody {
                            @for it in values {
                                tr { th scope="row" { code { (it.name) } } td { code { (it.value) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
