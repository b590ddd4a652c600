//! The one table of keys: type, default, bounds, and the documentation that `config.toml`, `--help`
//! and rustdoc show.

use std::net::SocketAddr;
use std::sync::LazyLock;

use ringpoll_backends::{Technique, TechniqueValues, Techniques};
use serde::Deserialize;

use super::kind::DefaultValue::{self, Number, Switch, Text};
use super::kind::Kind;
use super::{BackendChoice, ProtocolChoice, ShutdownChoice};

/// A key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The full name: `server.listen`.
    pub name: &'static str,
    /// The type and bounds of its values.
    pub kind: Kind,
    /// The value if no layer sets it.
    pub default: DefaultValue,
    /// The technique that it sets, if it does.
    pub technique: Option<&'static Technique>,
    lines: &'static [&'static str],
}

impl Key {
    /// Returns its documentation as one line.
    pub fn description(&self) -> String {
        let is_experimental = self.technique.is_some_and(|it| it.is_experimental);
        let lines = is_experimental
            .then_some("Experimental.")
            .into_iter()
            .chain(self.lines.iter().map(|line| line.trim()));
        lines.collect::<Vec<_>>().join(" ")
    }

    fn of_technique(technique: &'static Technique) -> Self {
        let number = Number(technique.default.into());
        let (kind, default) = match technique.values {
            TechniqueValues::Switch => (Kind::Switch, Switch(technique.default > 0)),
            TechniqueValues::UpTo(max) => (Kind::Number { min: 0, max: max.into() }, number),
            TechniqueValues::PowerOfTwoUpTo(max) => {
                (Kind::PowerOfTwo { or_zero: true, max: max.into() }, number)
            }
        };
        let lines = technique.documentation;
        Self { name: technique.qualified_key, kind, default, technique: Some(technique), lines }
    }
}

