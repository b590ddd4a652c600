//! What the instructions a request are counted of: every variant, and, when it is asked for, every
//! technique of io_uring:tuned.

use ringpoll::config::{DefaultValue, KEYS, Key};
use ringpoll_backends::Variant;

use crate::work::{CostArm, CostLoad, CostPlan};

const CHURN: CostLoad = CostLoad { keep_alive: false, at_once: 16 };
const ONE_BY_ONE: CostLoad = CostLoad { keep_alive: false, at_once: 1 };
const KEEP_ALIVE: CostLoad = CostLoad { keep_alive: true, at_once: 16 };
const KEEP_ALIVE_ONE_BY_ONE: CostLoad = CostLoad { keep_alive: true, at_once: 1 };

/// How a server ends that does no more than a loop of accept, recv, send and close does: nobody
/// waits for the peer, the close says that nothing follows, and a connection is there to be
/// accepted when its request is.
const BARE: &[&str] = &["server.lingering_close=false", "server.defer_accept_s=1"];
const BARE_WORD: &str = "bare";

const TUNED: Variant = Variant::IoUringTuned;

/// Keys of `[io_uring]` that are none of its techniques, or whose worth is not in a path: who polls
/// counts instructions for as long as nothing comes.
const NOT_COUNTED: &[&str] = &[
    "submission_queue_entries",
    "completion_queue_entries",
    "submission_queue_polling",
    "busy_poll_us",
    "shutdown",
];

/// With which number a technique is on that is off by default.
const ON_NUMBERS: &[(&str, i64)] = &[("minimum_wait_us", 50), ("zero_copy_send_bytes", 1)];

/// Every variant under each load, and the tuned ones once more with a bare life.
pub(crate) fn variants() -> CostPlan {
    let loads = [ONE_BY_ONE, CHURN, KEEP_ALIVE_ONE_BY_ONE, KEEP_ALIVE];
    let of_variant = |&variant: &Variant| loads.map(|load| arm(variant.name(), variant, &[], load));
    let bare = [Variant::EpollTuned, TUNED]
        .map(|it| arm(&format!("{it}, {BARE_WORD}"), it, &bare_settings(it), CHURN));
    plan(Variant::ALL.iter().flat_map(of_variant).chain(bare).collect())
}

/// A way of having techniques, by name and with what sets it.
pub(crate) struct Way {
    pub(crate) name: String,
    settings: Vec<String>,
}

/// One technique, as a key of `[io_uring]`.
struct Technique {
    key: &'static Key,
    by_default: String,
    on: String,
    off: String,
}

impl Technique {
    fn name(&self) -> &'static str {
        self.key.name.rsplit('.').next().expect("a split has a last part")
    }

    fn is_on(&self) -> bool {
        self.by_default != self.off
    }

    fn set(&self, value: &str) -> String {
        format!("{}={value}", self.key.name)
    }

    fn of(key: &'static Key) -> Option<Self> {
        let name = key.name.strip_prefix("io_uring.").filter(|it| !NOT_COUNTED.contains(it))?;
        let (by_default, on, off) = match key.default {
            DefaultValue::Switch(it) => (it.to_string(), "true".to_owned(), "false".to_owned()),
            DefaultValue::Number(number) => {
                let named = ON_NUMBERS.iter().find(|&&(key, _)| key == name).map(|it| it.1);
                let on = named.unwrap_or(number);
                assert_ne!(on, 0, "{name} needs a number with which it is on");
                (number.to_string(), on.to_string(), "0".to_owned())
            }
            DefaultValue::Text(_) => panic!("{name} is a technique, and no switch"),
        };
        Some(Self { key, by_default, on, off })
    }
}

/// The default set, the same with one technique otherwise, no technique, and one alone. What needs
/// another one is with that.
pub(crate) fn ways() -> Vec<Way> {
    let techniques: Vec<_> = KEYS.iter().filter_map(Technique::of).collect();
    let mut ways = vec![Way { name: "default set".to_owned(), settings: Vec::new() }];
    for it in &techniques {
        let (sign, value) = if it.is_on() { ("without", &it.off) } else { ("with", &it.on) };
        let name = format!("default set {sign} {}", it.name());
        ways.push(Way { name, settings: vec![it.set(value)] });
    }
    let none: Vec<_> = techniques.iter().map(|it| it.set(&it.off)).collect();
    ways.push(Way { name: "none".to_owned(), settings: none.clone() });
    for it in &techniques {
        let mut settings = none.clone();
        let needed = needed_by(it.name());
        let needed = techniques.iter().filter(|other| needed.contains(&other.name()));
        settings.extend(needed.map(|other| other.set(&other.on)));
        settings.push(it.set(&it.on));
        ways.push(Way { name: format!("{} alone", it.name()), settings });
    }
    ways
}

/// Without which it is not in force.
fn needed_by(technique: &str) -> &'static [&'static str] {
    match technique {
        "multishot_receive" => &["provided_buffers"],
        "bundles" => &["provided_buffers", "multishot_receive"],
        "skip_success" => &["linked_close"],
        _ => &[],
    }
}

/// The way that a way is measured against.
pub(crate) fn reference_of(way: &str) -> &'static str {
    if way.ends_with(" alone") || way == "none" { "none" } else { "default set" }
}

/// The lives in which techniques are measured, by name.
pub(crate) fn lives() -> [(String, Vec<String>, CostLoad); 3] {
    [
        ("churn".to_owned(), Vec::new(), CHURN),
        (format!("churn, {BARE_WORD}"), bare_settings(TUNED), CHURN),
        ("keep-alive".to_owned(), Vec::new(), KEEP_ALIVE),
    ]
}

/// Every way in every life.
pub(crate) fn techniques() -> CostPlan {
    let lives = lives();
    let arms = ways().into_iter().flat_map(|way| {
        lives.each_ref().map(|(life, settings, load)| {
            let settings = [settings.as_slice(), way.settings.as_slice()].concat();
            arm(&technique_server(&way.name, life), TUNED, &settings, *load)
        })
    });
    plan(arms.collect())
}

/// What a server with techniques of its own is called.
pub(crate) fn technique_server(way: &str, life: &str) -> String {
    format!("{way}, {life}")
}

fn bare_settings(variant: Variant) -> Vec<String> {
    let section = if variant.is_io_uring() { "io_uring" } else { "epoll" };
    let shutdown = format!("{section}.shutdown=close");
    BARE.iter().map(|&it| it.to_owned()).chain([shutdown]).collect()
}

fn arm(server: &str, variant: Variant, settings: &[String], load: CostLoad) -> CostArm {
    let (server, variant) = (server.to_owned(), variant.name().to_owned());
    CostArm { server, variant, settings: settings.to_vec(), load }
}

fn plan(arms: Vec<CostArm>) -> CostPlan {
    let (requests, persistent_requests) = (1000, 4000);
    CostPlan { arms, warm_up_requests: 200, requests, persistent_requests, settle_ms: 1500 }
}

pub(crate) fn every_technique_is_counted_with_and_without() {
    let names: Vec<_> = ways().into_iter().map(|way| way.name).collect();
    for name in ringpoll_backends::Techniques::BEST.names() {
        let is_its = |way: &&String| way.starts_with(&format!("default set without {name}"));
        assert_eq!(names.iter().filter(is_its).count(), 1, "{name}");
    }
    for name in &names {
        assert!(names.iter().any(|it| it == reference_of(name)), "{name}");
    }
    let arms = techniques().arms;
    let distinct: std::collections::BTreeSet<_> = arms.iter().map(CostArm::name).collect();
    assert_eq!(distinct.len(), names.len() * lives().len());
}
