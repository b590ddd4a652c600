//! What a load is like, and how it is told.

use std::time::Duration;

use crate::load::{DEFAULT_DEPTH, DEFAULT_LARGE_BYTES, LONG_LIFE, Life, LoadKind};
use crate::report::result::{LoadDescription, Setting};

/// The parameters of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadShape {
    /// Which load it is.
    pub kind: LoadKind,
    /// pipelined: requests under way on each connection.
    pub depth: usize,
    /// large: how long the body of an answer is.
    pub bytes: u64,
    /// mixed: decides how many requests each connection carries.
    pub seed: u64,
    /// Closed loop: so many requests are under way all the time. With connections that persist: so
    /// many of them, in either loop.
    pub connections: usize,
    /// Connections that are open beside the load, and say nothing.
    pub idle: usize,
    /// So many requests come at once.
    pub burst: Option<usize>,
    /// Closed loop: how long after the last answer the next burst comes.
    pub burst_pause: Duration,
    /// In how many pieces a request is sent.
    pub fragments: usize,
    /// How long after one piece the next one is sent.
    pub fragment_pause: Duration,
    /// What is asked for.
    pub path: String,
}

impl Default for LoadShape {
    fn default() -> Self {
        Self {
            kind: LoadKind::Churn,
            depth: DEFAULT_DEPTH,
            bytes: DEFAULT_LARGE_BYTES,
            seed: 1,
            connections: 64,
            idle: 0,
            burst: None,
            burst_pause: Duration::ZERO,
            fragments: 1,
            fragment_pause: Duration::ZERO,
            path: "/".to_owned(),
        }
    }
}

impl LoadShape {
    /// What its connections are like.
    pub fn life(&self) -> Life {
        self.kind.life(self.depth, self.seed)
    }

    /// What the servers need for it.
    pub fn server_settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if self.life().is_persistent() {
            settings.push(("server.keep_alive", "true".to_owned()));
        }
        if self.kind == LoadKind::Large {
            settings.push(("server.response_file", String::new()));
            settings.push(("server.response_body_bytes", self.bytes.to_string()));
        }
        settings
    }

    /// The same in words, and as keys and values.
    pub fn description(&self) -> LoadDescription {
        let mut text = main_text(self);
        if self.idle > 0 {
            text += &format!(", {} idle beside it", self.idle);
        }
        if let Some(burst) = self.burst {
            let pause = milliseconds(self.burst_pause);
            text += &format!(", in bursts of {burst}, {pause} ms apart");
        }
        if self.fragments > 1 {
            let pause = milliseconds(self.fragment_pause);
            text += &format!(", requests in {} pieces, {pause} ms apart", self.fragments);
        }
        let parameter = |key: &str, value: String| Setting {
            key: key.to_owned(),
            value,
            origin: "load".to_owned(),
        };
        let mut parameters = vec![
            parameter("connections", self.connections.to_string()),
            parameter("idle", self.idle.to_string()),
            parameter("burst", self.burst.map_or_else(String::new, |it| it.to_string())),
            parameter("burst_pause_ms", milliseconds(self.burst_pause).to_string()),
            parameter("fragments", self.fragments.to_string()),
            parameter("path", self.path.clone()),
            parameter("fragment_pause_ms", milliseconds(self.fragment_pause).to_string()),
        ];
        match self.kind {
            LoadKind::Pipelined => parameters.push(parameter("depth", self.depth.to_string())),
            LoadKind::Large => parameters.push(parameter("bytes", self.bytes.to_string())),
            LoadKind::Mixed => parameters.push(parameter("seed", self.seed.to_string())),
            LoadKind::Churn | LoadKind::KeepAlive | LoadKind::Idle => {}
        }
        let set = |(key, value)| parameter(key, value);
        let server_settings = self.server_settings().into_iter().map(set).collect();
        LoadDescription { name: self.kind.name().to_owned(), text, parameters, server_settings }
    }
}

fn main_text(shape: &LoadShape) -> String {
    let LoadShape { connections, depth, bytes, .. } = shape;
    match shape.kind {
        LoadKind::Churn | LoadKind::Idle => {
            format!("one connection a request, {connections} at saturation")
        }
        LoadKind::KeepAlive => {
            format!("{connections} persistent connections, one request under way on each")
        }
        LoadKind::Pipelined => {
            format!("{connections} persistent connections, {depth} requests under way on each")
        }
        LoadKind::Large => {
            format!(
                "one connection a request, {connections} at saturation, bodies of {bytes} bytes"
            )
        }
        LoadKind::Mixed => format!(
            "mixed, {connections} connections: four of five carry one request, the fifth \
             {LONG_LIFE} one after the other"
        ),
    }
}

fn milliseconds(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
