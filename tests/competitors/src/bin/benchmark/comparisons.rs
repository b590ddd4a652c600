//! The comparisons that measure the benchmarks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Arguments;
use crate::programs::Programs;

/// All servers close like the one with blocking sockets, which neither lingers nor calls
/// `shutdown`, and have its two socket options.
const CHURN: &[&str] = &[
    "server.defer_accept_s=1",
    "server.send_more=true",
    "server.lingering_close=false",
    "epoll.shutdown=close",
    "io_uring.shutdown=close",
];

/// Requests/s at the fixed rate, which every arm can serve.
const CHURN_RATE: &str = "15000";

/// One run of `ringpoll compare`.
struct Comparison {
    name: &'static str,
    /// The first arm.
    baseline: Arm,
    arms: &'static [Arm],
    load: &'static str,
    options: &'static [&'static str],
    set: &'static [&'static str],
}

enum Arm {
    /// A program and its flags.
    Competitor(&'static str, &'static [&'static str]),
    Engine(&'static str),
}
use Arm::{Competitor, Engine};

const TUNED: &[Arm] = &[Engine("io_uring:tuned"), Engine("epoll:tuned")];

const ALL: &[Comparison] = &[
    Comparison {
        name: "churn-blocking",
        baseline: Competitor("blocking", &["--defer-accept", "--send-more"]),
        arms: TUNED,
        load: "churn",
        options: &["--rate", CHURN_RATE],
        set: CHURN,
    },
    Comparison {
        name: "churn-epoll",
        baseline: Engine("epoll:tuned"),
        arms: &[Engine("io_uring:tuned")],
        load: "churn",
        options: &["--rate", CHURN_RATE],
        set: CHURN,
    },
    Comparison {
        name: "churn-nginx",
        baseline: Competitor("nginx_server", &["--defer-accept"]),
        arms: TUNED,
        load: "churn",
        options: &["--rate", CHURN_RATE],
        set: CHURN,
    },
    Comparison {
        name: "reference-level",
        baseline: Competitor("bare_epoll", &[]),
        arms: &[Engine("epoll:level")],
        load: "churn",
        options: &["--preset", "reference"],
        // With the backlog of the reference programs, 1, connections are lost.
        set: &["server.backlog=4096"],
    },
    Comparison {
        name: "reference-edge",
        baseline: Competitor("bare_epoll", &["--edge"]),
        arms: &[Engine("epoll:edge")],
        load: "churn",
        options: &["--preset", "reference"],
        set: &["server.backlog=4096"],
    },
    Comparison {
        name: "keep-alive-epoll",
        baseline: Engine("epoll:tuned"),
        arms: &[Engine("io_uring:tuned")],
        load: "keep-alive",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "keep-alive-tokio",
        baseline: Competitor("tokio_server", &["--keep-alive"]),
        arms: TUNED,
        load: "keep-alive",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "keep-alive-nginx",
        baseline: Competitor("nginx_server", &["--keep-alive"]),
        arms: TUNED,
        load: "keep-alive",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "pipelined-epoll",
        baseline: Engine("epoll:tuned"),
        arms: &[Engine("io_uring:tuned")],
        load: "pipelined",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "large-epoll",
        baseline: Engine("epoll:tuned"),
        arms: &[Engine("io_uring:tuned")],
        load: "large",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "churn-others",
        baseline: Engine("io_uring:tuned"),
        // One comparison for all, to save time. Each has the socket options that it supports,
        // except nginx, which "churn-nginx" measures with them.
        arms: &[
            Engine("epoll:tuned"),
            Competitor("tokio_server", &["--defer-accept"]),
            Competitor("mio_server", &["--defer-accept"]),
            Competitor("monoio_server", &["--defer-accept"]),
            Competitor("nginx_server", &[]),
        ],
        load: "churn",
        options: &["--rate", CHURN_RATE],
        set: CHURN,
    },
    Comparison {
        name: "keep-alive-others",
        baseline: Engine("io_uring:tuned"),
        arms: &[
            Engine("epoll:tuned"),
            Competitor("mio_server", &["--keep-alive"]),
            Competitor("monoio_server", &["--keep-alive"]),
        ],
        load: "keep-alive",
        options: &[],
        set: &[],
    },
];

/// The result or the error of each comparison.
pub(crate) struct Results(BTreeMap<&'static str, Result<Value, String>>);

impl Results {
    /// Runs the requested comparisons one after the other.
    ///
    /// # Errors
    /// If the directory for the results cannot be created.
    pub(crate) fn measure(programs: &Programs, arguments: &Arguments) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("a directory: {error}"))?;
        let directory = arguments.keep.as_deref().unwrap_or(directory.path());
        fs::create_dir_all(directory).map_err(|it| format!("{}: {it}", directory.display()))?;
        let mut results = BTreeMap::new();
        for comparison in ALL.iter().filter(|it| it.name.contains(&arguments.only)) {
            eprintln!("{} …", comparison.name);
            let file = directory.join(format!("{}.json", comparison.name));
            let result = comparison.run(programs, &arguments.budget, &file);
            if let Err(problem) = &result {
                eprintln!("{}: {problem}", comparison.name);
            }
            results.insert(comparison.name, result);
        }
        Ok(Self(results))
    }

    /// Returns true if the comparison was requested.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the result of a comparison.
    ///
    /// # Errors
    /// If it failed or was not requested.
    pub(crate) fn of(&self, name: &str) -> Result<&Value, String> {
        match self.0.get(name) {
            Some(Ok(result)) => Ok(result),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err("not requested".to_owned()),
        }
    }
}

impl Comparison {
    fn run(&self, programs: &Programs, budget: &str, file: &Path) -> Result<Value, String> {
        let mut command = Command::new(&programs.ringpoll);
        command.arg("compare").arg(self.baseline.argument(programs)?);
        // An arm that is not installed is left out; only its own rows lack values.
        command.args(self.arms.iter().filter_map(|arm| arm.argument(programs).ok()));
        command.args(["--load", self.load, "--budget", budget, "--config", "/dev/null"]);
        command.args(self.options).args(self.set.iter().flat_map(|&set| ["--set", set]));
        command.arg("--json").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command
            .output()
            .map_err(|error| format!("{}: {error}", programs.ringpoll.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let first = text.lines().find(|line| !line.trim().is_empty());
            let first = first.unwrap_or("ringpoll compare failed without a message");
            return Err(first.trim_start_matches("error: ").to_owned());
        }
        let json = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        serde_json::from_slice(&json).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Arm {
    /// Returns the argument of `ringpoll compare` for this arm.
    ///
    /// # Errors
    /// If the program is not installed.
    fn argument(&self, programs: &Programs) -> Result<String, String> {
        match *self {
            Competitor("nginx_server", _) if programs.no_nginx.is_some() => {
                Err(programs.no_nginx.clone().unwrap_or_default())
            }
            Competitor(name, flags) => {
                let quoted = programs.command(name, flags).into_iter().map(|it| format!("'{it}'"));
                Ok(format!("command:{}", quoted.collect::<Vec<_>>().join(" ")))
            }
            Engine(engine) => Ok(engine.to_owned()),
        }
    }
}
