//! Text of one request: forty dashes, the request, a newline.

use std::sync::{Arc, Mutex, PoisonError};

use ringpoll_backends::RequestLog;

use super::{Escaping, StandardOutput, append};

const DASHES: [u8; 41] = *b"----------------------------------------\n";

/// Bytes at the end of a request that are not printed: the CR LF of the empty line. A newline is
/// printed after each request.
const OMITTED_BYTES: usize = 2;

/// Prints the requests of one worker.
#[derive(Debug)]
pub struct RequestPrinter {
    output: Arc<Mutex<StandardOutput>>,
    escaping: Escaping,
    max_bytes: usize,
    /// Starts with the dashes. It is allocated for the longest text.
    text: Vec<u8>,
}

impl RequestPrinter {
    /// Creates a printer of at most `max_bytes` per request. Workers may share `output`.
    pub fn new(output: Arc<Mutex<StandardOutput>>, escaping: Escaping, max_bytes: usize) -> Self {
        let mut text = Vec::with_capacity(StandardOutput::buffer_bytes(max_bytes));
        text.extend_from_slice(&DASHES);
        Self { output, escaping, max_bytes, text }
    }
}

impl RequestLog for RequestPrinter {
    fn request(&mut self, bytes: &[u8]) -> bool {
        self.text.truncate(DASHES.len());
        let printed = &bytes[..bytes.len().saturating_sub(OMITTED_BYTES)];
        append(&mut self.text, printed, self.escaping, self.max_bytes);
        // A worker that panicked while printing may only have truncated its text.
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.print(&self.text)
    }
}
