//! Arms: the servers that are compared, and the command lines that start them.

use std::path::PathBuf;

use ringpoll_backends::Variant;
use toml::Value;

use super::command_arm::{CommandArm, program_name, split_command};
use crate::config::{self, FlagSetting, KEYS, Preset, Sources, nearest};
use crate::failure::Failure;
use crate::result::{Arm, ArmKind, Difference, Setting};

/// Settings that all ringpoll arms start from.
#[derive(Clone, Debug, Default)]
pub struct CommonSettings {
    /// The file given with `--config`.
    pub file: Option<PathBuf>,
    /// The preset given with `--preset`.
    pub preset: Option<Preset>,
    /// The `KEY=VALUE` settings given with `--set`.
    pub set: Vec<String>,
    /// Keys and values that the load requires; a different value is refused.
    pub load: Vec<(&'static str, String)>,
}

impl CommonSettings {
    fn check_against_load(&self, key: &str, value: &str) -> Result<(), String> {
        match self.load.iter().find(|(needed, _)| *needed == key) {
            Some((_, needed)) if needed != value => {
                Err(format!("{key} must be {needed} for this load. Try another --load."))
            }
            _ => Ok(()),
        }
    }
}

/// An arm with all that is needed to start its server any number of times.
#[derive(Clone, Debug)]
pub struct PreparedArm {
    /// The description that a result contains.
    pub description: Arm,
    /// The program to start.
    pub program: Program,
}

/// The program that an arm starts.
#[derive(Clone, Debug)]
pub enum Program {
    /// ringpoll with one of its engines; it does not fall back to another.
    Engine {
        /// The engine.
        variant: Variant,
        /// The number of worker threads.
        workers: usize,
        /// The arguments after the program name.
        arguments: Vec<String>,
    },
    /// Any other server.
    Command(Box<CommandArm>),
}

/// Settings of every ringpoll arm that the configuration cannot change.
const FIXED_SETTINGS: [(&str, &str); 2] =
    [("server.listen", "127.0.0.1:0"), ("server.print_requests", "false")];

/// The arms if the command line names none: the best engine of each interface.
const DEFAULT_ARMS: [&str; 2] = ["epoll", "io_uring"];

/// Returns the number of arms that `specs` and a file with `in_file` arms describe.
pub fn count(specs: &[String], in_file: usize) -> usize {
    if specs.is_empty() && in_file == 0 { DEFAULT_ARMS.len() } else { specs.len() + in_file }
}

/// Parses the arms of the command line, which are followed by those of a file. Without any, these
/// are the default arms.
///
/// # Errors
/// Returns a usage failure that names the first invalid arm.
pub fn parse_arms(
    specs: &[String],
    in_file: &[PreparedArm],
    common: &CommonSettings,
) -> Result<Vec<PreparedArm>, Failure> {
    let best = DEFAULT_ARMS.map(str::to_owned);
    let specs = if specs.is_empty() && in_file.is_empty() { &best[..] } else { specs };

    let mut arms: Vec<PreparedArm> =
        specs.iter().map(|spec| parse_arm(spec, common)).collect::<Result<_, _>>()?;
    arms.extend_from_slice(in_file);
    if let [only] = &arms[..] {
        let only = &only.description.spec;
        return Err(usage(format!(
            "a comparison needs at least two arms, but only {only} is given. Add another arm, or \
             give {only} twice to measure the noise."
        )));
    }
    make_labels_unique(&mut arms);
    Ok(arms)
}

fn parse_arm(spec: &str, common: &CommonSettings) -> Result<PreparedArm, Failure> {
    match spec.strip_prefix("command:") {
        Some(command) => parse_command(spec, command),
        None => parse_engine(spec, common),
    }
}

fn parse_command(spec: &str, command: &str) -> Result<PreparedArm, Failure> {
    let of_arm = |problem| usage(format!("arm {spec}: {problem}"));
    let command = split_command(command).map_err(of_arm)?;
    let arm = CommandArm { command, ..CommandArm::default() };
    arm.check_placeholders().map_err(of_arm)?;
    let description = arm.description(spec.to_owned(), program_name(&arm.command), "");
    Ok(PreparedArm { description, program: Program::Command(Box::new(arm)) })
}

fn parse_engine(spec: &str, common: &CommonSettings) -> Result<PreparedArm, Failure> {
    let mut parts = spec.split(',');
    let name = parts.next().unwrap_or_default().trim();
    if name == "auto" {
        return Err(usage(format!(
            "arm {spec}: a comparison never falls back, so auto cannot be an arm. Name an engine."
        )));
    }
    let variant: Variant = name.parse().map_err(|_| unknown_arm(name))?;
    let overrides: Vec<(String, String)> =
        parts.map(|part| parse_override(spec, part, common)).collect::<Result<_, _>>()?;
    let loaded =
        config::load(&sources(variant, &overrides, common)?).map_err(|error| error.in_arm(spec))?;

    let mut label = variant.name().to_owned();
    for (key, value) in &overrides {
        label += &format!(",{}={value}", key.rsplit('.').next().unwrap_or(key));
    }
    let mut arguments = vec!["serve".to_owned(), "--stats".to_owned(), "json".to_owned()];
    let mut settings = Vec::new();
    for setting in loaded.layers.iter() {
        let value = plain_text(&setting.value);
        arguments.extend(["--set".to_owned(), format!("{}={value}", setting.key.name)]);
        let origin = setting.origin.to_string();
        settings.push(Setting { key: setting.key.name.to_owned(), value, origin });
    }
    let command_line = [vec!["ringpoll".to_owned()], arguments.clone()].concat();
    let description = Arm {
        spec: spec.to_owned(),
        label,
        kind: ArmKind::Engine,
        command_line,
        engine: None,
        settings,
        kernel_features: Vec::new(),
    };
    let workers = loaded.config.server.workers;
    Ok(PreparedArm { description, program: Program::Engine { variant, workers, arguments } })
}

fn unknown_arm(name: &str) -> Failure {
    let engines = Variant::ALL.iter().map(|variant| variant.name());
    let known: Vec<&str> = DEFAULT_ARMS.into_iter().chain(engines).collect();
    let hint = nearest(name, known.iter()).map(|it| format!(" Did you mean {it}?"));
    usage(format!(
        "unknown arm `{name}`.{} Known arms: {}, and command:PROGRAM … {{port}} for any other server.",
        hint.unwrap_or_default(),
        known.join(", ")
    ))
}

/// Parses `backlog=64` or `server.backlog=64`.
fn parse_override(
    spec: &str,
    part: &str,
    common: &CommonSettings,
) -> Result<(String, String), Failure> {
    let Some((key, value)) = part.split_once('=') else {
        return Err(usage(format!("arm {spec}: expected KEY=VALUE, not {part}")));
    };
    let key = full_key(key.trim()).map_err(|problem| usage(format!("arm {spec}: {problem}")))?;
    if FIXED_SETTINGS.iter().any(|&(fixed, _)| fixed == key) || key == "backend" {
        return Err(usage(format!("arm {spec}: {key} is set by ringpoll compare")));
    }
    let value = value.trim().to_owned();
    common
        .check_against_load(&key, &value)
        .map_err(|problem| usage(format!("arm {spec}: {problem}")))?;
    Ok((key, value))
}

/// Returns the full name of a configuration key that may be abbreviated to its last part. An
/// unknown name is returned as it is; loading the configuration refuses it with a suggestion.
///
/// # Errors
/// Returns a message if several keys end with `name`.
pub fn full_key(name: &str) -> Result<String, String> {
    if KEYS.iter().any(|key| key.name == name) {
        return Ok(name.to_owned());
    }
    let has_this_end = |key: &&str| key.rsplit('.').next() == Some(name);
    let full: Vec<&str> = KEYS.iter().map(|key| key.name).filter(has_this_end).collect();
    match full[..] {
        [one] => Ok(one.to_owned()),
        [] => Ok(name.to_owned()),
        _ => Err(format!("{name} is ambiguous: {}", full.join(", "))),
    }
}

fn sources(
    variant: Variant,
    overrides: &[(String, String)],
    common: &CommonSettings,
) -> Result<Sources, Failure> {
    let mut flags = Vec::new();
    for set in &common.set {
        let set = FlagSetting::parse_set(set).map_err(usage)?;
        common
            .check_against_load(&set.key, &set.value)
            .map_err(|problem| usage(format!("--set: {problem}")))?;
        flags.push(set);
    }
    flags.extend(overrides.iter().map(|(key, value)| FlagSetting::new("arm", key, value)));
    flags.push(FlagSetting::new("arm", "backend", variant.name()));
    flags.extend(common.load.iter().map(|(key, value)| FlagSetting::new("--load", key, value)));
    flags.extend(FIXED_SETTINGS.map(|(key, value)| FlagSetting::new("compare", key, value)));
    let environment = std::env::vars_os().collect();
    Ok(Sources { flags, environment, file: common.file.clone(), preset: common.preset })
}

fn make_labels_unique(arms: &mut [PreparedArm]) {
    for index in 1..arms.len() {
        let label = arms[index].description.label.clone();
        let same = |it: &&PreparedArm| it.description.spec == arms[index].description.spec;
        let before = arms[..index].iter().filter(same).count();
        let taken = arms[..index].iter().any(|it| it.description.label == label);
        if before > 0 || taken {
            arms[index].description.label = format!("{label} ({})", index + 1);
        }
    }
}

/// Returns the differences between the arms: their programs, and the settings of ringpoll arms.
pub fn differences(arms: &[Arm]) -> Vec<Difference> {
    let mut differences = Vec::new();
    if arms.iter().any(|arm| arm.kind == ArmKind::Command) {
        let program = |arm: &Arm| {
            Some(match arm.kind {
                ArmKind::Engine => "ringpoll".to_owned(),
                ArmKind::Command => arm.command_line[0].clone(),
            })
        };
        let values = arms.iter().map(program).collect();
        differences.push(Difference { key: "program".to_owned(), values });
    }
    let mut keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    for setting in arms.iter().flat_map(|arm| &arm.settings) {
        if !keys.contains(&setting.key.as_str()) {
            keys.push(&setting.key);
        }
    }
    for key in keys {
        let value = |arm: &Arm| {
            let values: Vec<_> =
                arm.settings.iter().filter(|it| it.key == key).map(|it| &*it.value).collect();
            (!values.is_empty()).then(|| values.join("; "))
        };
        let values: Vec<Option<String>> = arms.iter().map(value).collect();
        // A server of another project has none of ringpoll's settings, and the other way around.
        let is_known = |arm: &Arm| arm.settings.iter().any(|it| it.key == key);
        let is_of_file = !KEYS.iter().any(|it| it.name == key);
        let is_compared = |arm: &Arm| is_known(arm) || is_of_file && arm.kind == ArmKind::Command;
        let mut compared = arms.iter().zip(&values).filter(|(arm, _)| is_compared(arm));
        let first = compared.next();
        if compared.any(|(_, value)| first.is_some_and(|(_, first)| first != value)) {
            differences.push(Difference { key: key.to_owned(), values });
        }
    }
    differences
}

fn plain_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn usage(message: impl AsRef<str>) -> Failure {
    Failure::Usage(format!("ringpoll compare: {}", message.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(specs: &[&str]) -> Result<Vec<PreparedArm>, Failure> {
        let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
        parse_arms(&specs, &[], &CommonSettings::default())
    }

    fn usage_error(specs: &[&str]) -> String {
        let failure = arms(specs).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    }

    fn setting<'arm>(arm: &'arm PreparedArm, key: &str) -> &'arm str {
        &arm.description.settings.iter().find(|it| it.key == key).unwrap().value
    }

    #[test]
    fn default_arms_are_the_best_engine_of_each_interface() {
        let arms = arms(&[]).unwrap();
        let names: Vec<_> = arms.iter().map(|arm| arm.description.label.as_str()).collect();
        let best = ["epoll", "io_uring"].map(|name| name.parse::<Variant>().unwrap().name());
        assert_eq!(names, best);
    }

    #[test]
    fn abbreviated_overrides_become_server_arguments() {
        let arms = arms(&[
            "epoll:level,backlog=64",
            "io_uring:single_shot,io_uring.submission_queue_entries=512, backlog = 64",
        ])
        .unwrap();
        assert_eq!(setting(&arms[0], "server.backlog"), "64");
        assert_eq!(setting(&arms[1], "io_uring.submission_queue_entries"), "512");
        assert_eq!(setting(&arms[1], "server.print_requests"), "false");
        let Program::Engine { arguments, .. } = &arms[1].program else { panic!("an engine") };
        assert!(arguments.contains(&"io_uring.submission_queue_entries=512".to_owned()));
        assert!(arguments.contains(&"server.listen=127.0.0.1:0".to_owned()));
        assert!(arguments.contains(&"backend=io_uring:single_shot".to_owned()));
        assert_eq!(arguments.iter().filter(|it| *it == "--set").count(), KEYS.len());

        let arms: Vec<Arm> = arms.into_iter().map(|it| it.description).collect();
        let differences = differences(&arms);
        let keys: Vec<_> = differences.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["backend", "io_uring.submission_queue_entries"]);
        let values = [Some("256".to_owned()), Some("512".to_owned())];
        assert_eq!(differences[1].values, values);
    }

