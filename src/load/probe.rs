//! The requests before a load, from whose responses the reference and the checks are made.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::control::Control;
use super::framing::Framing;
use super::plan::{CloseBy, Plan};
use super::received::{Progress, Received};
use super::response::{Closer, Reference};
use super::verify::{Checks, Verify};

/// The longest response that can be a reference.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// Interval of checks for a stop request.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The number of responses from which [`Verify::Auto`] learns what varies.
const LEARNING_REQUESTS: usize = 3;

/// The time within which a server that announces to close the connection has to do so. Otherwise
/// the client does.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Length of the start of a response that a message shows.
const EXCERPT_BYTES: usize = 80;

/// A failure of a request before the load.
#[derive(Debug)]
pub enum ProbeError {
    /// Connecting, sending or receiving failed.
    Connection(io::Error),
    /// The run was stopped.
    Stopped,
    /// There is no response that can be the reference: what was received, and what to try.
    Response(String),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(formatter),
            Self::Stopped => formatter.write_str("stopped before the first response"),
            Self::Response(problem) => formatter.write_str(problem),
        }
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

/// Sends requests, and makes one of their responses the reference.
pub(super) fn fetch_reference(
    plan: &Plan,
    body_bytes: Option<u64>,
    control: &Control,
) -> Result<Reference, ProbeError> {
    let count = if plan.verify == Verify::Auto { LEARNING_REQUESTS } else { 1 };
    let fetch = |_| Probe::new(plan, control)?.fetch();
    let responses: Vec<Received> = (0..count).map(fetch).collect::<Result<_, _>>()?;
    let checks = Checks::learn(plan.verify, &responses).ok_or_else(|| {
        let status = |it: &Received| it.head().map_or(0, |head| head.status).to_string();
        let all: Vec<String> = responses.iter().map(status).collect();
        ProbeError::Response(format!(
            "the status differs from response to response ({}). Try another --path, or --verify \
             none.",
            all.join(", ")
        ))
    })?;
    let is_closed = responses.iter().all(|it| it.is_closed);
    let (first, head) = responses
        .into_iter()
        .find_map(|response| response.head().map(|head| (response, head)))
        .expect("a complete response has a head");
    let received = first.body().len() as u64;
    if let Some(expected) = body_bytes
        && expected != received
    {
        return Err(ProbeError::Response(format!(
            "expected a body of {expected} bytes, but received {received}"
        )));
    }
    let closer = closer(plan, head.framing, is_closed)?;
    Ok(Reference::new(first, head, checks, plan.request.is_head(), closer))
}

/// Decides who closes the connections of one request first.
fn closer(plan: &Plan, framing: Framing, is_closed: bool) -> Result<Closer, ProbeError> {
    let problem = match (plan.close, framing) {
        (_, Framing::UntilClose) if plan.lifetime.is_persistent() => {
            "the response has neither Content-Length nor chunks, so it ends only with its \
             connection. Use a server that sends Content-Length, or --load churn."
        }
        (CloseBy::Client, Framing::UntilClose) => {
            "the response has neither Content-Length nor chunks, so only the server can end it. \
             Use --close server or auto."
        }
        (CloseBy::Server, _) if !is_closed => {
            "the response was complete, but the server did not close the connection. Use --close \
             client or auto."
        }
        (CloseBy::Server, _) => return Ok(Closer::Server),
        (CloseBy::Auto, _) if is_closed => return Ok(Closer::Server),
        (CloseBy::Auto | CloseBy::Client, _) => return Ok(Closer::Client),
    };
    Err(ProbeError::Response(problem.to_owned()))
}

/// A request and its response.
struct Probe<'run> {
    plan: &'run Plan,
    control: &'run Control,
    stream: TcpStream,
    buffer: Vec<u8>,
    response: Received,
}

impl<'run> Probe<'run> {
    fn new(plan: &'run Plan, control: &'run Control) -> Result<Self, ProbeError> {
        let stream = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
        stream.set_write_timeout(Some(plan.timeout))?;
        let interval = STOP_CHECK_INTERVAL.min(plan.timeout).min(CLOSE_TIMEOUT);
        stream.set_read_timeout(Some(interval))?;
        let (buffer, response) = (vec![0; 64 * 1024], Received::default());
        Ok(Self { plan, control, stream, buffer, response })
    }

