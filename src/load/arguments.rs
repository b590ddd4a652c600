//! The flags of `ringpoll load`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::kind::{DEFAULT_LARGE_BYTES, LoadKind};
use super::lifetime::Lifetime;
use super::message::Direction;
use super::message_text::MessageText;
use super::pacing::{Burst, Pace, Rate};
use super::plan::{CloseBy, Expected, Plan};
use super::request::Request;
use super::request_arguments::RequestArguments;
use super::verify::Verify;

/// Open loop: default limit of requests in flight. It is high, so that requests wait in the server
/// and not in the client. Corrected latencies are correct with any limit.
const OPEN_LOOP_CONNECTIONS: usize = 1024;

const DEFAULT_DURATION: Duration = Duration::from_secs(10);
const DEFAULT_WARM_UP: Duration = Duration::from_secs(1);

/// The length of the intervals of `--hdr-log`.
pub(super) const HDR_LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Description of the exit codes of `ringpoll load`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  every response was correct; also after a stop by a signal
  1  a request failed (the result is printed), or the load could not run
  2  the command line is invalid";

/// The flags of `ringpoll load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// Name or address, and port, of the server
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    target: String,
    #[command(flatten)]
    request: RequestArguments,
    /// Kind of load
    #[arg(long, value_enum, value_name = "LOAD", default_value_t = LoadKind::Churn)]
    load: LoadKind,
    /// With --load pipelined, rr or stream: requests or messages in flight on each connection
    /// [default: 16; rr: 1]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// With --load rr, crr or stream: length of a message. Every byte received is verified
    /// [default: 1; stream: 65536]
    #[arg(long, value_name = "N")]
    message_bytes: Option<usize>,
    /// With --load rr or crr: send this text instead, and expect the same response each time. The
    /// text has escape sequences such as \r, \n and \x00
    #[arg(long, value_name = "TEXT", conflicts_with = "message_bytes")]
    message: Option<MessageText>,
    /// With --load stream: direction of the bytes [default: send]
    #[arg(long, value_enum, value_name = "DIRECTION")]
    direction: Option<Direction>,
    /// With --load large: required length of the response body [default: 1048576]
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// With --load mixed and --requests-from: seed of the random number of requests on each
    /// connection, and of the order of requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Required length of the body of the response before the load
    #[arg(long, value_name = "N")]
    expect_body_bytes: Option<u64>,
    /// Parts of each response that must equal those of the responses before the load
    /// [default: auto]
    #[arg(long, value_enum, value_name = "WHAT")]
    verify: Option<Verify>,
    /// One HTTP request per connection: the side that closes first, so that TIME_WAIT is on its
    /// side [default: auto]
    #[arg(long, value_enum, value_name = "SIDE")]
    close: Option<CloseBy>,

    /// Connections. One request per connection: requests in flight in a closed loop [default: 64],
    /// or their limit in an open loop [default: 1024]. Persistent connections: their number
    /// [default: 64]
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Open loop with an offered rate of R requests/s. Without it, a closed loop: each
    /// connection sends its next request after the response
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Open N connections at once; the next N after all responses, or at the --rate
    #[arg(long, value_name = "N")]
    burst: Option<usize>,
    /// Pause between the last response of a burst and the next burst
    #[arg(long, value_name = "MS", default_value_t = 0, requires = "burst")]
    burst_pause_ms: u64,
    /// Idle connections in addition to the load [default: 0; with --load idle: 1000, or fewer if
    /// the limit on file descriptors is low]
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// Send each request in K fragments
    #[arg(long, value_name = "K", default_value_t = 1)]
    fragments: usize,
    /// Pause between two fragments
    #[arg(long, value_name = "MS", default_value_t = 10)]
    fragment_pause_ms: u64,

    /// Stop after N requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Stop after this time: 500ms, 10s, 2m, or seconds [default: 10s without --requests]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Run the load for this time before the measurement [default: 1s; with --requests: 0s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    warm_up: Option<Duration>,
    /// Timeout of a request. Open loop: also the maximum delay of its start
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    timeout: Duration,

    /// Client threads, which share the connections and the rate
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// CPUs of the client threads, such as 0,1
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Write the result as JSON to FILE. For standard output (-), no table is printed
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write the latencies of each second to FILE, as a log of HdrHistogram. For standard output
    /// (-), no table is printed
    #[arg(long, value_name = "FILE")]
    pub(super) hdr_log: Option<PathBuf>,
}

