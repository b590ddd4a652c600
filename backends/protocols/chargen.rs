//! Character generator (RFC 864): sends without end.

use std::sync::Arc;

use crate::output::Output;
use crate::protocol::{Next, Protocol};

/// The printable characters of ASCII, from the space to the tilde.
const CHARACTERS: usize = 95;
const LINE_CHARACTERS: usize = 72;
/// With carriage return and line feed.
const LINE_BYTES: usize = LINE_CHARACTERS + 2;
/// Lines after which the pattern repeats.
const PERIOD_BYTES: usize = CHARACTERS * LINE_BYTES;

/// Sends lines of 72 printable characters, each shifted by one against the line before it, until
/// the peer closes (RFC 864). Since it always sends, it never receives: what the peer sends stays
/// in the socket, and a peer that ends only its own stream is still sent to.
#[derive(Clone, Debug)]
pub struct Chargen {
    /// The pattern several times, so that one send carries many lines.
    pattern: Arc<[u8]>,
}

/// Times that the pattern is stored: about 64 KiB.
const PERIODS: usize = 9;

impl Default for Chargen {
    fn default() -> Self {
        let line = |first: usize| {
            let characters = (first..first + LINE_CHARACTERS)
                .map(|character| b' ' + (character % CHARACTERS) as u8);
            characters.chain(*b"\r\n")
        };
        let pattern: Vec<u8> = (0..CHARACTERS).flat_map(line).collect();
        debug_assert_eq!(pattern.len(), PERIOD_BYTES);
        Self { pattern: pattern.repeat(PERIODS).into() }
    }
}

impl Protocol for Chargen {
    type Connection = ();

    fn on_open(&mut self, output: &mut Output) {
        let _ = self.on_sent(&mut (), output);
    }

    fn on_recv(&mut self, (): &mut (), _bytes: &[u8], _output: &mut Output) -> Next {
        Next::Recv
    }

    fn on_sent(&mut self, (): &mut (), output: &mut Output) -> Next {
        output.push_shared(&self.pattern, 0..self.pattern.len());
        output.end_message();
        Next::Send
    }

    fn on_stop(&mut self, (): &mut (), _output: &mut Output) -> Next {
        Next::Shutdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_is_that_of_the_rfc() {
        let mut output = Output::default();
        Chargen::default().on_open(&mut output);
        let text = String::from_utf8(output.to_vec()).unwrap();
        let lines: Vec<_> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), CHARACTERS * PERIODS);
        let first = r##" !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_`abcdefg"##;
        assert_eq!(lines[0], first);
        assert_eq!(lines[1][..71], first[1..]);
        assert_eq!(lines[1][71..], *"h");
        assert_eq!(lines[94], format!("~{}", &first[..71]));
        assert_eq!(lines[95], first);
    }
}
