//! Those that are compared: what was asked for, and how their servers are started.

use std::path::{Path, PathBuf};

use ringpoll_backends::Variant;
use toml::Value;

use crate::config::{self, FlagSetting, KEYS, Preset, Sources};
use crate::failure::Failure;
use crate::report::result::{Arm, ArmKind, Difference, Setting};

/// What all arms of our own server start from.
#[derive(Clone, Debug, Default)]
pub struct CommonSettings {
    /// The configuration file that was named.
    pub file: Option<PathBuf>,
    /// The preset that was named.
    pub preset: Option<Preset>,
    /// What `--set` sets in all arms.
    pub set: Vec<String>,
    /// What the load needs, which nobody may set otherwise: keys and values.
    pub load: Vec<(&'static str, String)>,
}

impl CommonSettings {
    fn check_against_load(&self, key: &str, value: &str) -> Result<(), String> {
        match self.load.iter().find(|(needed, _)| *needed == key) {
            Some((_, needed)) if needed != value => {
                Err(format!("{key} must be {needed} for this load; choose another with --load"))
            }
            _ => Ok(()),
        }
    }
}

/// One arm, ready to be started as often as there are rounds.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// How a result describes it.
    pub description: Arm,
    /// What has to be run, the port of another program as `{port}`.
    pub program: Program,
}

/// The program behind an arm.
#[derive(Clone, Debug)]
pub enum Program {
    /// Our own server, on this engine or on none.
    Engine {
        /// Which engine.
        variant: Variant,
        /// How many threads serve.
        workers: usize,
        /// Behind the program's own name.
        arguments: Vec<String>,
    },
    /// Any other server.
    Command(Vec<String>),
}

/// These keys are the comparison's own: the same for all, whatever the configuration says.
const FIXED: [(&str, &str); 2] =
    [("server.listen", "127.0.0.1:0"), ("server.print_requests", "false")];

/// None named means the best epoll engine against the best io_uring engine.
const BEST: [&str; 2] = ["epoll", "io_uring"];

/// How many arms there are if these are named.
pub fn count(specs: &[String]) -> usize {
    if specs.is_empty() { BEST.len() } else { specs.len() }
}

/// Reads all arms, or the best of either side.
///
/// # Errors
/// When one of them makes no sense: a usage error that names it.
pub fn read(specs: &[String], common: &CommonSettings) -> Result<Vec<Contestant>, Failure> {
    let best = BEST.map(str::to_owned);
    let specs = if specs.is_empty() { &best[..] } else { specs };
    if let [only] = specs {
        return Err(usage(format!(
            "one arm cannot be compared: name another beside {only}; the same one twice is a test \
             of the experiment itself"
        )));
    }
    let mut contestants: Vec<Contestant> =
        specs.iter().map(|spec| read_one(spec, common)).collect::<Result<_, _>>()?;
    make_labels_unique(&mut contestants);
    Ok(contestants)
}

fn read_one(spec: &str, common: &CommonSettings) -> Result<Contestant, Failure> {
    match spec.strip_prefix("command:") {
        Some(command) => read_command(spec, command),
        None => read_engine(spec, common),
    }
}

fn read_command(spec: &str, command: &str) -> Result<Contestant, Failure> {
    let words = shlex::split(command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| usage(format!("arm {spec}: a command with balanced quotes is expected")))?;
    if !words.iter().any(|word| word.contains("{port}")) {
        return Err(usage(format!(
            "arm {spec}: {{port}} is missing, where the command is told the port to listen on"
        )));
    }
    let name = Path::new(&words[0]).file_name().unwrap_or_default();
    let description = Arm {
        spec: spec.to_owned(),
        label: name.to_string_lossy().into_owned(),
        kind: ArmKind::Command,
        command_line: words.clone(),
        engine: None,
        settings: Vec::new(),
        kernel_features: Vec::new(),
    };
    Ok(Contestant { description, program: Program::Command(words) })
}

