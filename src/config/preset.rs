//! Named sets of values, which override only the defaults.

use std::fmt;

use clap::ValueEnum;

use super::kind::DefaultValue::{Number, Switch, Text};
use super::{ConfigError, DefaultValue, Layers, Origin};

/// A set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The behaviour of the reference programs: all addresses, backlog 1, requests printed
    /// unescaped, no deadlines, no lingering close.
    Reference,
}

impl Preset {
    /// Returns the keys that it sets, with their values.
    pub const fn settings(self) -> &'static [(&'static str, DefaultValue)] {
        match self {
            Self::Reference => &[
                ("backend", Text("epoll:level")),
                ("server.listen", Text("0.0.0.0:8080")),
                ("server.backlog", Number(1)),
                ("server.print_requests", Switch(true)),
                ("server.escape_prints", Switch(false)),
                ("server.keep_alive", Switch(false)),
                ("server.lingering_close", Switch(false)),
                ("server.send_more", Switch(false)),
                ("server.defer_accept_s", Number(0)),
                ("server.quick_ack", Switch(true)),
                ("server.no_delay", Switch(false)),
                ("server.receive_buffer_bytes", Number(1024)),
                ("deadlines.request_head_timeout_ms", Number(0)),
                ("deadlines.send_timeout_ms", Number(0)),
                ("deadlines.idle_timeout_ms", Number(0)),
                ("deadlines.linger_timeout_ms", Number(0)),
                ("deadlines.connection_lifetime_ms", Number(0)),
            ],
        }
    }

    pub(super) fn apply(self, layers: &mut Layers) -> Result<(), ConfigError> {
        for &(key, value) in self.settings() {
            layers.set(&Origin::Preset(self), key, value.into())?;
        }
        Ok(())
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference => formatter.write_str("reference"),
        }
    }
}