    fn fetch(mut self) -> Result<Received, ProbeError> {
        let deadline = Instant::now() + self.plan.timeout;
        self.stream.write_all(self.plan.request.bytes())?;
        let is_head_request = self.plan.request.is_head();
        loop {
            let count = match self.read_before(deadline)? {
                None => return Err(self.incomplete()),
                Some(0) if self.response.ends_with_connection() => {
                    self.response.is_closed = true;
                    return Ok(self.response);
                }
                Some(0) => return Err(self.ended()),
                Some(count) => count,
            };
            match self.response.on_bytes(&self.buffer[..count], is_head_request) {
                Ok(Progress::Partial) if self.response.bytes.len() <= MAX_RESPONSE_BYTES => {}
                Ok(Progress::Partial) => {
                    let problem = format!("the response has more than {MAX_RESPONSE_BYTES} bytes");
                    return Err(ProbeError::Response(problem));
                }
                Ok(Progress::Complete { extra: 0 }) => break,
                Ok(Progress::Complete { extra }) => return Err(self.too_long(extra)),
                Err(malformed) => return Err(self.problem(malformed)),
            }
        }
        self.wait_for_close()?;
        Ok(self.response)
    }

    /// Waits for the end of a connection that the server is to close.
    fn wait_for_close(&mut self) -> Result<(), ProbeError> {
        let announces = self.response.head().is_some_and(|head| head.closes);
        let timeout = match self.plan.close {
            _ if self.plan.lifetime.is_persistent() => return Ok(()),
            CloseBy::Server => self.plan.timeout,
            CloseBy::Auto if announces => CLOSE_TIMEOUT,
            CloseBy::Auto | CloseBy::Client => return Ok(()),
        };
        match self.read_before(Instant::now() + timeout) {
            Ok(Some(0)) => self.response.is_closed = true,
            Ok(Some(extra)) => return Err(self.too_long(extra)),
            Err(ProbeError::Stopped) => return Err(ProbeError::Stopped),
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    /// Receives some bytes. Returns `None` after the deadline.
    fn read_before(&mut self, deadline: Instant) -> Result<Option<usize>, ProbeError> {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(count) => return Ok(Some(count)),
                // EINTR: a signal, which may request the stop. With SO_RCVTIMEO, `recv` is not
                // restarted after a signal handler or SIGCONT (signal(7)).
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if self.control.is_stopped() {
                return Err(ProbeError::Stopped);
            } else if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// Describes a response that was not complete in time.
    fn incomplete(&self) -> ProbeError {
        let timeout = super::units::duration(self.plan.timeout);
        if self.response.bytes.is_empty() {
            return self.problem(format_args!(
                "no response within {timeout}. Is it the port of an HTTP server? Try a longer \
                 --timeout if it is slow."
            ));
        }
        self.problem(format_args!(
            "the response is not complete after {timeout}: {}. Try a longer --timeout.",
            self.position()
        ))
    }

    /// Describes a connection that ended too early.
    fn ended(&self) -> ProbeError {
        if self.response.bytes.is_empty() {
            return self.problem(
                "the server closed the connection without a response. Is it the port of an HTTP \
                 server without TLS?",
            );
        }
        self.problem(format_args!(
            "the connection ended before the response was complete: {}. Inspect it with `curl -v`.",
            self.position()
        ))
    }

    /// Describes how much of a response was received.
    fn position(&self) -> String {
        let received = self.response.bytes.len() - self.response.head_range.end;
        match self.response.head().map(|head| head.framing) {
            None => "its head has no end".to_owned(),
            Some(Framing::Length(length)) => {
                format!("Content-Length is {length} bytes, but {received} were received")
            }
            Some(Framing::Chunked) => "the last chunk is missing".to_owned(),
            Some(Framing::UntilClose) => {
                "it has neither Content-Length nor chunks, and the server does not close the \
                 connection"
                    .to_owned()
            }
        }
    }

    fn too_long(&self, extra: usize) -> ProbeError {
        let head = self.response.head();
        let reason = match head.map(|head| (head.status, head.framing)) {
            Some((status, Framing::Length(0))) => format!("a status of {status} has no body here"),
            Some((_, Framing::Length(length))) => format!("Content-Length is {length} bytes"),
            _ => "after the last chunk".to_owned(),
        };
        self.problem(format_args!(
            "{extra} bytes follow the end of the response ({reason}). Inspect it with `curl -v`."
        ))
    }

    /// Adds the start of the response.
    fn problem(&self, problem: impl fmt::Display) -> ProbeError {
        let bytes = &self.response.bytes;
        if bytes.is_empty() {
            return ProbeError::Response(problem.to_string());
        }
        let excerpt = bytes[..bytes.len().min(EXCERPT_BYTES)].escape_ascii();
        let ellipsis = if bytes.len() > EXCERPT_BYTES { "…" } else { "" };
        ProbeError::Response(format!("{problem} Received: `{excerpt}{ellipsis}`."))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