impl LoadArguments {
    /// Returns the plan that the flags describe.
    ///
    /// # Errors
    /// Returns a message if a flag is invalid. [`run`](super::run()) checks the plan itself.
    pub fn plan(&self) -> Result<Plan, String> {
        let target = resolve(&self.target)?;
        let pause = Duration::from_millis(self.fragment_pause_ms);
        self.check_load_kind()?;
        let lifetime = self.lifetime();
        let message_bytes = self.message_bytes.unwrap_or(self.load.default_message_bytes());
        let (request, list) = if self.load == LoadKind::Stream {
            (Request::stream(message_bytes, self.direction.unwrap_or(Direction::Send))?, None)
        } else if let Some(message) = &self.message {
            (Request::text(message), None)
        } else if self.load.has_messages() {
            (Request::message(message_bytes)?, None)
        } else {
            let template = self.request.read()?;
            template.check(self.load, self.fragments)?;
            template.requests(&self.target, lifetime.is_persistent(), self.seed)?
        };
        let request = request.in_fragments(self.fragments, pause)?;
        let pace = match self.rate {
            Some(requests) => Pace::OpenLoop(Rate::per_second(requests)?),
            None => Pace::ClosedLoop,
        };
        let burst = self.burst.map(|connections| Burst {
            connections,
            pause: Duration::from_millis(self.burst_pause_ms),
        });
        let is_bounded = self.requests.is_some();
        Ok(Plan {
            list,
            lifetime,
            expected: Expected::FirstResponse { body_bytes: self.body_bytes() },
            verify: self.verify.unwrap_or_default(),
            close: self.close.unwrap_or_default(),
            pace,
            burst,
            connections: self.connections_or_default(),
            idle: self.idle.unwrap_or_else(|| self.load.default_idle(1)),
            requests: self.requests,
            duration: self.duration.or((!is_bounded).then_some(DEFAULT_DURATION)),
            warm_up: self.warm_up.unwrap_or(match is_bounded {
                // A warm-up would send more requests than the given number.
                true => Duration::ZERO,
                false => DEFAULT_WARM_UP,
            }),
            timeout: self.timeout,
            interval: self.hdr_log.is_some().then_some(HDR_LOG_INTERVAL),
            threads: self.threads,
            cpus: self.cpus.clone(),
            ..Plan::new(target, request)
        })
    }

    /// A flag of another kind of load is an error, not ignored.
    fn check_load_kind(&self) -> Result<(), String> {
        if self.bytes.is_some() && self.load != LoadKind::Large {
            return Err("--bytes can only be used with --load large. Use --expect-body-bytes to \
                        require a body length with other loads."
                .to_owned());
        }
        let has_messages = self.load.has_messages();
        let request_flag = self.request.first_given();
        let http_only = [
            (request_flag.unwrap_or_default(), request_flag.is_some()),
            ("--expect-body-bytes", self.expect_body_bytes.is_some()),
            ("--fragments", self.fragments != 1),
            ("--verify", self.verify.is_some()),
            ("--close", self.close.is_some()),
        ];
        if let Some((flag, _)) = http_only.iter().find(|(_, is_given)| has_messages && *is_given) {
            return Err(format!(
                "{flag} cannot be used with --load {}, which has messages instead of HTTP \
                 requests",
                self.load
            ));
        } else if self.message_bytes.is_some() && !has_messages {
            return Err("--message-bytes can only be used with --load rr, crr or stream".to_owned());
        } else if self.message.is_some() && !matches!(self.load, LoadKind::Rr | LoadKind::Crr) {
            return Err("--message can only be used with --load rr or crr".to_owned());
        } else if self.depth.is_some() && self.load.default_depth() == 0 {
            return Err("--depth can only be used with --load pipelined, rr or stream".to_owned());
        } else if self.direction.is_some() && self.load != LoadKind::Stream {
            return Err("--direction can only be used with --load stream".to_owned());
        } else if self.close.is_some() && self.lifetime().is_persistent() {
            return Err("--close can only be used with one request per connection: --load churn, \
                        large or idle"
                .to_owned());
        }
        Ok(())
    }

    fn lifetime(&self) -> Lifetime {
        self.load.lifetime(self.depth.unwrap_or(self.load.default_depth()), self.seed)
    }

    fn body_bytes(&self) -> Option<u64> {
        let large = self.load == LoadKind::Large;
        self.expect_body_bytes.or(large.then(|| self.bytes.unwrap_or(DEFAULT_LARGE_BYTES)))
    }

    fn connections_or_default(&self) -> usize {
        if self.lifetime().is_persistent() {
            return self.connections.unwrap_or(64);
        }
        self.connections.unwrap_or(match (self.rate, self.burst) {
            (Some(_), burst) => burst.unwrap_or(0).max(OPEN_LOOP_CONNECTIONS),
            (None, Some(burst)) => burst,
            (None, None) => 64,
        })
    }
}

