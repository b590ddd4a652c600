//! What this kernel, this user and this sandbox allow, found by doing it, and what follows for the
//! server.
//!
//! 1. [`diagnosis`]: the model, which is also what `--json` prints. [`schema`]: the same for other
//!    programs.
//! 2. [`examine`]: how it is found. [`obstruction`]: why io_uring cannot be had.
//! 3. [`kernel_faults`], [`techniques`]: what follows from it.
//! 4. [`table`]: for a terminal. [`seccomp`]: the profile that is missing.

pub mod diagnosis;
pub mod examine;
pub mod kernel_faults;
pub mod obstruction;
pub mod schema;
pub mod seccomp;
pub mod table;
pub mod techniques;

use clap::Args;

use crate::console::show;
use crate::failure::Failure;
use crate::report::arguments::terminal_width;

/// What the program ends with.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  io_uring can be used
  1  it could not be found out
  3  io_uring cannot be used; the report says why, and what can be done";

/// How it is told.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print one JSON object.
    #[arg(long, conflicts_with_all = ["schema", "seccomp_profile"])]
    json: bool,
    /// Print the JSON Schema of --json, and examine nothing.
    #[arg(long, conflicts_with = "seccomp_profile")]
    schema: bool,
    /// Print what a seccomp profile has to allow for io_uring, and examine nothing.
    #[arg(long)]
    seccomp_profile: bool,
}

/// Examines, reports on standard output, and returns the exit code: 0, or 3 where io_uring cannot
/// be used.
///
/// # Errors
/// Where what was found cannot be written as JSON.
pub fn doctor(arguments: &DoctorArguments) -> Result<u8, Failure> {
    if arguments.schema {
        show(format!("{:#}\n", schema::schema()));
        return Ok(0);
    }
    if arguments.seccomp_profile {
        show(format!("{:#}\n", seccomp::profile()));
        return Ok(0);
    }
    let diagnosis = examine::examine();
    if arguments.json {
        let json = serde_json::to_string_pretty(&diagnosis)
            .map_err(|error| Failure::Run(format!("ringpoll: {error}")))?;
        show(json + "\n");
    } else {
        show(table::render(&diagnosis, terminal_width()));
    }
    Ok(if diagnosis.io_uring_usable { 0 } else { 3 })
}
