//! The `ringpoll report` command.

use std::path::PathBuf;

use clap::Args;

use super::side_by_side::{self, Named, SideBySide};
use super::{hdr_log, html, markdown, read, schema, terminal};
use crate::console::{print_text, terminal_width};
use crate::failure::Failure;
use crate::output_file::OutputFile;

/// Shows results of `ringpoll compare --json`. Several results are shown side by side, except in
/// Markdown.
#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// Result files; `-` is standard input. Results side by side must have the same arms, settings
    /// and loads. They may be from different kernels or machines.
    #[arg(value_name = "FILE", required_unless_present = "schema")]
    pub files: Vec<PathBuf>,
    /// Write a self-contained HTML page to FILE instead of printing tables; `-` is standard
    /// output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Write a Markdown page to FILE, with a section for each result, instead of printing tables;
    /// `-` is standard output. The results may be of different comparisons.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write a single result to FILE without raw rounds and histograms, small enough to keep in a
    /// repository; `-` is standard output, and FILE may be the result file itself. Only plots and
    /// new analyses need what is removed.
    #[arg(long, value_name = "FILE")]
    pub compact: Option<PathBuf>,
    /// Write the latencies of each round of a single result to FILE as a log of HdrHistogram, with
    /// the arm and the load level in the tag, instead of printing tables; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub hdr_log: Option<PathBuf>,
    /// Print the JSON Schema of result files.
    #[arg(long, conflicts_with_all = ["files", "html", "markdown", "compact", "hdr_log"])]
    pub schema: bool,
}

/// Runs the command.
///
/// # Errors
/// Returns a failure if a file cannot be read or written, or if the results are not comparable.
pub fn run(arguments: &ReportArguments) -> Result<(), Failure> {
    if arguments.schema {
        return print_text(format!("{:#}\n", schema::schema()));
    }
    let of_one = [("--compact", &arguments.compact), ("--hdr-log", &arguments.hdr_log)];
    if let Some((flag, _)) = of_one.iter().find(|(_, path)| path.is_some())
        && arguments.files.len() > 1
    {
        return Err(usage(format!("{flag} can only be used with a single result.")));
    }
    let html = OutputFile::open_optional("--html", arguments.html.as_ref())?;
    let markdown = OutputFile::open_optional("--markdown", arguments.markdown.as_ref())?;
    let compact = OutputFile::open_optional("--compact", arguments.compact.as_ref())?;
    let hdr_log = OutputFile::open_optional("--hdr-log", arguments.hdr_log.as_ref())?;
    OutputFile::check_distinct(&[&html, &markdown, &compact, &hdr_log])?;
    for page in [&html, &markdown, &hdr_log].into_iter().flatten() {
        page.check_no_input(&arguments.files)?;
    }
    let read =
        |path: &PathBuf| Ok(Named { name: path.display().to_string(), result: read::read(path)? });
    let mut results: Vec<Named> =
        arguments.files.iter().map(read).collect::<Result<_, Failure>>()?;
    if html.is_some() || (markdown.is_none() && compact.is_none() && hdr_log.is_none()) {
        show(html, &results)?;
    }
    if let (Some(file), [only]) = (hdr_log, &results[..]) {
        if only.result.experiments.iter().all(|it| it.rounds.is_empty()) {
            return Err(usage(format!(
                "--hdr-log: {} has no rounds. Use the result before --compact.",
                only.name
            )));
        }
        file.write_or_rescue(&hdr_log::log(&only.result))?;
    }
    if let Some(file) = markdown {
        file.write_or_rescue(&markdown::page(&results))?;
    }
    if let (Some(file), [only]) = (compact, &mut results[..]) {
        only.result.remove_rounds();
        file.write_or_rescue(&format!("{}\n", serde_json::json!(only.result)))?;
    }
    Ok(())
}

/// Writes the HTML page, or prints the tables.
fn show(html: Option<OutputFile>, results: &[Named]) -> Result<(), Failure> {
    let side_by_side = SideBySide::new(results).map_err(usage)?;
    let page = || match results {
        [only] => html::page(&only.result),
        _ => html::side_by_side_page(&side_by_side),
    };
    match (html, results) {
        (Some(file), _) => file.write_or_rescue(&page()),
        (None, [only]) => print_text(terminal::render(&only.result, terminal_width())),
        (None, _) => print_text(side_by_side::render(&side_by_side, terminal_width())),
    }
}

fn usage(problem: String) -> Failure {
    Failure::Usage(format!("ringpoll report: {problem}"))
}
