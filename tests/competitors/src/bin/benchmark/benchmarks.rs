//! The benchmarks: name, target and source of each value.

/// The target of a benchmark.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// The value is only reported.
    Unset,
}
use Target::{AtLeast, AtMost, Unset};

/// The source of a value.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// The ratio of a metric of an engine to that of the first arm.
    Ratio {
        comparison: &'static str,
        engine: &'static str,
        metric: &'static str,
        load_level: &'static str,
    },
    /// The ratio of a metric of an engine to that of any other arm, at saturation.
    Between {
        comparison: &'static str,
        engine: &'static str,
        other: &'static str,
        metric: &'static str,
    },
    /// The share of an engine's CPU time in user mode, at saturation.
    UserShare { comparison: &'static str, engine: &'static str },
    /// System calls per request, at saturation.
    SystemCalls { comparison: &'static str, engine: &'static str },
    /// Client CPU time per request in µs, for the first arm.
    ClientCpu { comparison: &'static str },
    /// Resident bytes for each idle connection.
    IdleMemory { engine: &'static str },
}

impl Source {
    pub(crate) const fn comparison(self) -> &'static str {
        match self {
            Self::Ratio { comparison, .. }
            | Self::Between { comparison, .. }
            | Self::UserShare { comparison, .. }
            | Self::SystemCalls { comparison, .. }
            | Self::ClientCpu { comparison } => comparison,
            Self::IdleMemory { .. } => "idle-memory",
        }
    }
}

pub(crate) const CPU: &str = "cpu_per_request";
pub(crate) const THROUGHPUT: &str = "throughput";
pub(crate) const SATURATION: &str = "saturation";
pub(crate) const FIXED_RATE: &str = "fixed_rate";
const RING: &str = "io_uring:tuned";
const EPOLL: &str = "epoll:tuned";

const fn ratio(
    comparison: &'static str,
    engine: &'static str,
    metric: &'static str,
    load_level: &'static str,
) -> Source {
    Source::Ratio { comparison, engine, metric, load_level }
}

/// CPU per request at saturation with one connection a request.
const fn churn_to(engine: &'static str, other: &'static str) -> Source {
    Source::Between { comparison: "churn-others", engine, other, metric: CPU }
}

/// Requests/s at saturation with keep-alive connections.
const fn keep_alive_to(engine: &'static str, other: &'static str) -> Source {
    Source::Between { comparison: "keep-alive-others", engine, other, metric: THROUGHPUT }
}

