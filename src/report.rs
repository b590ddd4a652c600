//! Output formats of results, which are [`crate::result::ComparisonResult`]s.
//!
//! 1. [`read`]: reads untrusted result files. [`schema`]: their JSON Schema.
//! 2. [`terminal`]: tables. [`ladder_table`]: that of a ladder.
//! 3. [`side_by_side`]: several results of the same comparison on different machines.
//! 4. [`html`] and [`markdown`]: pages. [`cells`] and [`labels`]: text of tables and pages.
//! 5. [`hdr_log`]: the latencies of each round, for other tools.
//! 6. [`arguments`]: the `ringpoll report` command.

pub mod arguments;
pub mod cells;
pub mod hdr_log;
pub mod html;
pub mod labels;
pub mod ladder_table;
pub mod markdown;
pub mod read;
pub mod schema;
pub mod side_by_side;
pub mod terminal;

pub use arguments::{ReportArguments, run};
