//! The command line of the suite, and `RINGPOLL_TESTS` for a plain `cargo test`.

use clap::Parser;

/// Arguments of a run. Each part takes minutes, so none runs by default.
#[derive(Debug, Parser)]
#[command(
    name = "kernels",
    about = "Boots the kernels of kernels.toml and runs ringpoll and its tests on them"
)]
pub(crate) struct Arguments {
    /// Boot the oldest, a middle and the newest kernel.
    #[arg(long)]
    pub(crate) bounded: bool,
    /// Boot all kernels except the optional ones, and run longer suites.
    #[arg(long)]
    pub(crate) all: bool,
    /// Boot this kernel; can be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) kernel: Vec<String>,
    /// Run only the matrix: suites and observations.
    #[arg(long, conflicts_with = "path_length")]
    pub(crate) matrix: bool,
    /// Run only the observations of the matrix, without the suites.
    #[arg(long, requires = "matrix")]
    pub(crate) without_suites: bool,
    /// Measure only the path length.
    #[arg(long)]
    pub(crate) path_length: bool,
    /// Measure the path length with and without each technique of io_uring:tuned, by default on
    /// Linux 6.1 and the newest kernel. There is no baseline for it.
    #[arg(long, requires = "path_length", conflicts_with_all = ["bounded", "all", "write_baseline"])]
    pub(crate) techniques: bool,
    /// Run only a comparison of all variants on each kernel, by counted instructions.
    #[arg(long, conflicts_with_all = ["matrix", "path_length"])]
    pub(crate) compare: bool,
    /// Boots of each kernel for the path length [default: 2, and 1 with --techniques].
    #[arg(long, value_name = "N")]
    pub(crate) boots: Option<usize>,
    /// Replace the baseline with the measured path lengths.
    #[arg(long, requires = "path_length", requires = "reason")]
    pub(crate) write_baseline: bool,
    /// Why the baseline changes, in a sentence.
    #[arg(long, value_name = "SENTENCE")]
    pub(crate) reason: Option<String>,

    /// Inside a guest: execute /work.json.
    #[arg(long, hide = true)]
    pub(crate) inside_guest: bool,
    /// Options that cargo and its callers pass to every test program.
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
    /// Returns the arguments of this process. `RINGPOLL_TESTS=full` implies `--bounded`.
    pub(crate) fn get() -> Self {
        let mut arguments = Self::parse();
        arguments.bounded |= common::is_full();
        arguments
    }

    /// Returns true if the run needs guests.
    pub(crate) fn boots_guests(&self) -> bool {
        let is_named = self.filters.is_empty() || self.filters.iter().any(|it| it == "kernels");
        let is_requested = self.bounded
            || self.all
            || self.matrix
            || self.path_length
            || self.compare
            || !self.kernel.is_empty();
        is_requested && is_named && !self.list && !self.ignored
    }
}
