//! The requests before a load, from whose responses the reference and the checks are made.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::control::Control;
use super::framing::Framing;
use super::plan::{CONTINUE_TIMEOUT, CloseBy, Plan};
use super::received::{Progress, Received};
use super::request::Request;
use super::response::{Closer, Reference};
use super::verify::{Checks, Verify};

/// The longest response that can be a reference.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// The largest total length of the responses to a list.
const MAX_RESPONSES_BYTES: usize = 1024 * 1024 * 1024;

/// Interval of checks for a stop request.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The number of responses from which [`Verify::Auto`] learns what varies.
const LEARNING_REQUESTS: usize = 3;

/// The number of further responses if the bodies vary.
const MORE_LEARNING_REQUESTS: usize = 9;

/// The time within which a server that announces to close the connection has to do so. Otherwise
/// the client does.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// The time without further bytes after which the response to a message is complete.
const QUIET_TIME: Duration = Duration::from_millis(200);

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

/// Sends the requests of the plan, and makes a response to each of them the reference.
pub(super) fn fetch_references(
    plan: &Plan,
    body_bytes: Option<u64>,
    control: &Control,
) -> Result<Vec<Reference>, ProbeError> {
    let (mut references, mut bytes) = (Vec::new(), 0);
    for request in plan.requests() {
        let reference = fetch_reference(plan, request, body_bytes, control);
        let reference = reference.map_err(|error| match (error, &plan.list) {
            (ProbeError::Response(problem), Some(_)) => {
                ProbeError::Response(format!("{}: {problem}", request.line()))
            }
            (error, _) => error,
        })?;
        bytes += reference.bytes().len();
        if bytes > MAX_RESPONSES_BYTES {
            return Err(ProbeError::Response(format!(
                "the responses to the list have more than {MAX_RESPONSES_BYTES} bytes, which are \
                 kept in memory. Use a shorter list."
            )));
        }
        references.push(reference);
    }
    Ok(references)
}

/// Sends a request several times, and makes one of its responses the reference.
fn fetch_reference(
    plan: &Plan,
    request: &Request,
    body_bytes: Option<u64>,
    control: &Control,
) -> Result<Reference, ProbeError> {
    if request.is_text() {
        return fetch_text_reference(plan, request, control);
    }
    let count = if plan.verify == Verify::Auto { LEARNING_REQUESTS } else { 1 };
    let fetch = |_| Probe::new(plan, request, control)?.fetch();
    let mut responses: Vec<Received> = (0..count).map(fetch).collect::<Result<_, _>>()?;
    // Bodies that differ can have one length by chance, as those of a counter below 10.
    if responses.iter().any(|it| it.body() != responses[0].body()) {
        let more: Vec<Received> =
            (0..MORE_LEARNING_REQUESTS).map(fetch).collect::<Result<_, _>>()?;
        responses.extend(more);
    }
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
    Ok(Reference::new(first, head, checks, request, closer))
}

/// Sends a request of another protocol several times, and makes its response the reference. It ends
/// when nothing more is received for a while.
fn fetch_text_reference(
    plan: &Plan,
    request: &Request,
    control: &Control,
) -> Result<Reference, ProbeError> {
    let fetch = |_| Probe::new(plan, request, control)?.fetch_text();
    let responses: Vec<Received> = (0..LEARNING_REQUESTS).map(fetch).collect::<Result<_, _>>()?;
    let first = &responses[0];
    if let Some(other) = responses.iter().find(|it| it.bytes != first.bytes) {
        let excerpt =
            |bytes: &[u8]| bytes[..bytes.len().min(EXCERPT_BYTES)].escape_ascii().to_string();
        return Err(ProbeError::Response(format!(
            "the response to --message differs from time to time: `{}`, then `{}`. Use a message \
             with a fixed response.",
            excerpt(&first.bytes),
            excerpt(&other.bytes)
        )));
    }
    let is_closed = responses.iter().all(|it| it.is_closed);
    let closer = if is_closed { Closer::Server } else { Closer::Client };
    Ok(Reference::of_text(first.bytes.clone(), request, closer))
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
    request: &'run Request,
    control: &'run Control,
    stream: TcpStream,
    buffer: Vec<u8>,
    response: Received,
}

impl<'run> Probe<'run> {
    fn new(
        plan: &'run Plan,
        request: &'run Request,
        control: &'run Control,
    ) -> Result<Self, ProbeError> {
        let stream = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
        stream.set_nonblocking(true)?;
        let (buffer, response) = (vec![0; 64 * 1024], Received::default());
        Ok(Self { plan, request, control, stream, buffer, response })
    }

    fn fetch(mut self) -> Result<Received, ProbeError> {
        let deadline = Instant::now() + self.plan.timeout;
        let (bytes, body_bytes) = (self.request.bytes(), self.request.body_bytes());
        let mut is_complete = false;
        if self.request.expects_continue() {
            let (head, body) = bytes.split_at(bytes.len() - body_bytes);
            self.send(head, deadline)?;
            is_complete = self.receive(Instant::now() + CONTINUE_TIMEOUT, true)?;
            if !is_complete {
                self.send(body, deadline)?;
            }
        } else {
            self.send(bytes, deadline)?;
        }
        if !is_complete && !self.receive(deadline, false)? {
            return Err(self.incomplete());
        }
        self.wait_for_close()?;
        Ok(self.response)
    }