fn read_engine(spec: &str, common: &CommonSettings) -> Result<Contestant, Failure> {
    let mut parts = spec.split(',');
    let name = parts.next().unwrap_or_default().trim();
    if name == "auto" {
        return Err(usage(format!(
            "arm {spec}: a comparison never falls back, so auto cannot be an arm; name an engine"
        )));
    }
    let variant: Variant = name.parse().map_err(|error| usage(format!("arm {spec}: {error}")))?;
    let overrides: Vec<(String, String)> =
        parts.map(|part| read_override(spec, part, common)).collect::<Result<_, _>>()?;
    let loaded = config::load(&sources(variant, &overrides, common)?)?;

    let mut label = variant.name().to_owned();
    for (key, value) in &overrides {
        label += &format!(",{}={value}", key.rsplit('.').next().unwrap_or(key));
    }
    let mut arguments = vec!["serve".to_owned(), "--stats".to_owned(), "json".to_owned()];
    let mut settings = Vec::new();
    for setting in loaded.layers.iter() {
        let value = text(&setting.value);
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
    Ok(Contestant { description, program: Program::Engine { variant, workers, arguments } })
}

/// `backlog=64` or `server.backlog=64`.
fn read_override(
    spec: &str,
    part: &str,
    common: &CommonSettings,
) -> Result<(String, String), Failure> {
    let Some((key, value)) = part.split_once('=') else {
        return Err(usage(format!("arm {spec}: KEY=VALUE is expected, not {part}")));
    };
    let key = full_key(key.trim()).map_err(|problem| usage(format!("arm {spec}: {problem}")))?;
    let own = FIXED.iter().any(|&(fixed, _)| fixed == key) || key == "backend";
    if own {
        return Err(usage(format!("arm {spec}: {key} is set by the comparison itself")));
    }
    let value = value.trim().to_owned();
    common
        .check_against_load(&key, &value)
        .map_err(|problem| usage(format!("arm {spec}: {problem}")))?;
    Ok((key, value))
}

/// The full name of a key that may be named by its last part alone. What is unknown is left for
/// the configuration to refuse, which knows the nearest name.
///
/// # Errors
/// When several keys end with it.
pub fn full_key(name: &str) -> Result<String, String> {
    if KEYS.iter().any(|key| key.name == name) {
        return Ok(name.to_owned());
    }
    let ends_with_it = |key: &&str| key.rsplit('.').next() == Some(name);
    let full: Vec<&str> = KEYS.iter().map(|key| key.name).filter(ends_with_it).collect();
    match full[..] {
        [one] => Ok(one.to_owned()),
        [] => Ok(name.to_owned()),
        _ => Err(format!("{name} is the end of several keys: {}", full.join(", "))),
    }
}

fn sources(
    variant: Variant,
    overrides: &[(String, String)],
    common: &CommonSettings,
) -> Result<Sources, Failure> {
    let flag = |flag, key: &str, value: &str| FlagSetting {
        flag,
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut flags = Vec::new();
    for set in &common.set {
        let Some((key, value)) = set.split_once('=') else {
            return Err(usage(format!("--set: KEY=VALUE is expected, not {set}")));
        };
        common
            .check_against_load(key.trim(), value.trim())
            .map_err(|problem| usage(format!("--set: {problem}")))?;
        flags.push(flag("--set", key.trim(), value.trim()));
    }
    flags.extend(overrides.iter().map(|(key, value)| flag("arm", key, value)));
    flags.push(flag("arm", "backend", variant.name()));
    flags.extend(common.load.iter().map(|(key, value)| flag("--load", key, value)));
    flags.extend(FIXED.iter().map(|&(key, value)| flag("compare", key, value)));
    let environment = std::env::vars_os().collect();
    Ok(Sources { flags, environment, file: common.file.clone(), preset: common.preset })
}

fn make_labels_unique(contestants: &mut [Contestant]) {
    for index in 1..contestants.len() {
        let label = contestants[index].description.label.clone();
        let same = |it: &&Contestant| it.description.spec == contestants[index].description.spec;
        let before = contestants[..index].iter().filter(same).count();
        let taken = contestants[..index].iter().any(|it| it.description.label == label);
        if before > 0 || taken {
            contestants[index].description.label = format!("{label} ({})", index + 1);
        }
    }
}

/// What is not the same in all arms: their program, and the settings of our own servers.
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
    for key in KEYS {
        let value = |arm: &Arm| {
            arm.settings.iter().find(|it| it.key == key.name).map(|it| it.value.clone())
        };
        let values: Vec<Option<String>> = arms.iter().map(value).collect();
        let mut known = values.iter().flatten();
        let first = known.next();
        if known.any(|value| Some(value) != first) {
            differences.push(Difference { key: key.name.to_owned(), values });
        }
    }
    differences
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn usage(message: impl AsRef<str>) -> Failure {
    Failure::Usage(format!("ringpoll compare: {}", message.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(specs: &[&str]) -> Result<Vec<Contestant>, Failure> {
        let specs: Vec<String> = specs.iter().map(|&spec| spec.to_owned()).collect();
        read(&specs, &CommonSettings::default())
    }

    fn complaint(specs: &[&str]) -> String {
        let failure = arms(specs).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    }

    fn setting<'arm>(arm: &'arm Contestant, key: &str) -> &'arm str {
        &arm.description.settings.iter().find(|it| it.key == key).unwrap().value
    }

    #[test]
    fn without_arms_the_best_of_each_interface_are_compared() {
        let arms = arms(&[]).unwrap();
        let names: Vec<_> = arms.iter().map(|arm| arm.description.label.as_str()).collect();
        let best = ["epoll", "io_uring"].map(|name| name.parse::<Variant>().unwrap().name());
        assert_eq!(names, best);
    }

    #[test]
    fn overrides_are_taken_by_their_last_part_and_told_to_the_server() {
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
    fn another_program_gets_its_port() {
        let arms = arms(&["epoll:level", "command:/usr/sbin/other -g 'two words' -p {port}"]);
        let arms: Vec<Arm> = arms.unwrap().into_iter().map(|it| it.description).collect();
        assert_eq!(arms[1].label, "other");
        assert_eq!(arms[1].command_line, ["/usr/sbin/other", "-g", "two words", "-p", "{port}"]);
        assert_eq!(differences(&arms)[0].key, "program");
        assert!(complaint(&["epoll:level", "command:nginx"]).contains("{port}"));
        assert!(complaint(&["epoll:level", "command:a 'b {port}"]).contains("quotes"));
    }

    #[test]
    fn the_same_arm_twice_has_two_labels() {
        let arms = arms(&["epoll:level", "epoll:level"]).unwrap();
        assert_eq!(arms[0].description.label, "epoll:level");
        assert_eq!(arms[1].description.label, "epoll:level (2)");
    }

    #[test]
    fn what_the_load_needs_is_the_same_in_all_arms() {
        let load = vec![("server.keep_alive", "true".to_owned())];
        let common = CommonSettings { load, ..CommonSettings::default() };
        let read = |first: &str, set: &[&str]| {
            let set = set.iter().map(|&it| it.to_owned()).collect();
            let common = CommonSettings { set, ..common.clone() };
            read(&[first.to_owned(), "epoll:edge".to_owned()], &common)
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
    fn what_makes_no_sense_is_refused_with_the_reason() {
        assert!(complaint(&["epoll:level"]).contains("one arm"));
        assert!(complaint(&["auto", "epoll:level"]).contains("never falls back"));
        assert!(complaint(&["kqueue", "epoll:level"]).contains("no such backend"));
        assert!(complaint(&["epoll:level,backlog", "epoll:edge"]).contains("KEY=VALUE"));
        assert!(complaint(&["epoll:level,listen=[::]:1", "epoll:edge"]).contains("itself"));
        let complaint = complaint(&["epoll:level,server.backlg=5", "epoll:edge"]);
        assert!(complaint.contains("did you mean server.backlog?"), "{complaint}");
    }
}
