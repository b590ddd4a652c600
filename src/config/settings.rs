//! The one table of keys. What stands here is the type that the program uses, the default, the
//! bounds, and the line that `config.toml`, `--help` and this documentation say about it.

use std::net::SocketAddr;

use ringpoll_backends::Techniques;
use serde::Deserialize;

use super::kind::DefaultValue::{self, Number, Switch, Text};
use super::kind::Kind;
use super::{BackendChoice, ShutdownChoice};

/// A key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// The full name: `server.listen`.
    pub name: &'static str,
    /// What it can hold.
    pub kind: Kind,
    /// What it holds when nobody sets it.
    pub default: DefaultValue,
    lines: &'static [&'static str],
}

impl Key {
    /// What it is for, in a sentence or two.
    pub fn meaning(&self) -> String {
        self.lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
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
            }
        )+
    ) => {
        /// Every key, in the order in which they are shown.
        pub const KEYS: &[Key] = &[
            Key {
                name: stringify!($key),
                kind: $kind,
                default: $default,
                lines: &[$($line),+],
            },
            $($(Key {
                name: concat!(stringify!($section), ".", stringify!($inner_key)),
                kind: $inner_kind,
                default: $inner_default,
                lines: &[$($inner_line),+],
            },)+)+
        ];

        /// The values in force, typed.
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
            }
        )+
    };
}

const MIB: i64 = 1024 * 1024;
const MICROSECONDS: Kind = Kind::Number { least: 0, most: 1_000_000 };
/// The techniques of io_uring:tuned that measured best.
const DEFAULT: Techniques = Techniques::BEST;
const TIME_MS: Kind = Kind::Number { least: 0, most: u32::MAX as i64 };

