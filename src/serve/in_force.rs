//! The settings that have no effect, because of another setting or of this machine.

use ringpoll_backends::{Backend, BackendError, Technique, TechniqueValues, Variant, open};
use toml::Value;

use super::max_connections;
use super::worker_plan::{engine_options, receive_buffer_bytes};
use crate::config::{BackendChoice, Config, ProtocolChoice, Setting, ShutdownChoice, start_auto};

/// The server that [`serve`](super::serve) would start here.
pub struct InForce<'config> {
    config: &'config Config,
    engine: Variant,
    /// The techniques in force, or the reason why the kernel refuses the engine.
    techniques: Result<Vec<&'static str>, BackendError>,
}

impl<'config> InForce<'config> {
    /// Opens the engine once, to see which techniques the kernel supports.
    pub fn new(config: &'config Config) -> Self {
        let open = |variant: Variant| {
            open(variant, &engine_options(config, variant)).map(|engine| engine.techniques())
        };
        let (engine, techniques) = match config.backend {
            BackendChoice::Named(variant) => (variant, open(variant)),
            BackendChoice::Auto => match start_auto(open) {
                Ok(selected) => (selected.variant, Ok(selected.started)),
                Err(error) => (Variant::IoUringTuned, Err(error)),
            },
        };
        Self { config, engine, techniques }
    }

    /// Returns a note on a setting whose value is not what is in force here.
    pub fn note(&self, setting: &Setting) -> Option<String> {
        let config = self.config;
        match setting.key.name {
            "backend" => match (&self.techniques, config.backend) {
                (Err(error), _) => Some(format!("refused here: {error:#}").replace('\n', " ")),
                (Ok(_), BackendChoice::Auto) => Some(format!("here that is {}", self.engine)),
                (Ok(_), BackendChoice::Named(_)) => None,
            },
            "limits.connections" if config.limits.connections == 0 => {
                Some(format!("here that is {}", max_connections(config)))
            }
            "server.receive_buffer_bytes" if config.server.receive_buffer_bytes == 0 => {
                Some(format!("here that is {}", receive_buffer_bytes(config)))
            }
            name => self.cause(name, &setting.value).map(|cause| format!("not in force: {cause}")),
        }
    }

    /// Returns the reason why a key has no effect; `None` if it has one, or turns something off.
    fn cause(&self, key: &str, value: &Value) -> Option<String> {
        if *value == Value::from(false) || *value == Value::from(0) {
            return None;
        }
        let server = &self.config.server;
        let cause = match key {
            "server.response_body_bytes"
            | "server.response_file"
            | "server.keep_alive"
            | "server.requests_per_connection"
            | "limits.request_head_bytes"
            | "limits.request_body_bytes"
            | "deadlines.request_head_timeout_ms"
            | "deadlines.request_body_timeout_ms"
            | "deadlines.keep_alive_timeout_ms"
                if server.protocol != ProtocolChoice::Http =>
            {
                return Some(format!("server.protocol = \"{}\"", server.protocol.name()));
            }
            "server.requests_per_connection"
            | "limits.request_body_bytes"
            | "deadlines.keep_alive_timeout_ms"
            | "deadlines.request_body_timeout_ms"
                if !server.keep_alive =>
            {
                "server.keep_alive = false"
            }
            "server.lingering_close_bytes" | "deadlines.linger_timeout_ms"
                if !server.lingering_close =>
            {
                "server.lingering_close = false"
            }
            "server.escape_prints" | "limits.print_line_bytes" if !server.print_requests => {
                "server.print_requests = false"
            }
            "server.response_body_bytes" if !server.response_file.is_empty() => {
                "server.response_file is set"
            }
            _ => match key.split_once('.') {
                Some(("epoll" | "io_uring", _)) if !self.engine_uses(key) => {
                    return Some(match self.config.backend {
                        BackendChoice::Auto => {
                            format!("backend = \"auto\" is {} here", self.engine)
                        }
                        BackendChoice::Named(_) => format!("backend = \"{}\"", self.engine),
                    });
                }
                Some(("epoll" | "io_uring", "shutdown")) => self.shutdown_cause()?,
                Some(("io_uring", name)) => return self.technique_cause(name),
                _ => return None,
            },
        };
        Some(cause.to_owned())
    }

    fn engine_uses(&self, key: &str) -> bool {
        match key {
            "epoll.events_per_wait" => !self.engine.is_io_uring(),
            "io_uring.submission_queue_entries" | "io_uring.completion_queue_entries" => {
                self.engine.is_io_uring()
            }
            key if key.starts_with("epoll.") => self.engine == Variant::EpollTuned,
            _ => self.engine == Variant::IoUringTuned,
        }
    }

    /// Returns the reason why the engine ends the stream in another way than its key `shutdown`.
    fn shutdown_cause(&self) -> Option<&'static str> {
        let (io_uring, epoll) = (&self.config.io_uring, &self.config.epoll);
        let shutdown = if self.engine.is_io_uring() { io_uring.shutdown } else { epoll.shutdown };
        // The FIN must be sent before the connection lingers.
        let lingers = self.config.server.lingering_close;
        (lingers && shutdown == ShutdownChoice::Close).then_some("server.lingering_close = true")
    }

    /// Returns the reason why a technique that is on is not in force.
    fn technique_cause(&self, key: &str) -> Option<String> {
        let (technique, in_force) = (Technique::find(key)?, self.techniques.as_ref().ok()?);
        if in_force.contains(&key) {
            return None;
        }
        let techniques = &self.config.io_uring.techniques;
        let needed = technique.alone().names();
        let find = |key: &&str| Technique::find(key).filter(|it| it.value_in(techniques) == 0);
        if let Some(missing) = needed.iter().find_map(find) {
            let off = if missing.values == TechniqueValues::Switch { "false" } else { "0" };
            return Some(format!("{} = {off}", missing.qualified_key));
        }
        Some(match technique.yields_to.iter().find(|it| in_force.contains(it)) {
            Some(other) => format!("io_uring.{other} is in force instead"),
            None => "the kernel does not support it, or does not allow it here".to_owned(),
        })
    }
}
