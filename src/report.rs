//! How a comparison is told: the model of a result, and what is made from it.
//!
//! 1. [`result`]: the model. [`schema`]: the same for other programs.
//! 2. [`read`]: from a file, which anybody may have written, back into the model.
//! 3. [`side_by_side`]: several results, if they answer the same question.
//! 4. [`html`]: a page.
//! 5. [`arguments`]: `ringpoll report`.

pub mod arguments;
pub mod html;
pub mod read;
pub mod result;
pub mod schema;
pub mod side_by_side;
pub mod verdict_words;

pub use arguments::{ReportArguments, run};
