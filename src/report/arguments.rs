//! `ringpoll report` on the command line.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::side_by_side::{self, Named, SideBySide};
use super::{html, read, schema};
use crate::compare::terminal;
use crate::console::show;
use crate::failure::Failure;

/// Shows results of `ringpoll compare --json` again; several of them side by side.
#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// The results; `-` is standard input. Several are put side by side if they answer the same
    /// question: the same arms, settings and loads, on other kernels or machines.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub files: Vec<PathBuf>,
    /// Write a page for a browser there instead of tables; it needs nothing but itself.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print the JSON Schema of results.
    #[arg(long, conflicts_with_all = ["files", "html"])]
    pub schema: bool,
}

/// Reads, and shows.
///
/// # Errors
/// When a file cannot be read or written, or when the results do not answer the same question.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    if arguments.schema {
        show(format!("{:#}\n", schema::schema()));
        return Ok(());
    }
    let read =
        |path: &PathBuf| Ok(Named { name: path.display().to_string(), result: read::read(path)? });
    let results: Vec<Named> = arguments.files.iter().map(read).collect::<Result<_, Failure>>()?;
    let side_by_side = SideBySide::new(&results)
        .map_err(|problem| Failure::Usage(format!("ringpoll report: {problem}")))?;
    let page = || match &results[..] {
        [only] => html::page(&only.result),
        _ => html::side_by_side_page(&side_by_side),
    };
    match (&arguments.html, &results[..]) {
        (Some(path), _) => write(path, &page())?,
        (None, [only]) => show(terminal::render(&only.result, terminal_width())),
        (None, _) => show(side_by_side::render(&side_by_side, terminal_width())),
    }
    Ok(())
}

/// Writes a page; `-` is standard output.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, page: &str) -> Result<(), Failure> {
    if path == Path::new("-") {
        show(page);
        return Ok(());
    }
    fs::write(path, page)
        .map_err(|error| Failure::Run(format!("ringpoll: {}: {error}", path.display())))
}

/// How wide tables may be: as the terminal, or as COLUMNS says; a file may be as wide as it is.
pub fn terminal_width() -> Option<u16> {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    size.map(|it| it.ws_col).filter(|&it| it > 0).or_else(columns)
}
