//! The request before a load, whose response becomes the reference.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::control::Control;
use super::plan::Plan;
use super::response::{Reference, ReferenceError};

/// The longest response that can be a reference.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;

/// Interval of checks for a stop request.
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// A failure of the request before the load.
#[derive(Debug)]
pub enum ProbeError {
    /// Connecting, sending or receiving failed.
    Connection(io::Error),
    /// The timeout of a request has passed.
    Timeout,
    /// The run was stopped.
    Stopped,
    /// The response is longer than the maximum.
    TooLong,
    /// The response contradicts itself or the plan.
    Reference(ReferenceError),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(formatter),
            Self::Timeout => formatter.write_str("the response was not complete in time"),
            Self::Stopped => formatter.write_str("stopped before the first response"),
            Self::TooLong => {
                write!(formatter, "the response has more than {MAX_RESPONSE_BYTES} bytes")
            }
            Self::Reference(error) => error.fmt(formatter),
        }
    }
}

impl From<ReferenceError> for ProbeError {
    fn from(error: ReferenceError) -> Self {
        Self::Reference(error)
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        if is_timeout(&error) { Self::Timeout } else { Self::Connection(error) }
    }
}

/// Sends a request and makes its response the reference. On persistent connections it sends a
/// second request, with `Connection: close`.
pub(super) fn fetch_reference(
    plan: &Plan,
    body_bytes: Option<u64>,
    control: &Control,
) -> Result<Reference, ProbeError> {
    let fetch = |request: &[u8]| {
        let response = fetch_response(plan, request, control)?;
        if plan.lifetime.is_persistent() && Reference::response_length(&response)?.is_none() {
            return Err(ProbeError::Reference(ReferenceError::NoContentLength));
        }
        Ok(Reference::new(response, body_bytes)?)
    };
    let reference = fetch(plan.request.bytes())?;
    match plan.request.closing().filter(|_| plan.lifetime.is_persistent()) {
        Some(closing) => Ok(reference.with_closing(fetch(closing)?)?),
        None => Ok(reference),
    }
}

/// Sends a request and reads the whole response: up to the end of the connection, or, on persistent
/// connections, the length given by its head.
fn fetch_response(plan: &Plan, request: &[u8], control: &Control) -> Result<Vec<u8>, ProbeError> {
    let deadline = Instant::now() + plan.timeout;
    let mut stream = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
    stream.set_write_timeout(Some(plan.timeout))?;
    stream.set_read_timeout(Some(STOP_CHECK_INTERVAL.min(plan.timeout)))?;
    stream.write_all(request)?;
    let (mut response, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let mut length = None;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(response),
            Ok(count) => response.extend_from_slice(&buffer[..count]),
            // EINTR: a signal, which may request the stop. With SO_RCVTIMEO, `recv` is not
            // restarted after a signal handler or SIGCONT (signal(7)).
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if plan.lifetime.is_persistent() && length.is_none() {
            length = Reference::response_length(&response)?;
        }
        if length.is_some_and(|length| response.len() >= length) {
            return Ok(response);
        } else if response.len() > MAX_RESPONSE_BYTES {
            return Err(ProbeError::TooLong);
        } else if control.is_stopped() {
            return Err(ProbeError::Stopped);
        } else if Instant::now() >= deadline {
            return Err(ProbeError::Timeout);
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
