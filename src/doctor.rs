//! `ringpoll doctor`: probes what this kernel, user and sandbox allow, and what the server would
//! use of it.
//!
//! 1. [`diagnosis`]: the data model, printed by `--json`. [`schema`]: its JSON Schema.
//! 2. [`examine`]: fills the model. [`obstruction`]: the reason why io_uring is unavailable;
//!    [`kernel_build`]: the build options of the kernel.
//! 3. [`kernel_faults`], [`techniques`]: known kernel faults, and the techniques in force.
//! 4. [`table`]: output for a terminal. [`seccomp`]: the profile that allows io_uring.

pub mod diagnosis;
pub mod examine;
pub mod kernel_build;
pub mod kernel_faults;
pub mod obstruction;
pub mod schema;
pub mod seccomp;
pub mod table;
pub mod techniques;

use clap::Args;

use crate::console::{print_text, terminal_width};
use crate::failure::Failure;

/// Exit codes, as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  io_uring can be used
  1  the examination failed, or its report could not be written
  3  io_uring cannot be used; the report shows the cause and a remedy";

/// Output format.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Print the diagnosis as one JSON object.
    #[arg(long, conflicts_with_all = ["schema", "seccomp_profile"])]
    json: bool,
    /// Print the JSON Schema of --json and exit.
    #[arg(long, conflicts_with = "seccomp_profile")]
    schema: bool,
    /// Print a seccomp profile entry that allows io_uring and exit.
    #[arg(long)]
    seccomp_profile: bool,
}

/// Examines the system, prints the report, and returns the exit code: 0, or 3 if io_uring cannot be
/// used.
///
/// # Errors
/// If the report cannot be written.
pub fn doctor(arguments: &DoctorArguments) -> Result<u8, Failure> {
    if arguments.schema {
        return print_text(format!("{:#}\n", schema::schema())).map(|()| 0);
    }
    if arguments.seccomp_profile {
        return print_text(format!("{:#}\n", seccomp::profile())).map(|()| 0);
    }
    let diagnosis = examine::examine();
    if arguments.json {
        let json = serde_json::to_string_pretty(&diagnosis)
            .map_err(|error| Failure::Run(format!("ringpoll: {error}")))?;
        print_text(json + "\n")?;
    } else {
        print_text(table::render(&diagnosis, terminal_width()))?;
    }
    Ok(if diagnosis.io_uring_usable { 0 } else { 3 })
}
