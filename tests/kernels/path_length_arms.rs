//! The arms of the path length: every variant, or every technique of io_uring:tuned.

use ringpoll::config::{DefaultValue, KEYS, Key};
use ringpoll_backends::Variant;

use crate::work::{PathLengthArm, PathLengthLoad, PathLengthPlan};

const CHURN: PathLengthLoad = PathLengthLoad { keep_alive: false, concurrency: 16 };
const CHURN_SEQUENTIAL: PathLengthLoad = PathLengthLoad { keep_alive: false, concurrency: 1 };
const KEEP_ALIVE: PathLengthLoad = PathLengthLoad { keep_alive: true, concurrency: 16 };
const KEEP_ALIVE_SEQUENTIAL: PathLengthLoad = PathLengthLoad { keep_alive: true, concurrency: 1 };

/// Settings of a server that does no more than a loop of accept, recv, send and close.
const MINIMAL_SETTINGS: &[&str] = &["server.lingering_close=false", "server.defer_accept_s=1"];
const MINIMAL: &str = "minimal";

const TUNED: Variant = Variant::IoUringTuned;

/// Keys of `[io_uring]` that are no techniques, or that busy-poll: polling executes instructions
/// while idle.
const EXCLUDED_KEYS: &[&str] =
    &["submission_queue_entries", "completion_queue_entries", "sqpoll", "busy_poll_us", "shutdown"];

/// The numbers that enable techniques that are off by default.
const ENABLED_VALUES: &[(&str, i64)] = &[("min_wait_us", 50), ("send_zc_min_bytes", 1)];

/// Returns every variant under each load, and the tuned ones also with [`MINIMAL_SETTINGS`].
pub(crate) fn variants() -> PathLengthPlan {
    let loads = [CHURN_SEQUENTIAL, CHURN, KEEP_ALIVE_SEQUENTIAL, KEEP_ALIVE];
    let of_variant = |&variant: &Variant| loads.map(|load| arm(variant.name(), variant, &[], load));
    let minimal = [Variant::EpollTuned, TUNED]
        .map(|it| arm(&format!("{it}, {MINIMAL}"), it, &minimal_settings(it), CHURN));
    plan(Variant::ALL.iter().flat_map(of_variant).chain(minimal).collect())
}

/// A named set of techniques and its settings.
pub(crate) struct TechniqueSet {
    pub(crate) name: String,
    settings: Vec<String>,
}

/// One technique, as a key of `[io_uring]`.
struct Technique {
    key: &'static Key,
    default_value: String,
    on: String,
    off: String,
}

impl Technique {
    fn name(&self) -> &'static str {
        self.key.name.rsplit('.').next().expect("a split has a last part")
    }

    fn is_on(&self) -> bool {
        self.default_value != self.off
    }

    fn set(&self, value: &str) -> String {
        format!("{}={value}", self.key.name)
    }

    fn from_key(key: &'static Key) -> Option<Self> {
        let name = key.name.strip_prefix("io_uring.").filter(|it| !EXCLUDED_KEYS.contains(it))?;
        let (default_value, on, off) = match key.default {
            DefaultValue::Switch(it) => (it.to_string(), "true".to_owned(), "false".to_owned()),
            DefaultValue::Number(number) => {
                let named = ENABLED_VALUES.iter().find(|&&(key, _)| key == name).map(|it| it.1);
                let on = named.unwrap_or(number);
                assert_ne!(on, 0, "ENABLED_VALUES must have {name}");
                (number.to_string(), on.to_string(), "0".to_owned())
            }
            DefaultValue::Text(_) => panic!("{name} must be a switch or a number"),
        };
        Some(Self { key, default_value, on, off })
    }
}

