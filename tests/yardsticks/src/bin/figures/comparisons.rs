//! The comparisons that the figures are taken from.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Arguments;
use crate::programs::Programs;

/// Whoever ends a connection at the bare-socket floor neither waits for the peer nor tells it
/// anything before the close, so nobody here does; and all have the floor's two socket options.
const CHURN: &[&str] = &[
    "server.defer_accept_s=1",
    "server.send_more=true",
    "server.lingering_close=false",
    "epoll.shutdown=close",
    "io_uring.shutdown=close",
];

/// Both offer so much at the fixed working point: below what anybody here can do.
const CHURN_RATE: &str = "15000";

/// One run of `ringpoll compare`.
struct Comparison {
    name: &'static str,
    /// What the others are held against.
    baseline: Arm,
    arms: &'static [Arm],
    load: &'static str,
    options: &'static [&'static str],
    set: &'static [&'static str],
}

enum Arm {
    /// With its flags.
    Yardstick(&'static str, &'static [&'static str]),
    Engine(&'static str),
}
use Arm::{Engine, Yardstick};

const TUNED: &[Arm] = &[Engine("io_uring:tuned"), Engine("epoll:tuned")];

const ALL: &[Comparison] = &[
    Comparison {
        name: "churn-floor",
        baseline: Yardstick("blocking", &["--defer-accept", "--send-more"]),
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
        baseline: Yardstick("nginx_server", &["--defer-accept"]),
        arms: TUNED,
        load: "churn",
        options: &["--rate", CHURN_RATE],
        set: CHURN,
    },
    Comparison {
        name: "documents-level",
        baseline: Yardstick("bare_epoll", &[]),
        arms: &[Engine("epoll:level")],
        load: "churn",
        options: &["--preset", "documents"],
        // The backlog of the documents is 1, which would measure lost connections.
        set: &["server.backlog=4096"],
    },
    Comparison {
        name: "documents-edge",
        baseline: Yardstick("bare_epoll", &["--edge"]),
        arms: &[Engine("epoll:edge")],
        load: "churn",
        options: &["--preset", "documents"],
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
        baseline: Yardstick("tokio_server", &["--keep-alive"]),
        arms: TUNED,
        load: "keep-alive",
        options: &[],
        set: &[],
    },
    Comparison {
        name: "keep-alive-nginx",
        baseline: Yardstick("nginx_server", &["--keep-alive"]),
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
        // All in one, so that none costs a run of its own. Each has the socket options that it can
        // have; only nginx is told to do without, since with them it has figures of its own.
        arms: &[
            Engine("epoll:tuned"),
            Yardstick("tokio_server", &["--defer-accept"]),
            Yardstick("mio_server", &["--defer-accept"]),
            Yardstick("monoio_server", &["--defer-accept"]),
            Yardstick("nginx_server", &[]),
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
            Yardstick("mio_server", &["--keep-alive"]),
            Yardstick("monoio_server", &["--keep-alive"]),
        ],
        load: "keep-alive",
        options: &[],
        set: &[],
    },
];

/// The result of each comparison, or why there is none.
pub(crate) struct Results(BTreeMap<&'static str, Result<Value, String>>);

impl Results {
    /// Runs all that are asked for, one after the other.
    ///
    /// # Errors
    /// When the results cannot be kept where they should be.
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

    /// Whether it was to be run.
    pub(crate) fn are_asked_for(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Of one comparison.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn of(&self, name: &str) -> Result<&Value, String> {
        match self.0.get(name) {
            Some(Ok(result)) => Ok(result),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err("not asked for".to_owned()),
        }
    }
}

impl Comparison {
    fn run(&self, programs: &Programs, budget: &str, file: &Path) -> Result<Value, String> {
        let mut command = Command::new(&programs.ringpoll);
        command.arg("compare").arg(self.baseline.on_command_line(programs)?);
        // Who is not installed is missed in its own rows only.
        command.args(self.arms.iter().filter_map(|arm| arm.on_command_line(programs).ok()));
        command.args(["--load", self.load, "--budget", budget, "--config", "/dev/null"]);
        command.args(self.options).args(self.set.iter().flat_map(|&set| ["--set", set]));
        command.arg("--json").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let output = command
            .output()
            .map_err(|error| format!("{}: {error}", programs.ringpoll.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("no word");
            return Err(first.trim_start_matches("error: ").to_owned());
        }
        let json = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        serde_json::from_slice(&json).map_err(|error| format!("{}: {error}", file.display()))
    }
}

impl Arm {
    /// As `ringpoll compare` is told of it.
    ///
    /// # Errors
    /// When it is not installed.
    fn on_command_line(&self, programs: &Programs) -> Result<String, String> {
        match *self {
            Yardstick("nginx_server", _) if programs.no_nginx.is_some() => {
                Err(programs.no_nginx.clone().unwrap_or_default())
            }
            Yardstick(name, flags) => {
                let quoted = programs.command(name, flags).into_iter().map(|it| format!("'{it}'"));
                Ok(format!("command:{}", quoted.collect::<Vec<_>>().join(" ")))
            }
            Engine(engine) => Ok(engine.to_owned()),
        }
    }
}
