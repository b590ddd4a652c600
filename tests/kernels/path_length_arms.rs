//! The arms of the path length: every variant, or every technique of io_uring:tuned.

use ringpoll_backends::{Techniques, Variant};

use crate::work::{PathLengthArm, PathLengthLoad, PathLengthPlan};

const CHURN: PathLengthLoad = PathLengthLoad { keep_alive: false, concurrency: 16 };
const CHURN_SEQUENTIAL: PathLengthLoad = PathLengthLoad { keep_alive: false, concurrency: 1 };
const KEEP_ALIVE: PathLengthLoad = PathLengthLoad { keep_alive: true, concurrency: 16 };
const KEEP_ALIVE_SEQUENTIAL: PathLengthLoad = PathLengthLoad { keep_alive: true, concurrency: 1 };

/// Settings of a server that does no more than a loop of accept, recv, send and close.
const MINIMAL_SETTINGS: &[&str] = &["server.lingering_close=false", "server.defer_accept_s=1"];
const MINIMAL: &str = "minimal";

const TUNED: Variant = Variant::IoUringTuned;

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

/// Returns the default set, the default set with one technique inverted, no technique, and each
/// technique alone with those that it requires. SQPOLL is left out, since polling executes
/// instructions while idle.
pub(crate) fn technique_sets() -> Vec<TechniqueSet> {
    let techniques: Vec<_> = Techniques::ALL.iter().filter(|it| it.key != "sqpoll").collect();
    let mut sets = vec![TechniqueSet { name: "default set".to_owned(), settings: Vec::new() }];
    for it in &techniques {
        let (sign, value) = if it.default > 0 { ("without", 0) } else { ("with", it.enabled) };
        let name = format!("default set {sign} {}", it.key);
        sets.push(TechniqueSet { name, settings: vec![it.setting(value)] });
    }
    let settings_of = |set: &Techniques| {
        techniques.iter().map(|it| it.setting(it.value_in(set))).collect::<Vec<_>>()
    };
    sets.push(TechniqueSet { name: "none".to_owned(), settings: settings_of(&Techniques::NONE) });
    for it in &techniques {
        let settings = settings_of(&it.alone());
        sets.push(TechniqueSet { name: format!("{} alone", it.key), settings });
    }
    sets
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
    for name in Techniques::BEST.names() {
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
