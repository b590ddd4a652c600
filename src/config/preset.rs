//! Named sets of values, above the defaults and below everything else.

use std::fmt;

use clap::ValueEnum;

use super::kind::DefaultValue::{Number, Switch, Text};
use super::{ConfigError, DefaultValue, Layers, Origin};

/// A set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// What the documents do: every address, backlog 1, requests printed as they are, no
    /// deadlines, a close at once.
    Documents,
}

impl Preset {
    /// The keys that it sets.
    pub const fn settings(self) -> &'static [(&'static str, DefaultValue)] {
        match self {
            Self::Documents => &[
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
                ("deadlines.request_head_timeout_ms", Number(0)),
                ("deadlines.send_timeout_ms", Number(0)),
                ("deadlines.idle_timeout_ms", Number(0)),
                ("deadlines.linger_timeout_ms", Number(0)),
                ("deadlines.life_timeout_ms", Number(0)),
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
            Self::Documents => formatter.write_str("documents"),
        }
    }
}