/// All benchmarks, in the order of the table.
pub(crate) const BENCHMARKS: &[(&str, Target, Source)] = &[
    (
        "io_uring:tuned / blocking sockets, CPU/req",
        AtMost(1.05),
        ratio("churn-blocking", RING, CPU, SATURATION),
    ),
    (
        "epoll:tuned / blocking sockets, CPU/req",
        AtMost(1.10),
        ratio("churn-blocking", EPOLL, CPU, SATURATION),
    ),
    (
        "io_uring:tuned / blocking sockets, CPU/req at 15,000/s",
        AtMost(1.10),
        ratio("churn-blocking", RING, CPU, FIXED_RATE),
    ),
    (
        "epoll:tuned / blocking sockets, CPU/req at 15,000/s",
        AtMost(1.20),
        ratio("churn-blocking", EPOLL, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req at 15,000/s",
        AtMost(0.87),
        ratio("churn-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req at saturation",
        AtMost(1.02),
        ratio("churn-epoll", RING, CPU, SATURATION),
    ),
    (
        "keep-alive: io_uring:tuned / epoll:tuned, CPU/req at saturation",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, SATURATION),
    ),
    (
        "keep-alive: io_uring:tuned / epoll:tuned, CPU/req at a fixed rate",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "pipelined: io_uring:tuned / epoll:tuned, CPU/req at saturation",
        AtMost(1.02),
        ratio("pipelined-epoll", RING, CPU, SATURATION),
    ),
    (
        "pipelined: io_uring:tuned / epoll:tuned, CPU/req at a fixed rate",
        AtMost(1.02),
        ratio("pipelined-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "large: io_uring:tuned / epoll:tuned, CPU/req at saturation",
        AtMost(1.02),
        ratio("large-epoll", RING, CPU, SATURATION),
    ),
    (
        "large: io_uring:tuned / epoll:tuned, CPU/req at a fixed rate",
        AtMost(1.02),
        ratio("large-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", RING, CPU, SATURATION),
    ),
    (
        "epoll:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", EPOLL, CPU, SATURATION),
    ),
    (
        "epoll:level / bare epoll with the same calls, CPU/req",
        AtMost(1.03),
        ratio("reference-level", "epoll:level", CPU, SATURATION),
    ),
    (
        "epoll:edge / bare epoll with the same calls, CPU/req",
        AtMost(1.03),
        ratio("reference-edge", "epoll:edge", CPU, SATURATION),
    ),
    (
        "keep-alive: io_uring:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", RING, THROUGHPUT, SATURATION),
    ),
    (
        "keep-alive: epoll:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", EPOLL, THROUGHPUT, SATURATION),
    ),
    (
        "keep-alive: io_uring:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", RING, THROUGHPUT, SATURATION),
    ),
    (
        "keep-alive: epoll:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", EPOLL, THROUGHPUT, SATURATION),
    ),
    (
        "io_uring:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-blocking", engine: RING },
    ),
    (
        "epoll:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-blocking", engine: EPOLL },
    ),
    (
        "keep-alive: io_uring:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "keep-alive-tokio", engine: RING },
    ),
    (
        "keep-alive: epoll:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "keep-alive-tokio", engine: EPOLL },
    ),
    (
        "keep-alive: io_uring:tuned, system calls/req",
        AtMost(0.1),
        Source::SystemCalls { comparison: "keep-alive-tokio", engine: RING },
    ),
    (
        "epoll:tuned, bytes per idle connection",
        AtMost(1024.0),
        Source::IdleMemory { engine: EPOLL },
    ),
    (
        "io_uring:tuned, bytes per idle connection",
        AtMost(1536.0),
        Source::IdleMemory { engine: RING },
    ),
    (
        "client CPU/req against nginx, µs",
        AtMost(40.0),
        Source::ClientCpu { comparison: "churn-nginx" },
    ),
    (
        "stretch target: io_uring:tuned / blocking sockets, CPU/req",
        AtMost(0.95),
        ratio("churn-blocking", RING, CPU, SATURATION),
    ),
    (
        "stretch target: epoll:tuned / blocking sockets, CPU/req",
        AtMost(0.95),
        ratio("churn-blocking", EPOLL, CPU, SATURATION),
    ),
    ("io_uring:tuned / tokio, CPU/req", Unset, churn_to(RING, "tokio_server")),
    ("epoll:tuned / tokio, CPU/req", Unset, churn_to(EPOLL, "tokio_server")),
    ("io_uring:tuned / mio, CPU/req", Unset, churn_to(RING, "mio_server")),
    ("epoll:tuned / mio, CPU/req", Unset, churn_to(EPOLL, "mio_server")),
    ("io_uring:tuned / monoio, CPU/req", Unset, churn_to(RING, "monoio_server")),
    ("epoll:tuned / monoio, CPU/req", Unset, churn_to(EPOLL, "monoio_server")),
    ("io_uring:tuned / nginx not deferred, CPU/req", Unset, churn_to(RING, "nginx_server")),
    ("epoll:tuned / nginx not deferred, CPU/req", Unset, churn_to(EPOLL, "nginx_server")),
    ("keep-alive: io_uring:tuned / mio, requests/s", Unset, keep_alive_to(RING, "mio_server")),
    ("keep-alive: epoll:tuned / mio, requests/s", Unset, keep_alive_to(EPOLL, "mio_server")),
    (
        "keep-alive: io_uring:tuned / monoio, requests/s",
        Unset,
        keep_alive_to(RING, "monoio_server"),
    ),
    ("keep-alive: epoll:tuned / monoio, requests/s", Unset, keep_alive_to(EPOLL, "monoio_server")),
];