    #[test]
    fn command_arm_needs_a_port_placeholder() {
        let arms = arms(&["epoll:level", "command:/usr/sbin/other -g 'two words' -p {port}"]);
        let arms: Vec<Arm> = arms.unwrap().into_iter().map(|it| it.description).collect();
        assert_eq!(arms[1].label, "other");
        assert_eq!(arms[1].command_line, ["/usr/sbin/other", "-g", "two words", "-p", "{port}"]);
        assert_eq!(differences(&arms)[0].key, "program");
        assert!(usage_error(&["epoll:level", "command:nginx"]).contains("{port}"));
        assert!(usage_error(&["epoll:level", "command:a 'b {port}"]).contains("a quote is open"));
    }

    #[test]
    fn surroundings_of_commands_that_differ_are_listed() {
        let mut arms: Vec<Arm> = arms(&["epoll:level", "command:a {port}", "command:b {port}"])
            .unwrap()
            .into_iter()
            .map(|it| it.description)
            .collect();
        let setting = |key: &str, value: &str| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: String::new(),
        };
        arms[1].settings = vec![setting("environment.A", "1"), setting("settle_ms", "5")];
        arms[2].settings = vec![setting("settle_ms", "5")];
        let differences = differences(&arms);
        let keys: Vec<_> = differences.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["program", "environment.A"]);
        assert_eq!(differences[1].values, [None, Some("1".to_owned()), None]);
    }

    #[test]
    fn repeated_arm_gets_a_numbered_label() {
        let arms = arms(&["epoll:level", "epoll:level"]).unwrap();
        assert_eq!(arms[0].description.label, "epoll:level");
        assert_eq!(arms[1].description.label, "epoll:level (2)");
    }

    #[test]
    fn settings_required_by_the_load_cannot_be_overridden() {
        let load = vec![("server.keep_alive", "true".to_owned())];
        let common = CommonSettings { load, ..CommonSettings::default() };
        let read = |first: &str, set: &[&str]| {
            let set = set.iter().map(|&it| it.to_owned()).collect();
            let common = CommonSettings { set, ..common.clone() };
            parse_arms(&[first.to_owned(), "epoll:edge".to_owned()], &[], &common)
        };
        for arm in read("epoll:level,keep_alive=true", &[]).unwrap() {
            assert_eq!(setting(&arm, "server.keep_alive"), "true");
        }
        for refused in [
            read("epoll:level,keep_alive=false", &[]),
            read("epoll:level", &["server.keep_alive=false"]),
        ] {
            let problem = refused.unwrap_err().to_string();
            assert!(problem.contains("server.keep_alive must be true for this load"), "{problem}");
        }
    }

    #[test]
    fn invalid_arms_are_refused_with_the_reason() {
        assert!(usage_error(&["epoll:level"]).contains("at least two arms"));
        assert!(usage_error(&["auto", "epoll:level"]).contains("never falls back"));
        let message = usage_error(&["nosuch"]);
        let expected = "ringpoll compare: unknown arm `nosuch`. Known arms: epoll, io_uring, ";
        assert!(message.starts_with(expected), "{message}");
        let message = usage_error(&["epoll:level", "io_uring:tunde"]);
        assert!(message.contains("Did you mean io_uring:tuned?"), "{message}");
        assert!(usage_error(&["epoll:level,backlog", "epoll:edge"]).contains("KEY=VALUE"));
        let message = usage_error(&["epoll:level,listen=[::]:1", "epoll:edge"]);
        assert!(message.contains("server.listen is set by ringpoll compare"), "{message}");
        let message = usage_error(&["epoll:level,server.backlg=5", "epoll:edge"]);
        assert!(message.contains("did you mean server.backlog?"), "{message}");
    }
}