fn resolve(target: &str) -> Result<SocketAddr, String> {
    let problem = |problem: &dyn std::fmt::Display| format!("--target {target}: {problem}");
    if target.contains("://") {
        return Err(problem(
            &"expected HOST:PORT. --path has the path of a URL, and there is no TLS",
        ));
    }
    let mut addresses = target.to_socket_addrs().map_err(|error| problem(&error))?;
    addresses.next().ok_or_else(|| problem(&"the name has no address"))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArguments,
    }

    fn plan(arguments: &str) -> Result<Plan, String> {
        let words = ["load"].into_iter().chain(arguments.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.load.plan()
    }

    #[test]
    fn default_is_ten_seconds_of_closed_loop_after_one_second_of_warm_up() {
        let plan = plan("").unwrap();
        assert_eq!(plan.target, "127.0.0.1:8080".parse().unwrap());
        assert_eq!((plan.pace, plan.connections), (Pace::ClosedLoop, 64));
        assert_eq!((plan.duration, plan.warm_up), (Some(DEFAULT_DURATION), DEFAULT_WARM_UP));
        assert_eq!(plan.requests, None);
    }

    #[test]
    fn url_is_refused_with_what_to_use() {
        let problem = plan("--target http://127.0.0.1:8080/a").unwrap_err();
        assert!(problem.contains("expected HOST:PORT. --path has the path"), "{problem}");
    }

    #[test]
    fn load_kind_determines_lifetime_body_and_idle_connections() {
        let lifetime = |arguments| plan(arguments).unwrap().lifetime;
        assert_eq!(lifetime(""), Lifetime::OneRequest);
        assert_eq!(lifetime("--load keep-alive"), Lifetime::Persistent { depth: 1 });
        assert_eq!(lifetime("--load pipelined"), Lifetime::Persistent { depth: 16 });
        assert_eq!(lifetime("--load pipelined --depth 3"), Lifetime::Persistent { depth: 3 });
        assert_eq!(lifetime("--load mixed --seed 7"), Lifetime::Mixed { seed: 7 });
        assert_eq!(lifetime("--load rr"), Lifetime::Persistent { depth: 1 });
        assert_eq!(lifetime("--load rr --depth 3"), Lifetime::Persistent { depth: 3 });
        assert_eq!(lifetime("--load crr"), Lifetime::OneRequest);
        let message = |arguments| plan(arguments).unwrap().request.message_bytes();
        assert_eq!((message("--load crr"), message("--load churn")), (Some(1), None));
        assert_eq!(message("--load rr --message-bytes 70000"), Some(70_000));
        let direction = |arguments| plan(arguments).unwrap().request.direction();
        assert_eq!(direction("--load rr"), None);
        assert_eq!(direction("--load stream"), Some(Direction::Send));
        assert_eq!(direction("--load stream --direction both"), Some(Direction::Both));
        assert_eq!(message("--load stream --direction recv"), Some(65_536));
        let body = |arguments| match plan(arguments).unwrap().expected {
            Expected::FirstResponse { body_bytes } => body_bytes,
            Expected::Known(_) => panic!("the response cannot be known"),
        };
        assert_eq!(body("--load large"), Some(1 << 20));
        assert_eq!(body("--load large --bytes 5"), Some(5));
        assert_eq!((body(""), body("--expect-body-bytes 5")), (None, Some(5)));
        let idle = |arguments| plan(arguments).unwrap().idle;
        assert!((1..=1000).contains(&idle("--load idle")));
        assert_eq!((idle("--load idle --idle 7"), idle("--load churn --idle 7")), (7, 7));
        assert_eq!(plan("--load keep-alive --rate 10").unwrap().connections, 64);
    }

    #[test]
    fn number_of_requests_replaces_default_duration_and_warm_up() {
        let counted = plan("--requests 5").unwrap();
        assert_eq!((counted.duration, counted.warm_up), (None, Duration::ZERO));
        let both = plan("--requests 5 --duration 250ms --warm-up 0.5").unwrap();
        assert_eq!(both.requests, Some(5));
        assert_eq!(both.duration, Some(Duration::from_millis(250)));
        assert_eq!(both.warm_up, Duration::from_millis(500));
    }

    #[test]
    fn default_number_of_connections_depends_on_the_load() {
        let connections = |arguments| plan(arguments).unwrap().connections;
        assert_eq!(connections("--rate 10"), OPEN_LOOP_CONNECTIONS);
        assert_eq!(connections("--rate 10 --burst 2000"), 2000);
        assert_eq!(connections("--burst 7"), 7);
        assert_eq!(connections("--rate 10 --connections 3"), 3);
    }

    #[test]
    fn invalid_flags_are_refused() {
        for arguments in [
            "--target nowhere",
            "--rate 0",
            "--duration ten",
            "--duration -1",
            "--fragments 0",
            "--fragments 1000",
            "--path a",
            "--header a",
            "--burst-pause-ms 5",
            "--cpus a",
            "--load nonsense",
            "--bytes 5",
            "--depth 2",
            "--message-bytes 2",
            "--load rr --bytes 2",
            "--load rr --message-bytes 0",
            "--load rr --path /",
            "--load rr --header a:b",
            "--load rr --expect-body-bytes 2",
            "--load crr --fragments 2",
            "--load crr --depth 2",
            "--load rr --direction send",
            "--load stream --direction up",
            "--load stream --path /",
            "--load rr --verify none",
            "--load crr --close client",
            "--load keep-alive --close client",
            "--verify some",
            "--method CONNECT",
            "--method G(T",
            "--expect-continue",
            "--body @absent",
            "--body a --header Content-Length:1",
            "--body a --expect-continue --fragments 2",
            "--requests-from absent",
            "--requests-from absent --path /",
            "--load rr --method GET",
            "--load stream --body a",
            "--load crr --requests-from absent",
            "--load large --method HEAD",
            "--load pipelined --body a --expect-continue",
        ] {
            assert!(plan(arguments).is_err(), "{arguments}");
        }
    }
}