/// Returns the default set, the default set with one technique inverted, no technique, and each
/// technique alone with those that it requires.
pub(crate) fn technique_sets() -> Vec<TechniqueSet> {
    let techniques: Vec<_> = KEYS.iter().filter_map(Technique::from_key).collect();
    let mut sets = vec![TechniqueSet { name: "default set".to_owned(), settings: Vec::new() }];
    for it in &techniques {
        let (sign, value) = if it.is_on() { ("without", &it.off) } else { ("with", &it.on) };
        let name = format!("default set {sign} {}", it.name());
        sets.push(TechniqueSet { name, settings: vec![it.set(value)] });
    }
    let none: Vec<_> = techniques.iter().map(|it| it.set(&it.off)).collect();
    sets.push(TechniqueSet { name: "none".to_owned(), settings: none.clone() });
    for it in &techniques {
        let mut settings = none.clone();
        let required = required_by(it.name());
        let required = techniques.iter().filter(|other| required.contains(&other.name()));
        settings.extend(required.map(|other| other.set(&other.on)));
        settings.push(it.set(&it.on));
        sets.push(TechniqueSet { name: format!("{} alone", it.name()), settings });
    }
    sets
}

/// Returns the techniques without which `technique` has no effect.
fn required_by(technique: &str) -> &'static [&'static str] {
    match technique {
        "multishot_receive" => &["provided_buffers"],
        "bundles" => &["provided_buffers", "multishot_receive"],
        "cqe_skip_success" => &["linked_close"],
        _ => &[],
    }
}

/// Returns the set that `set` is compared with.
pub(crate) fn reference_of(set: &str) -> &'static str {
    if set.ends_with(" alone") || set == "none" { "none" } else { "default set" }
}

/// Returns the loads for techniques: name, settings and load.
pub(crate) fn loads() -> [(String, Vec<String>, PathLengthLoad); 3] {
    [
        ("churn".to_owned(), Vec::new(), CHURN),
        (format!("churn, {MINIMAL}"), minimal_settings(TUNED), CHURN),
        ("keep-alive".to_owned(), Vec::new(), KEEP_ALIVE),
    ]
}

/// Returns every set of techniques under every load.
pub(crate) fn techniques() -> PathLengthPlan {
    let loads = loads();
    let arms = technique_sets().into_iter().flat_map(|set| {
        loads.each_ref().map(|(name, settings, load)| {
            let settings = [settings.as_slice(), set.settings.as_slice()].concat();
            arm(&server_name(&set.name, name), TUNED, &settings, *load)
        })
    });
    plan(arms.collect())
}

/// Returns the name of a server with a set of techniques under a load.
pub(crate) fn server_name(set: &str, name: &str) -> String {
    format!("{set}, {name}")
}

fn minimal_settings(variant: Variant) -> Vec<String> {
    let section = if variant.is_io_uring() { "io_uring" } else { "epoll" };
    let shutdown = format!("{section}.shutdown=close");
    MINIMAL_SETTINGS.iter().map(|&it| it.to_owned()).chain([shutdown]).collect()
}

fn arm(server: &str, variant: Variant, settings: &[String], load: PathLengthLoad) -> PathLengthArm {
    let (server, variant) = (server.to_owned(), variant.name().to_owned());
    PathLengthArm { server, variant, settings: settings.to_vec(), load }
}

fn plan(arms: Vec<PathLengthArm>) -> PathLengthPlan {
    let (requests, keep_alive_requests) = (1000, 4000);
    PathLengthPlan { arms, warm_up_requests: 200, requests, keep_alive_requests, settle_ms: 1500 }
}

pub(crate) fn every_technique_is_measured_with_and_without() {
    let names: Vec<_> = technique_sets().into_iter().map(|set| set.name).collect();
    for name in ringpoll_backends::Techniques::BEST.names() {
        let is_inverted = |set: &&String| set.starts_with(&format!("default set without {name}"));
        assert_eq!(names.iter().filter(is_inverted).count(), 1, "{name}");
    }
    for name in &names {
        assert!(names.iter().any(|it| it == reference_of(name)), "{name}");
    }
    let arms = techniques().arms;
    let distinct: std::collections::BTreeSet<_> = arms.iter().map(PathLengthArm::name).collect();
    assert_eq!(distinct.len(), names.len() * loads().len());
}