settings! {
    /// The engine that serves. `auto` takes io_uring where the kernel allows it, otherwise epoll,
    /// and says so; any other word is that engine or an error.
    backend: BackendChoice = Text("auto"), Kind::Backend;

    /// Where connections come from, and what becomes of them.
    server: ServerSettings {
        /// Address and port to listen on; port 0 lets the kernel choose one.
        listen: SocketAddr = Text("127.0.0.1:8080"), Kind::Address;
        /// Threads, each with a listener and an engine of its own.
        workers: usize = Number(1), Kind::Number { least: 1, most: 1024 };
        /// Whether each worker stays on one processor of those that the process may use.
        pin_workers: bool = Switch(false), Kind::Switch;
        /// The user, by name, that a server started by root becomes once it listens and has its
        /// engines; empty stays who it is.
        user: String = Text(""), Kind::Text;
        /// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.
        backlog: u32 = Number(4096), Kind::Number { least: 1, most: i32::MAX as i64 };
        /// Length of the body of every response. 13 is `Hello, world!`; any other length repeats
        /// or cuts it.
        response_body_bytes: usize = Number(13), Kind::Number { least: 0, most: 1024 * MIB };
        /// The file, read at startup, that is the body of every response; empty takes
        /// response_body_bytes.
        response_file: String = Text(""), Kind::Text;
        /// Whether connections persist: HTTP/1.1, with one request behind the other. If not, each
        /// is closed behind its answer, whatever was asked.
        keep_alive: bool = Switch(false), Kind::Switch;
        /// keep_alive: the answer to the last of so many requests on a connection says that
        /// nothing follows; 0 is no limit.
        requests_per_connection: u64 = Number(0), Kind::Number { least: 0, most: u32::MAX as i64 };
        /// The kernel's send buffer of each connection; 0 leaves it to the kernel.
        send_buffer_bytes: u32 = Number(0), Kind::Number { least: 0, most: 1024 * MIB };
        /// Whether the end of the stream leaves in the segment of the answer's last bytes
        /// (MSG_MORE), which saves two segments of ten.
        send_more: bool = Switch(true), Kind::Switch;
        /// For how many seconds a connection may keep silent before it is there to be accepted
        /// (TCP_DEFER_ACCEPT); 0 does not wait for its first bytes. A stop does not know of those
        /// who are still silent.
        defer_accept_s: u32 = Number(0), Kind::Number { least: 0, most: 3600 };
        /// Whether the first bytes of a request are acknowledged before they are answered, as is
        /// the kernel's habit (TCP_QUICKACK). If not, the answer acknowledges them. That saves a
        /// segment, but no time: over loopback it costs the server some 3 %. And whoever sends a
        /// request in pieces may wait up to 40 ms for the next to leave.
        quick_ack: bool = Switch(true), Kind::Switch;
        /// Whether small answers leave at once, also when earlier ones have not been acknowledged
        /// (TCP_NODELAY).
        no_delay: bool = Switch(true), Kind::Switch;
        /// The most that one receive can bring.
        receive_buffer_bytes: usize = Number(1024), Kind::Number { least: 1, most: 16 * MIB };
        /// Whether every request is printed to standard output. What nobody reads in time is
        /// dropped and counted.
        print_requests: bool = Switch(false), Kind::Switch;
        /// Whether printed control bytes and bytes beyond ASCII are written as \xNN, newlines
        /// excepted; if not, only what is not valid UTF-8 is.
        escape_prints: bool = Switch(true), Kind::Switch;
        /// Whether what the peer still sends after its answer is read and thrown away before the
        /// connection is closed, so that no reset can destroy the answer.
        lingering_close: bool = Switch(true), Kind::Switch;
        /// The most that is thrown away in a lingering close.
        lingering_close_bytes: usize = Number(65_536), Kind::Number { least: 1, most: 1024 * MIB };
        /// How long a stop waits for those who are being served.
        drain_timeout_ms: u64 = Number(10_000), TIME_MS;
    }

    /// Bounds on everything that could grow.
    limits: LimitSettings {
        /// Connections at the same time, of all workers together. 0 is 10,000, or as many as the
        /// limit of descriptors has room for when 32, and 4 for each further worker, are kept.
        connections: usize = Number(0), Kind::Number { least: 0, most: 1 << 24 };
        /// The longest request head, its end included; a longer one is answered with 431.
        request_head_bytes: usize = Number(8192), Kind::Number { least: 2, most: 16 * MIB };
        /// keep_alive: the longest body of a request, which is skipped; a longer one is answered
        /// with 413.
        request_body_bytes: u64 = Number(1_048_576), Kind::Number { least: 0, most: i64::MAX };
        /// The most that is taken from one connection before the others have their turn.
        turn_bytes: usize = Number(16_384), Kind::Number { least: 1, most: 16 * MIB };
        /// The longest text that is printed of one request; a longer one is cut.
        print_line_bytes: usize = Number(16_384), Kind::Number { least: 64, most: 16 * MIB };
    }

    /// How long a connection may take; 0 is for ever.
    deadlines: DeadlineSettings {
        /// From the first byte of a request to the end of its head.
        request_head_timeout_ms: u64 = Number(10_000), TIME_MS;
        /// For the peer to take some of its answer.
        send_timeout_ms: u64 = Number(30_000), TIME_MS;
        /// For the first byte of a request.
        idle_timeout_ms: u64 = Number(15_000), TIME_MS;
        /// For the peer to close, once it has been told that nothing follows.
        linger_timeout_ms: u64 = Number(2_000), TIME_MS;
        /// keep_alive: for the first byte of another request.
        keep_alive_timeout_ms: u64 = Number(15_000), TIME_MS;
        /// keep_alive: from the end of a request's head to that of its body.
        request_body_timeout_ms: u64 = Number(30_000), TIME_MS;
        /// For all of it together. A connection that persists is told with its next answer that
        /// nothing follows, and has the same time once more.
        life_timeout_ms: u64 = Number(300_000), TIME_MS;
    }

    /// What only the epoll engines use.
    epoll: EpollSettings {
        /// The most events that one wait can bring.
        events_per_wait: usize = Number(1023), Kind::Number { least: 1, most: 65_536 };
        /// epoll:tuned: for how long it looks again and again before it sleeps, which burns the
        /// processor; 0 is not at all.
        busy_poll_us: u32 = Number(0), MICROSECONDS;
        /// epoll:tuned: who tells the peer that nothing follows: `call` is shutdown(2); `close`
        /// leaves it to the close, where that follows at once and all has been read.
        shutdown: ShutdownChoice = Text("call"), Kind::OneOf(&["call", "close"]);
    }

    /// What only the io_uring engines use.
    io_uring: IoUringSettings {
        /// Room for submissions; a power of two.
        submission_queue_entries: u32 = Number(256),
            Kind::PowerOfTwo { or_zero: false, most: 32_768 };
        /// Room for completions; a power of two, or 0 for 2,048 or twice the submissions, whichever
        /// is more.
        completion_queue_entries: u32 = Number(0),
            Kind::PowerOfTwo { or_zero: true, most: 65_536 };
        /// io_uring:tuned, as all that follows: completions are made when the server waits for
        /// them, and at no other time.
        deferred_task_run: bool = Switch(DEFAULT.deferred_task_run), Kind::Switch;
        /// Completions do not interrupt the server; where the kernel has no deferred_task_run.
        cooperative_task_run: bool = Switch(DEFAULT.cooperative_task_run), Kind::Switch;
        /// One ACCEPT brings all connections, as long as there is plenty of room.
        multishot_accept: bool = Switch(DEFAULT.multishot_accept), Kind::Switch;
        /// One RECV brings all that comes on a connection that is received from more than once;
        /// it needs provided_buffers.
        multishot_receive: bool = Switch(DEFAULT.multishot_receive), Kind::Switch;
        /// Receive buffers that all connections share; a power of two, or 0 for one each.
        provided_buffers: u16 = Number(DEFAULT.provided_buffers as i64),
            Kind::PowerOfTwo { or_zero: true, most: 32_768 };
        /// One receive may fill several provided buffers.
        bundles: bool = Switch(DEFAULT.bundles), Kind::Switch;
        /// Connections are entries of the ring's own table and no descriptors.
        direct_descriptors: bool = Switch(DEFAULT.direct_descriptors), Kind::Switch;
        /// What is part of a chain says nothing when it succeeds.
        skip_success: bool = Switch(DEFAULT.skip_success), Kind::Switch;
        /// What follows the answer is submitted with it, where the ring or the close tells the
        /// peer that nothing follows.
        linked_close: bool = Switch(DEFAULT.linked_close), Kind::Switch;
        /// The ring is named by an index and not looked up as a descriptor.
        registered_ring: bool = Switch(DEFAULT.registered_ring), Kind::Switch;
        /// The submission queue has no second array of indices.
        no_submission_queue_array: bool = Switch(DEFAULT.no_submission_queue_array), Kind::Switch;
        /// How long a wait goes on for more completions; 0 ends it with the first.
        minimum_wait_us: u32 = Number(DEFAULT.minimum_wait_us as i64), MICROSECONDS;
        /// From how many bytes on an answer is sent from where it stands; 0 is never.
        zero_copy_send_bytes: usize = Number(DEFAULT.zero_copy_send_bytes as i64),
            Kind::Number { least: 0, most: 1024 * MIB };
        /// A kernel thread looks for submissions, and burns a processor.
        submission_queue_polling: bool = Switch(DEFAULT.submission_queue_polling), Kind::Switch;
        /// For how long it looks again and again before it sleeps, which burns the processor; 0 is
        /// not at all.
        busy_poll_us: u32 = Number(0), MICROSECONDS;
        /// Who tells the peer that nothing follows: `ring` is IORING_OP_SHUTDOWN, which costs a
        /// worker thread; `call` is shutdown(2); `close` leaves it to the close, where that
        /// follows at once and all has been read.
        shutdown: ShutdownChoice = Text("call"), Kind::OneOf(&["ring", "call", "close"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Layers, Preset};

    #[test]
    fn defaults_are_of_their_kind_and_make_a_configuration() {
        for key in KEYS {
            assert!(key.kind.accepts(&key.default.into()), "{}", key.name);
        }
        let config = Config::deserialize(Layers::of_defaults().to_table()).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.server.backlog, 4096);
        assert!(!config.server.print_requests);
    }

    #[test]
    fn presets_set_known_keys_to_possible_values() {
        Preset::Documents.apply(&mut Layers::of_defaults()).unwrap();
    }
}
