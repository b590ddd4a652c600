//! The first request of a run: it shows whether anybody answers there, and what.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::answer::{Reference, Unfit};
use super::control::Control;
use super::plan::Plan;

/// The longest answer that can be held against others.
const LONGEST_ANSWER_BYTES: usize = 256 * 1024 * 1024;

/// How often a stop is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Why the first request brought no answer to hold the others against.
#[derive(Debug)]
pub enum ProbeError {
    /// Nobody answers there, or not for long.
    Connection(io::Error),
    /// It took longer than a request may take.
    Timeout,
    /// The run was stopped meanwhile.
    Stopped,
    /// The answer is longer than any that is taken.
    TooLong,
    /// The answer contradicts itself, or the plan.
    Unfit(Unfit),
}

impl fmt::Display for ProbeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(formatter),
            Self::Timeout => formatter.write_str("no end of an answer in time"),
            Self::Stopped => formatter.write_str("stopped before the first answer"),
            Self::TooLong => {
                write!(formatter, "the answer has more than {LONGEST_ANSWER_BYTES} bytes")
            }
            Self::Unfit(unfit) => unfit.fmt(formatter),
        }
    }
}

impl From<Unfit> for ProbeError {
    fn from(unfit: Unfit) -> Self {
        Self::Unfit(unfit)
    }
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        if is_timeout(&error) { Self::Timeout } else { Self::Connection(error) }
    }
}

/// Asks once, and takes the answer as the right one. Where connections persist it asks twice, the
/// second time for the end of the connection.
pub(super) fn learn(
    plan: &Plan,
    body_bytes: Option<u64>,
    control: &Control,
) -> Result<Reference, ProbeError> {
    let ask = |request: &[u8]| {
        let answer = ask(plan, request, control)?;
        if plan.life.is_persistent() && Reference::length_of(&answer)?.is_none() {
            return Err(ProbeError::Unfit(Unfit::NoLength));
        }
        Ok(Reference::learn(answer, body_bytes)?)
    };
    let reference = ask(plan.request.bytes())?;
    match plan.request.closing().filter(|_| plan.life.is_persistent()) {
        Some(closing) => Ok(reference.with_last(ask(closing)?)?),
        None => Ok(reference),
    }
}

/// Asks, and reads the whole answer: up to the end of its connection, or, where that may persist,
/// for as long as its head says.
fn ask(plan: &Plan, request: &[u8], control: &Control) -> Result<Vec<u8>, ProbeError> {
    let deadline = Instant::now() + plan.timeout;
    let mut stream = TcpStream::connect_timeout(&plan.target, plan.timeout)?;
    stream.set_write_timeout(Some(plan.timeout))?;
    stream.set_read_timeout(Some(LOOK.min(plan.timeout)))?;
    stream.write_all(request)?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    let mut length = None;
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            // A signal may ask for the stop; and a read that has a time limit is not begun anew by
            // the kernel, whatever it was for which the thread was held up.
            Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        if plan.life.is_persistent() && length.is_none() {
            length = Reference::length_of(&answer)?;
        }
        if length.is_some_and(|length| answer.len() >= length) {
            return Ok(answer);
        } else if answer.len() > LONGEST_ANSWER_BYTES {
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
