//! Which figures there are: what is asked of each, and where it comes from.

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    AtMost(f64),
    AtLeast(f64),
    /// It is told for what it is.
    Nothing,
}
use Asked::{AtLeast, AtMost, Nothing};

/// Where a figure comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    /// The ratio of a metric at a working point, of the arm of this engine to the first arm.
    Ratio {
        comparison: &'static str,
        engine: &'static str,
        metric: &'static str,
        point: &'static str,
    },
    /// The same of an engine to another arm, whichever of them is the first.
    Between {
        comparison: &'static str,
        engine: &'static str,
        other: &'static str,
        metric: &'static str,
    },
    /// The share of an engine's processor time that is spent in user mode, saturated.
    UserShare { comparison: &'static str, engine: &'static str },
    /// System calls a request, saturated.
    SystemCalls { comparison: &'static str, engine: &'static str },
    /// The client's processor time for each request, in µs, against the first arm.
    Client { comparison: &'static str },
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
            | Self::Client { comparison } => comparison,
            Self::IdleMemory { .. } => "idle-memory",
        }
    }
}

pub(crate) const CPU: &str = "cpu_per_request";
pub(crate) const THROUGHPUT: &str = "throughput";
pub(crate) const SATURATED: &str = "saturated";
pub(crate) const FIXED_RATE: &str = "fixed_rate";
const RING: &str = "io_uring:tuned";
const EPOLL: &str = "epoll:tuned";

const fn ratio(
    comparison: &'static str,
    engine: &'static str,
    metric: &'static str,
    point: &'static str,
) -> Source {
    Source::Ratio { comparison, engine, metric, point }
}

/// At saturation, CPU per request where each request has its connection.
const fn churn_to(engine: &'static str, other: &'static str) -> Source {
    Source::Between { comparison: "churn-others", engine, other, metric: CPU }
}

/// At saturation, requests a second where connections persist.
const fn keep_alive_to(engine: &'static str, other: &'static str) -> Source {
    Source::Between { comparison: "keep-alive-others", engine, other, metric: THROUGHPUT }
}

/// In the order in which they are shown.
pub(crate) const FIGURES: &[(&str, Asked, Source)] = &[
    (
        "io_uring:tuned / bare-socket floor, CPU/req",
        AtMost(1.05),
        ratio("churn-floor", RING, CPU, SATURATED),
    ),
    (
        "epoll:tuned / bare-socket floor, CPU/req",
        AtMost(1.10),
        ratio("churn-floor", EPOLL, CPU, SATURATED),
    ),
    (
        "io_uring:tuned / floor, CPU/req at 15,000/s",
        AtMost(1.10),
        ratio("churn-floor", RING, CPU, FIXED_RATE),
    ),
    (
        "epoll:tuned / floor, CPU/req at 15,000/s",
        AtMost(1.20),
        ratio("churn-floor", EPOLL, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req at 15,000/s",
        AtMost(0.87),
        ratio("churn-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "io_uring:tuned / epoll:tuned, CPU/req, saturated",
        AtMost(1.02),
        ratio("churn-epoll", RING, CPU, SATURATED),
    ),
    (
        "the same, keep-alive, saturated",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, SATURATED),
    ),
    (
        "the same, keep-alive, fixed rate",
        AtMost(1.02),
        ratio("keep-alive-epoll", RING, CPU, FIXED_RATE),
    ),
    (
        "the same, pipelined, saturated",
        AtMost(1.02),
        ratio("pipelined-epoll", RING, CPU, SATURATED),
    ),
    (
        "the same, pipelined, fixed rate",
        AtMost(1.02),
        ratio("pipelined-epoll", RING, CPU, FIXED_RATE),
    ),
    ("the same, large, saturated", AtMost(1.02), ratio("large-epoll", RING, CPU, SATURATED)),
    ("the same, large, fixed rate", AtMost(1.02), ratio("large-epoll", RING, CPU, FIXED_RATE)),
    (
        "io_uring:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", RING, CPU, SATURATED),
    ),
    (
        "epoll:tuned / nginx deferred, CPU/req",
        AtMost(0.67),
        ratio("churn-nginx", EPOLL, CPU, SATURATED),
    ),
    (
        "epoll:level / C with the same calls, CPU/req",
        AtMost(1.03),
        ratio("documents-level", "epoll:level", CPU, SATURATED),
    ),
    (
        "epoll:edge / C with the same calls, CPU/req",
        AtMost(1.03),
        ratio("documents-edge", "epoll:edge", CPU, SATURATED),
    ),
    (
        "keep-alive: io_uring:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", RING, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: epoll:tuned / tokio, requests/s",
        AtLeast(1.04),
        ratio("keep-alive-tokio", EPOLL, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: io_uring:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", RING, THROUGHPUT, SATURATED),
    ),
    (
        "keep-alive: epoll:tuned / nginx, requests/s",
        AtLeast(1.22),
        ratio("keep-alive-nginx", EPOLL, THROUGHPUT, SATURATED),
    ),
    (
        "io_uring:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-floor", engine: RING },
    ),
    (
        "epoll:tuned, user time / CPU",
        AtMost(0.03),
        Source::UserShare { comparison: "churn-floor", engine: EPOLL },
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
    ("epoll:tuned, bytes an idle connection", AtMost(1024.0), Source::IdleMemory { engine: EPOLL }),
    (
        "io_uring:tuned, bytes an idle connection",
        AtMost(1536.0),
        Source::IdleMemory { engine: RING },
    ),
    (
        "client CPU/req against nginx, µs",
        AtMost(40.0),
        Source::Client { comparison: "churn-nginx" },
    ),
    (
        "beyond the floor: io_uring:tuned / floor, CPU/req",
        AtMost(0.95),
        ratio("churn-floor", RING, CPU, SATURATED),
    ),
    (
        "beyond the floor: epoll:tuned / floor, CPU/req",
        AtMost(0.95),
        ratio("churn-floor", EPOLL, CPU, SATURATED),
    ),
    ("io_uring:tuned / tokio, CPU/req", Nothing, churn_to(RING, "tokio_server")),
    ("epoll:tuned / tokio, CPU/req", Nothing, churn_to(EPOLL, "tokio_server")),
    ("io_uring:tuned / mio, CPU/req", Nothing, churn_to(RING, "mio_server")),
    ("epoll:tuned / mio, CPU/req", Nothing, churn_to(EPOLL, "mio_server")),
    ("io_uring:tuned / monoio, CPU/req", Nothing, churn_to(RING, "monoio_server")),
    ("epoll:tuned / monoio, CPU/req", Nothing, churn_to(EPOLL, "monoio_server")),
    ("io_uring:tuned / nginx not deferred, CPU/req", Nothing, churn_to(RING, "nginx_server")),
    ("epoll:tuned / nginx not deferred, CPU/req", Nothing, churn_to(EPOLL, "nginx_server")),
    ("keep-alive: io_uring:tuned / mio, requests/s", Nothing, keep_alive_to(RING, "mio_server")),
    ("keep-alive: epoll:tuned / mio, requests/s", Nothing, keep_alive_to(EPOLL, "mio_server")),
    (
        "keep-alive: io_uring:tuned / monoio, requests/s",
        Nothing,
        keep_alive_to(RING, "monoio_server"),
    ),
    (
        "keep-alive: epoll:tuned / monoio, requests/s",
        Nothing,
        keep_alive_to(EPOLL, "monoio_server"),
    ),
];
