//! What is asked for: on the command line, or by `RINGPOLL_KERNELS` where nothing can be said
//! there, as in a plain `cargo test`.

use std::env;

use clap::Parser;

/// What a run does. Everything takes minutes, so nothing is done unasked.
#[derive(Debug, Parser)]
#[command(
    name = "kernels",
    about = "Boots the project's programs under the kernels of kernels.toml"
)]
pub(crate) struct Arguments {
    /// The kernels of every run: the oldest, a middle one and the newest.
    #[arg(long)]
    pub(crate) bounded: bool,
    /// All kernels but the optional ones, and longer suites.
    #[arg(long)]
    pub(crate) all: bool,
    /// This kernel; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Vec<String>,
    /// Only the matrix: suites and observations.
    #[arg(long, conflicts_with = "path_length")]
    pub(crate) matrix: bool,
    /// Of the matrix only what the program finds and says in each situation, without the suites.
    #[arg(long, requires = "matrix")]
    pub(crate) without_suites: bool,
    /// Only the instructions a request.
    #[arg(long)]
    pub(crate) path_length: bool,
    /// The instructions a request with and without each technique of io_uring:tuned, under Linux
    /// 6.1 and the newest, or the kernels that are named. It is held to no baseline.
    #[arg(long, requires = "path_length", conflicts_with_all = ["bounded", "all", "write_baseline"])]
    pub(crate) techniques: bool,
    /// Only a comparison of all variants under each kernel, by counted instructions, side by side.
    #[arg(long, conflicts_with_all = ["matrix", "path_length"])]
    pub(crate) compare: bool,
    /// Boot each kernel so many times for the instructions a request [default: 2, and 1 for
    /// --techniques].
    #[arg(long, value_name = "N")]
    pub(crate) boots: Option<usize>,
    /// Make what was measured the baseline.
    #[arg(long, requires = "path_length", requires = "reason")]
    pub(crate) write_baseline: bool,
    /// Why the baseline changes, in a sentence.
    #[arg(long, value_name = "SENTENCE")]
    pub(crate) reason: Option<String>,

    /// Inside a guest: do what the host has asked for.
    #[arg(long, hide = true)]
    pub(crate) inside_guest: bool,
    /// What cargo and those who call it hand to every test program.
    #[arg(long, hide = true)]
    pub(crate) list: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    pub(crate) ignored: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    format: Option<String>,
    #[arg(long, hide = true)]
    color: Option<String>,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(hide = true)]
    pub(crate) filters: Vec<String>,
}

impl Arguments {
    /// Those of this process, with what the environment adds.
    pub(crate) fn get() -> Self {
        let mut arguments = Self::parse();
        match env::var("RINGPOLL_KERNELS").as_deref() {
            Ok("bounded") => arguments.bounded = true,
            Ok("all") => arguments.all = true,
            _ => {}
        }
        // Where everything has to be tested, the bounded form belongs to it.
        arguments.bounded |= env::var("CI").as_deref() == Ok("true");
        arguments
    }

    /// Whether guests are to be booted at all.
    pub(crate) fn boots_anything(&self) -> bool {
        let is_named = self.filters.is_empty() || self.filters.iter().any(|it| it == "kernels");
        let is_asked = self.bounded
            || self.all
            || self.matrix
            || self.path_length
            || self.compare
            || !self.kernel.is_empty();
        is_asked && is_named && !self.list && !self.ignored
    }
}
