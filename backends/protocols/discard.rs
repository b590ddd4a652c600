//! Discard (RFC 863): drops the bytes that it receives, and sends none.

use crate::output::Output;
use crate::protocol::{Next, Protocol};

/// Throws every byte away, until the peer ends its stream (RFC 863).
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Protocol for Discard {
    type Connection = ();

    fn on_open(&mut self, _output: &mut Output) {}

    fn on_recv(&mut self, (): &mut (), _bytes: &[u8], output: &mut Output) -> Next {
        output.count_request();
        Next::Recv
    }
}
