//! Echo (RFC 862): sends every byte back.

use crate::output::Output;
use crate::protocol::{Next, Protocol};

/// Sends every byte back, and ends its stream after the peer has ended its own (RFC 862).
///
/// Each receive counts as a request, and the bytes sent back as its response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Protocol for Echo {
    type Connection = ();

    fn on_open(&mut self, _output: &mut Output) {}

    fn on_recv(&mut self, (): &mut (), bytes: &[u8], output: &mut Output) -> Next {
        output.count_request();
        output.push_copy(bytes);
        output.end_message();
        Next::Recv
    }
}
