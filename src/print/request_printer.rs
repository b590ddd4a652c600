//! The text of one request: forty dashes, the request, a newline.

use std::sync::{Arc, Mutex, PoisonError};

use ringpoll_backends::RequestLog;

use super::{Escaping, StandardOutput, append};

const DASHES: [u8; 41] = *b"----------------------------------------\n";

/// How many bytes of a request's end are left out: the newline that ends the last line stays out
/// with the empty line, since one is printed behind every request.
const LEFT_OUT_BYTES: usize = 2;

/// Prints the requests of one worker.
#[derive(Debug)]
pub struct RequestPrinter {
    output: Arc<Mutex<StandardOutput>>,
    escaping: Escaping,
    longest_bytes: usize,
    /// The dashes, and behind them room for the longest text.
    text: Vec<u8>,
}

impl RequestPrinter {
    /// Prints to `output`, which other workers may share; at most `longest_bytes` a request.
    pub fn new(
        output: Arc<Mutex<StandardOutput>>,
        escaping: Escaping,
        longest_bytes: usize,
    ) -> Self {
        let mut text = Vec::with_capacity(StandardOutput::room_bytes(longest_bytes));
        text.extend_from_slice(&DASHES);
        Self { output, escaping, longest_bytes, text }
    }
}

impl RequestLog for RequestPrinter {
    fn request(&mut self, bytes: &[u8]) -> bool {
        self.text.truncate(DASHES.len());
        let printed = &bytes[..bytes.len().saturating_sub(LEFT_OUT_BYTES)];
        append(&mut self.text, printed, self.escaping, self.longest_bytes);
        // A worker that panicked while printing has at worst left a text half out.
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.print(&self.text)
    }
}