    fn fetch_text(mut self) -> Result<Received, ProbeError> {
        let mut deadline = Instant::now() + self.plan.timeout;
        self.send(self.request.bytes(), deadline)?;
        while let Some(count) = self.read_before(deadline)? {
            self.response.is_closed = count == 0;
            if count == 0 {
                break;
            }
            self.response.bytes.extend_from_slice(&self.buffer[..count]);
            if self.response.bytes.len() > MAX_RESPONSE_BYTES {
                return Err(ProbeError::Response(
                    "the response to --message has no end".to_owned(),
                ));
            }
            deadline = Instant::now() + QUIET_TIME;
        }
        let is_persistent = self.plan.lifetime.is_persistent();
        let problem = match (self.response.bytes.is_empty(), self.response.is_closed) {
            (true, true) => "the server closed the connection without a response to --message.",
            (true, false) => {
                "no response to --message before the --timeout. Does it have the end that the \
                 protocol needs, such as \\r\\n?"
            }
            (false, true) if is_persistent => {
                "the server closed the connection after its response. Use --load crr."
            }
            (false, _) => return Ok(self.response),
        };
        Err(self.problem(problem))
    }

    /// Sends bytes. A server may respond before it has received all of them.
    fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), ProbeError> {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if is_retried(&error) => {
                    let ready = self.wait(PollFlags::OUT | PollFlags::IN, deadline)?;
                    if ready.is_empty() {
                        return Err(self.problem(format_args!(
                            "the server received only a part of the request, {sent} of {} bytes, \
                             within {}. Try a shorter --body.",
                            bytes.len(),
                            super::units::duration(self.plan.timeout)
                        )));
                    }
                    if ready.contains(PollFlags::IN) && self.receive_early()? {
                        return Err(self.early("its response was complete"));
                    }
                }
                Err(error) => {
                    let _ = self.receive(Instant::now() + CLOSE_TIMEOUT, false);
                    return Err(match self.response.bytes.is_empty() {
                        true => error.into(),
                        false => self.early(error),
                    });
                }
            }
        }
        Ok(())
    }

    /// Receives what is there while the request is being sent. Returns true if that completes the
    /// response.
    fn receive_early(&mut self) -> Result<bool, ProbeError> {
        let count = match self.stream.read(&mut self.buffer) {
            Ok(0) => return Err(self.ended()),
            Ok(count) => count,
            Err(error) if is_retried(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if self.request.is_text() {
            self.response.bytes.extend_from_slice(&self.buffer[..count]);
            return Ok(false);
        }
        match self.response.on_bytes(&self.buffer[..count], self.request.is_head()) {
            Ok(progress) => Ok(progress != Progress::Partial),
            Err(malformed) => Err(self.problem(malformed)),
        }
    }

    fn early(&self, reason: impl fmt::Display) -> ProbeError {
        self.problem(format_args!(
            "the server responded before it had received the whole request ({reason}). Try a \
             shorter --body, or --expect-continue."
        ))
    }

    /// Receives up to the end of the response, or of 100 Continue. Returns true for the former, and
    /// false also after the deadline.
    fn receive(&mut self, deadline: Instant, ends_at_continue: bool) -> Result<bool, ProbeError> {
        loop {
            let count = match self.read_before(deadline)? {
                None => return Ok(false),
                Some(0) if self.response.ends_with_connection() => {
                    self.response.is_closed = true;
                    return Ok(true);
                }
                Some(0) => return Err(self.ended()),
                Some(count) => count,
            };
            match self.response.on_bytes(&self.buffer[..count], self.request.is_head()) {
                Ok(Progress::Partial) if self.response.bytes.len() > MAX_RESPONSE_BYTES => {
                    let problem = format!("the response has more than {MAX_RESPONSE_BYTES} bytes");
                    return Err(ProbeError::Response(problem));
                }
                Ok(Progress::Partial) if ends_at_continue => {
                    if self.response.continue_end.is_some() {
                        return Ok(false);
                    }
                }
                Ok(Progress::Partial) => {}
                Ok(Progress::Complete { extra: 0 }) => return Ok(true),
                Ok(Progress::Complete { extra }) => return Err(self.too_long(extra)),
                Err(malformed) => return Err(self.problem(malformed)),
            }
        }
    }

    /// Waits for the end of a connection that the server is to close.
    fn wait_for_close(&mut self) -> Result<(), ProbeError> {
        let announces = self.response.head().is_some_and(|head| head.closes);
        let timeout = match self.plan.close {
            _ if self.plan.lifetime.is_persistent() || self.response.is_closed => return Ok(()),
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

    /// Receives some bytes. Returns `None` after the deadline, also if bytes arrive all the time.
    fn read_before(&mut self, deadline: Instant) -> Result<Option<usize>, ProbeError> {
        while !self.wait(PollFlags::IN, deadline)?.is_empty() {
            match self.stream.read(&mut self.buffer) {
                Err(error) if is_retried(&error) => {}
                read => return Ok(Some(read?)),
            }
        }
        Ok(None)
    }

    /// Waits until the socket is ready. Returns no event after the deadline.
    fn wait(&self, events: PollFlags, deadline: Instant) -> Result<PollFlags, ProbeError> {
        loop {
            if self.control.is_stopped() {
                return Err(ProbeError::Stopped);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(PollFlags::empty());
            }
            let interval = left.min(STOP_CHECK_INTERVAL);
            let timeout = Timespec::try_from(interval).expect("a short time");
            let mut polled = [PollFd::new(&self.stream, events)];
            match poll(&mut polled, Some(&timeout)) {
                Ok(0) | Err(Errno::INTR) => {}
                // An error of the socket is returned by the next call.
                Ok(_) => return Ok(polled[0].revents()),
                Err(errno) => return Err(io::Error::from(errno).into()),
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

/// Returns true for EAGAIN and EINTR.
fn is_retried(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
