//! Printing of requests to standard output, like the reference programs, without blocking the
//! event loop on a slow reader.

mod escape;
mod request_printer;
mod standard_output;

pub use escape::{Escaping, append};
pub use request_printer::RequestPrinter;
pub use standard_output::StandardOutput;