macro_rules! settings {
    (
        $(#[doc = $line:literal])+
        $key:ident: $type:ty = $default:expr, $kind:expr;
        $(
            $(#[doc = $section_line:literal])+
            $section:ident: $section_type:ident {
                $(
                    $(#[doc = $inner_line:literal])+
                    $inner_key:ident: $inner_type:ty = $inner_default:expr, $inner_kind:expr;
                )+
                $(#[serde(skip)]
                $(#[doc = $skipped_line:literal])+
                $skipped:ident: $skipped_type:ty;)?
            }
        )+
    ) => {
        /// The keys that are not of techniques.
        const OTHER_KEYS: &[Key] = &[
            Key {
                name: stringify!($key),
                kind: $kind,
                default: $default,
                technique: None,
                lines: &[$($line),+],
            },
            $($(Key {
                name: concat!(stringify!($section), ".", stringify!($inner_key)),
                kind: $inner_kind,
                default: $inner_default,
                technique: None,
                lines: &[$($inner_line),+],
            },)+)+
        ];

        /// The values of all keys, typed.
        #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Config {
            $(#[doc = $line])+
            pub $key: $type,
            $($(#[doc = $section_line])+ pub $section: $section_type,)+
        }

        $(
            $(#[doc = $section_line])+
            #[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $section_type {
                $($(#[doc = $inner_line])+ pub $inner_key: $inner_type,)+
                $(#[serde(skip)] $(#[doc = $skipped_line])+ pub $skipped: $skipped_type,)?
            }
        )+
    };
}

/// Every key, in the order in which `config show` prints them. The techniques are the end of
/// `[io_uring]`, which is the last section.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let techniques = Techniques::ALL.iter().map(Key::of_technique);
    OTHER_KEYS.iter().copied().chain(techniques).collect()
});

const MIB: i64 = 1024 * 1024;
const MICROSECONDS: Kind = Kind::Number { min: 0, max: 1_000_000 };
const TIME_MS: Kind = Kind::Number { min: 0, max: u32::MAX as i64 };

settings! {
    /// The engine that serves. `auto` uses io_uring if the kernel allows it, otherwise epoll, and
    /// reports which; any other name is used or refused.
    backend: BackendChoice = Text("auto"), Kind::Backend;

    /// The listener, the response, and how connections are treated.
    server: ServerSettings {
        /// Address and port to listen on; port 0 lets the kernel choose a free port.
        listen: SocketAddr = Text("127.0.0.1:8080"), Kind::Address;
        /// The protocol: `http`, or one of the oldest test services of the Internet: `echo` sends
        /// every byte back (RFC 862), `discard` drops what it receives (RFC 863), `chargen`
        /// sends without end (RFC 864).
        protocol: ProtocolChoice = Text("http"), Kind::OneOf(ProtocolChoice::NAMES);
        /// Worker threads, each with its own listener (SO_REUSEPORT) and engine.
        workers: usize = Number(1), Kind::Number { min: 1, max: 1024 };
        /// Pins each worker to one of the CPUs that the process may use.
        pin_workers: bool = Switch(false), Kind::Switch;
        /// Name of the user to switch to when the server listens and its engines are set up; needs
        /// root. Empty: no switch.
        user: String = Text(""), Kind::Text;
        /// Connections that may wait to be accepted (listen(2)); the kernel caps it at
        /// net.core.somaxconn.
        backlog: u32 = Number(4096), Kind::Number { min: 1, max: i32::MAX as i64 };
        /// Length of the response body. 13 is `Hello, world!`; other lengths repeat it or cut it.
        response_body_bytes: usize = Number(13), Kind::Number { min: 0, max: 1024 * MIB };
        /// File whose content, read once at startup, is the response body. Empty:
        /// response_body_bytes applies.
        response_file: String = Text(""), Kind::Text;
        /// Keeps connections open between requests (HTTP/1.1, with pipelining). If false, each
        /// connection is closed after one response, whatever the request says.
        keep_alive: bool = Switch(false), Kind::Switch;
        /// keep_alive: requests per connection; the response to the last one has
        /// `Connection: close`. 0: no limit.
        requests_per_connection: u64 = Number(0), Kind::Number { min: 0, max: u32::MAX as i64 };
        /// Size of each connection's send buffer in the kernel (SO_SNDBUF). 0: the kernel chooses.
        send_buffer_bytes: u32 = Number(0), Kind::Number { min: 0, max: 1024 * MIB };
        /// Sends the FIN in the segment that has the end of the response (MSG_MORE), which saves
        /// two segments per connection.
        send_more: bool = Switch(true), Kind::Switch;
        /// Seconds for which the kernel waits for a connection's first bytes before it can be
        /// accepted (TCP_DEFER_ACCEPT). 0: no wait. A stop does not see connections that have sent
        /// nothing yet.
        defer_accept_s: u32 = Number(0), Kind::Number { min: 0, max: 3600 };
        /// Acknowledges the first bytes of a request at once, as the kernel does by default
        /// (TCP_QUICKACK). If false, the response carries the acknowledgement, which saves a
        /// segment; but a client that sends a request in pieces may have to wait for a delayed ACK
        /// before its next piece is sent.
        quick_ack: bool = Switch(true), Kind::Switch;
        /// Sends small segments at once, even if earlier ones are not acknowledged yet
        /// (TCP_NODELAY).
        no_delay: bool = Switch(true), Kind::Switch;
        /// Maximum number of bytes that one receive returns. 0: 1,024 for HTTP, and
        /// limits.read_budget_bytes for the other protocols, whose messages are longer.
        receive_buffer_bytes: usize = Number(0), Kind::Number { min: 0, max: 16 * MIB };
        /// Prints every request to standard output. Requests are dropped, and counted, if the
        /// reader is too slow.
        print_requests: bool = Switch(false), Kind::Switch;
        /// Prints control bytes and non-ASCII bytes as \xNN, except newlines. If false, only
        /// invalid UTF-8 is printed so.
        escape_prints: bool = Switch(true), Kind::Switch;
        /// Reads and discards what the peer still sends after the response, before the close.
        /// Otherwise a reset could destroy the response (RFC 9112, section 9.6).
        lingering_close: bool = Switch(true), Kind::Switch;
        /// Maximum number of bytes that a lingering close discards.
        lingering_close_bytes: usize = Number(65_536), Kind::Number { min: 1, max: 1024 * MIB };
        /// Time that a stop gives to the requests in progress.
        drain_timeout_ms: u64 = Number(10_000), TIME_MS;
    }

    /// Bounds on everything that can grow.
    limits: LimitSettings {
        /// Concurrent connections of all workers together. 0: 10,000, or what the limit of open
        /// files allows after 32 descriptors, and 4 for each further worker, are reserved.
        connections: usize = Number(0), Kind::Number { min: 0, max: 1 << 24 };
        /// Maximum length of a request head, including the empty line; a longer one gets status
        /// 431.
        request_head_bytes: usize = Number(8192), Kind::Number { min: 2, max: 16 * MIB };
        /// keep_alive: maximum length of a request body, which is discarded; a longer one gets
        /// status 413.
        request_body_bytes: u64 = Number(1_048_576), Kind::Number { min: 0, max: i64::MAX };
        /// Bytes of output that may wait on a connection before it is no longer received from.
        message_bytes: usize = Number(65_536), Kind::Number { min: 1, max: 1024 * MIB };
        /// Maximum number of bytes read from one connection before the others are served.
        read_budget_bytes: usize = Number(16_384), Kind::Number { min: 1, max: 16 * MIB };
        /// Maximum number of bytes printed per request; the rest is cut.
        print_line_bytes: usize = Number(16_384), Kind::Number { min: 64, max: 16 * MIB };
    }

    /// Deadlines of a connection; 0: none.
    deadlines: DeadlineSettings {
        /// From the first byte of a request to the end of its head.
        request_head_timeout_ms: u64 = Number(10_000), TIME_MS;
        /// Time in which the peer must receive some more of the response.
        send_timeout_ms: u64 = Number(30_000), TIME_MS;
        /// From the accept to the first byte of the request.
        idle_timeout_ms: u64 = Number(15_000), TIME_MS;
        /// lingering_close: from the end of the response to the peer's close.
        linger_timeout_ms: u64 = Number(2_000), TIME_MS;
        /// keep_alive: from a response to the first byte of the next request.
        keep_alive_timeout_ms: u64 = Number(15_000), TIME_MS;
        /// keep_alive: from the end of a request's head to the end of its body.
        request_body_timeout_ms: u64 = Number(30_000), TIME_MS;
        /// For the connection as a whole. With keep_alive its next response has
        /// `Connection: close`, and the connection then has the same time once more.
        connection_lifetime_ms: u64 = Number(300_000), TIME_MS;
    }

    /// Options of the epoll engines.
    epoll: EpollSettings {
        /// Maximum number of events that one epoll_wait returns.
        events_per_wait: usize = Number(1023), Kind::Number { min: 1, max: 65_536 };
        /// epoll:tuned: time to poll for events before the server sleeps, which keeps a CPU busy.
        /// 0: none.
        busy_poll_us: u32 = Number(0), MICROSECONDS;
        /// epoll:tuned: `call` ends the stream with shutdown(2); `close` leaves that to close(2),
        /// if it follows at once and all received data has been read.
        shutdown: ShutdownChoice = Text("call"), Kind::OneOf(&["call", "close"]);
    }

    /// Options of the io_uring engines.
    io_uring: IoUringSettings {
        /// Submission queue entries (SQEs); a power of two.
        submission_queue_entries: u32 = Number(256),
            Kind::PowerOfTwo { or_zero: false, max: 32_768 };
        /// Completion queue entries (CQEs); a power of two. 0: 2,048, or twice the submission queue
        /// entries, whichever is more.
        completion_queue_entries: u32 = Number(0),
            Kind::PowerOfTwo { or_zero: true, max: 65_536 };
        /// io_uring:tuned, like all options below: time to poll for completions before the server
        /// sleeps, which keeps a CPU busy. 0: none.
        busy_poll_us: u32 = Number(0), MICROSECONDS;
        /// `ring` ends the stream with IORING_OP_SHUTDOWN, which the kernel runs on a worker
        /// thread; `call` with shutdown(2); `close` leaves that to the close, if it follows at once
        /// and all received data has been read.
        shutdown: ShutdownChoice = Text("call"), Kind::OneOf(&["call", "ring", "close"]);
        #[serde(skip)]
        /// The techniques of io_uring:tuned, each of which is a key.
        techniques: Techniques;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Preset};

    #[test]
    fn defaults_have_their_kind_and_deserialize() {
        for key in KEYS.iter() {
            assert!(key.kind.accepts(&key.default.into()), "{}", key.name);
        }
        let config = toml::from_str::<Config>(&Layers::defaults().to_toml()).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.server.backlog, 4096);
        assert!(!config.server.print_requests);
    }

    #[test]
    fn presets_set_known_keys_to_valid_values() {
        Preset::Reference.apply(&mut Layers::defaults()).unwrap();
    }
}
