//! Printing each request to standard output, as the documents do, without ever making the loop
//! wait for whoever reads it.

mod escape;
mod request_printer;
mod standard_output;

pub use escape::{Escaping, append};
pub use request_printer::RequestPrinter;
pub use standard_output::StandardOutput;
