//! Reports of comparisons: the result model and its output formats.
//!
//! 1. [`result`]: the model. [`schema`]: its JSON Schema.
//! 2. [`read`]: reads untrusted result files.
//! 3. [`side_by_side`]: several results of the same comparison on different machines.
//! 4. [`html`] and [`markdown`]: pages. [`cells`] and [`labels`]: text of tables and pages.
//! 5. [`arguments`]: the `ringpoll report` command.

pub mod arguments;
pub mod cells;
pub mod html;
pub mod labels;
pub mod markdown;
pub mod read;
pub mod result;
pub mod schema;
pub mod side_by_side;

pub use arguments::{ReportArguments, run};
