//! What was compared, how it was measured, and where.

use maud::{Markup, html};

use super::arms::chip;
use super::figure::{self, Place};
use crate::doctor::diagnosis::{Absence, Diagnosis};
use crate::report::result::{Arm, ComparisonResult, Setting, Tunable};

/// One line under the verdict.
pub(super) fn in_short(result: &ComparisonResult) -> Markup {
    let environment = &result.environment;
    html! {
        p.short {
            "Linux " (environment.kernel_release) " · " (environment.cpu.available) " × "
            (environment.cpu.model) " · virtualisation: " (environment.virtualisation) " · "
            time datetime=(result.started_at) { (result.started_at) }
        }
    }
}

/// The arms: what differs, and all their settings.
pub(super) fn arms(result: &ComparisonResult) -> Markup {
    html! {
        section.card {
            h2 { "Arms" }
            @if result.differences.is_empty() {
                p { "All settings are the same in all arms." }
            } @else {
                div.scroll {
                    table {
                        caption { "These settings differ; all others are the same in all arms" }
                        thead {
                            tr {
                                th scope="col" { "setting" }
                                @for arm in 0..result.arms.len() { th scope="col" { (chip(&result.arms, arm)) } }
                            }
                        }
                        tbody {
                            @for difference in &result.differences {
                                tr {
                                    th scope="row" { code { (difference.key) } }
                                    @for value in &difference.values {
                                        td { @match value { Some(value) => code { (value) }, None => (figure::nothing()) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @for (index, arm) in result.arms.iter().enumerate() { (one_arm(result, index, arm)) }
        }
    }
}

fn one_arm(result: &ComparisonResult, index: usize, arm: &Arm) -> Markup {
    html! {
        details {
            summary {
                (chip(&result.arms, index))
                @if let Some(engine) = &arm.engine { span.aside { (engine) } }
            }
            p { "Started as " code { (arm.command_line.join(" ")) } }
            @if !arm.kernel_features.is_empty() {
                p { "In force in the kernel: " (arm.kernel_features.join(", ")) }
            }
            (settings(&arm.settings))
        }
    }
}

fn settings(settings: &[Setting]) -> Markup {
    html! {
        @if !settings.is_empty() {
            div.scroll {
                table {
                    thead { tr { th scope="col" { "setting" } th scope="col" { "value" } th scope="col" { "from" } } }
                    tbody {
                        @for setting in settings {
                            tr {
                                th scope="row" { code { (setting.key) } }
                                td { code { (setting.value) } }
                                td { (setting.origin) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn entry(name: &str, content: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (content) } } }
}

/// How it was measured.
pub(super) fn method(result: &ComparisonResult, root: &Place) -> Markup {
    let (method, place) = (&result.method, root.at("method"));
    let placement = &method.placement;
    let seconds = |name: &str, value: f64| {
        html! { (figure::decimal(&place.at(name), Some(value), 2)) " s" }
    };
    html! {
        section.card {
            h2 { "Method" }
            p {
                "Each block runs every arm, and the first one twice, in random order, each round "
                "with a server process of its own. Ratios are taken within blocks."
            }
            dl {
                (entry("seed", &html! { code { (method.seed) } }))
                (entry("a round", &seconds("round_seconds", method.round_seconds)))
                (entry("warm-up before it", &seconds("warm_up_seconds", method.warm_up_seconds)))
                (entry("time for each load", &seconds("budget_seconds", method.budget_seconds)))
                (entry("time in all", &html! {
                    (figure::decimal(&root.at("duration_seconds"), Some(result.duration_seconds), 0)) " s"
                }))
                (entry("confidence", &figure::percent(&place.at("confidence"), Some(method.confidence), 1)))
                (entry("no difference", &html! {
                    "within " (figure::percent(&place.at("negligible"), Some(method.negligible), 1))
                    ", or shown to be within "
                    (figure::percent(&place.at("equivalence"), Some(method.equivalence), 1))
                }))
                (entry("processors", &html! {
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

/// Where it ran.
pub(super) fn environment(result: &ComparisonResult, root: &Place) -> Markup {
    let (environment, place) = (&result.environment, root.at("environment"));
    let (cpu, program) = (&environment.cpu, &environment.program);
    html! {
        section.card {
            h2 { "Environment" }
            dl {
                (entry("kernel", &html! { (environment.kernel_release) " " (environment.kernel_version) }))
                (entry("processors", &html! {
                    (cpu.available) " of " (cpu.online) " × " (cpu.model) ", " (cpu.threads_per_core)
                    " thread(s) a core, " (cpu.memory_nodes) " memory node(s), governor "
                    (cpu.governor.as_deref().unwrap_or("not known"))
                }))
                (entry("virtualisation", &html! { (environment.virtualisation) }))
                (entry("memory", &html! {
                    (figure::mebibytes(&place.at("memory_bytes"), environment.memory_bytes)) " MiB"
                }))
                (entry("load by others before", &html! {
                    (figure::decimal(&place.at("load_before"), Some(environment.load_before), 2))
                    " processors"
                }))
                (entry("ringpoll", &html! {
                    (program.version) " (" (program.git.as_deref().unwrap_or("not from a repository"))
                    "), " (program.target)
                    @if !program.optimised { ", built without optimisation" }
                }))
                @if let Some(doctor) = &environment.doctor {
                    (entry("io_uring", &html! { (doctor.in_short()) }))
                }
                @if let Some(line) = &environment.kernel_command_line {
                    (entry("kernel command line", &html! { code { (line) } }))
                }
            }
            @if let Some(doctor) = &environment.doctor { (missing(doctor)) }
            (tunables("Kernel settings", Some(&environment.sysctls)))
            (tunables("Limits", Some(&environment.limits)))
            (tunables("Hardware vulnerabilities", Some(&environment.mitigations)))
            (tunables("Kernel build", environment.kernel_build.as_ref()))
        }
    }
}

/// What io_uring cannot do there, and why.
fn missing(doctor: &Diagnosis) -> Markup {
    let reason = |(name, absence): (&String, &Absence)| Tunable {
        name: name.clone(),
        value: absence.reason.clone(),
    };
    tunables("Missing from io_uring", Some(&doctor.missing.iter().map(reason).collect()))
}

fn tunables(name: &str, tunables: Option<&Vec<Tunable>>) -> Markup {
    html! {
        @if let Some(tunables) = tunables.filter(|it| !it.is_empty()) {
            details {
                summary { (name) }
                div.scroll {
                    table {
                        tbody {
                            @for it in tunables {
                                tr { th scope="row" { code { (it.name) } } td { code { (it.value) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}
