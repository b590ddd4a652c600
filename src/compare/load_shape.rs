//! The parameters of a load, and their description.

use std::time::Duration;

use crate::load::{
    CloseBy, Direction, LONG_LIFETIME_REQUESTS, Lifetime, LoadKind, MessageText, RequestTemplate,
    Verify,
};
use crate::result::{LoadDescription, Setting};

/// The parameters of a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadShape {
    /// The kind of load.
    pub kind: LoadKind,
    /// Pipelined load, and the loads rr and stream: requests in flight on each connection.
    pub depth: usize,
    /// Messages of the loads rr, crr and stream: their length.
    pub message_bytes: usize,
    /// Direction of a stream.
    pub direction: Direction,
    /// Large load: length of the response body.
    pub bytes: u64,
    /// Mixed load: seed of the number of requests on each connection.
    pub seed: u64,
    /// Connections in flight in a closed loop; persistent connections in either loop.
    pub connections: usize,
    /// Idle connections in addition to the load.
    pub idle: usize,
    /// Connections opened at once; `None` without bursts.
    pub burst: Option<usize>,
    /// Closed loop: pause between the last response of a burst and the next burst.
    pub burst_pause: Duration,
    /// Pieces in which a request is sent.
    pub fragments: usize,
    /// Pause between two pieces of a request.
    pub fragment_pause: Duration,
    /// Text that is sent instead of such a message, with --load rr or crr.
    pub message: Option<MessageText>,
    /// The HTTP requests.
    pub requests: RequestTemplate,
    /// The parts of each HTTP response that are checked.
    pub verify: Verify,
    /// The side that closes connections of one HTTP request first.
    pub close: CloseBy,
}

impl LoadShape {
    /// Returns the number of requests on each connection.
    pub fn lifetime(&self) -> Lifetime {
        self.kind.lifetime(self.depth, self.seed)
    }

    /// Returns the text of the messages, if the load has one.
    pub fn text(&self) -> Option<&MessageText> {
        self.message.as_ref().filter(|_| matches!(self.kind, LoadKind::Rr | LoadKind::Crr))
    }

    /// Returns the configuration keys and values that the load requires of ringpoll servers.
    pub fn server_settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        if self.kind.has_messages() {
            let protocol = match (self.kind, self.direction) {
                (LoadKind::Stream, Direction::Send) => "discard",
                (LoadKind::Stream, Direction::Recv) => "chargen",
                _ => "echo",
            };
            return vec![("server.protocol", protocol.to_owned())];
        }
        if self.lifetime().is_persistent() {
            settings.push(("server.keep_alive", "true".to_owned()));
        }
        if self.kind == LoadKind::Large {
            settings.push(("server.response_file", String::new()));
            settings.push(("server.response_body_bytes", self.bytes.to_string()));
        }
        settings
    }

    /// Describes the load as text and as settings.
    pub fn description(&self) -> LoadDescription {
        let mut text = base_text(self);
        if self.idle > 0 {
            text += &format!(", {} more idle", self.idle);
        }
        if let Some(burst) = self.burst {
            let pause = milliseconds(self.burst_pause);
            text += &format!(", in bursts of {burst}, {pause} ms apart");
        }
        if self.fragments > 1 {
            let pause = milliseconds(self.fragment_pause);
            text += &format!(", requests in {} pieces, {pause} ms apart", self.fragments);
        }
        let requests = self.requests.text();
        if !requests.is_empty() && !self.kind.has_messages() {
            text += &format!(", {requests}");
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
        ];
        if self.kind.has_messages() {
            parameters.push(match self.text() {
                Some(text) => parameter("message", text.to_string()),
                None => parameter("message_bytes", self.message_bytes.to_string()),
            });
        } else {
            let pause = milliseconds(self.fragment_pause);
            parameters.push(parameter("fragments", self.fragments.to_string()));
            let requests = self.requests.parameters().into_iter();
            parameters.extend(requests.map(|(key, value)| parameter(key, value)));
            parameters.push(parameter("fragment_pause_ms", pause.to_string()));
        }
        match self.kind {
            LoadKind::Pipelined | LoadKind::Rr | LoadKind::Stream => {
                parameters.push(parameter("depth", self.depth.to_string()));
            }
            LoadKind::Large => parameters.push(parameter("bytes", self.bytes.to_string())),
            LoadKind::Mixed => parameters.push(parameter("seed", self.seed.to_string())),
            _ if self.requests.is_list() => {
                parameters.push(parameter("seed", self.seed.to_string()));
            }
            _ => {}
        }
        if self.kind == LoadKind::Stream {
            parameters.push(parameter("direction", self.direction.name().to_owned()));
        }
        let set = |(key, value)| parameter(key, value);
        let server_settings = self.server_settings().into_iter().map(set).collect();
        LoadDescription {
            name: self.kind.name().to_owned(),
            description: text,
            parameters,
            server_settings,
        }
    }
}

fn base_text(shape: &LoadShape) -> String {
    let LoadShape { connections, depth, bytes, message_bytes, .. } = shape;
    let messages = match shape.text() {
        Some(text) => format!("messages `{text}`"),
        None => format!("messages of {message_bytes} bytes"),
    };
    match shape.kind {
        LoadKind::Churn | LoadKind::Idle => {
            format!("one connection a request, {connections} at saturation")
        }
        LoadKind::Crr => {
            format!("one connection a message, {connections} at saturation, {messages}")
        }
        LoadKind::Rr => {
            format!("{connections} persistent connections, {depth} in flight on each, {messages}")
        }
        LoadKind::Stream => {
            let direction = match shape.direction {
                Direction::Send => "to the server",
                Direction::Recv => "from the server",
                Direction::Both => "to the server and back",
            };
            format!(
                "{connections} persistent connections with a stream {direction} on each, {depth} \
                 messages of {message_bytes} bytes in flight"
            )
        }
        LoadKind::KeepAlive => {
            format!("{connections} persistent connections, one request in flight on each")
        }
        LoadKind::Pipelined => {
            format!("{connections} persistent connections, {depth} requests in flight on each")
        }
        LoadKind::Large => {
            format!(
                "one connection a request, {connections} at saturation, bodies of {bytes} bytes"
            )
        }
        LoadKind::Mixed => format!(
            "mixed, {connections} connections: four of five carry one request, the fifth carries \
             {LONG_LIFETIME_REQUESTS} in sequence"
        ),
    }
}

fn milliseconds(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
