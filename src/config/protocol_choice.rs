//! The protocol that the server speaks.

use serde::Deserialize;

/// The value of the key `server.protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolChoice {
    /// HTTP/1.0 or, with `server.keep_alive`, HTTP/1.1.
    Http,
    /// RFC 862.
    Echo,
    /// RFC 863.
    Discard,
    /// RFC 864.
    Chargen,
}

impl ProtocolChoice {
    /// The names of all protocols.
    pub const NAMES: &[&str] = &["http", "echo", "discard", "chargen"];

    /// Returns the name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}
