//! Running a plan: sets CPUs and the descriptor limit, runs the threads, and merges their results.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::control::Control;
use super::event_loop::{EventLoop, ThreadMeasurement};
use super::failures::{FailureKind, RequestFailure};
use super::message::{Direction, Pattern};
use super::outcome::{EndedBy, Outcome};
use super::pacing::{Pace, Share};
use super::payload::{Payload, Payloads};
use super::plan::{Expected, Plan};
use super::pool::ConnectionPool;
use super::probe::{self, ProbeError};
use super::response::Reference;

/// Descriptors of a thread in addition to its connections: epoll and timer.
const DESCRIPTORS_PER_THREAD: u64 = 2;

/// Descriptors for standard streams and other files, and a reserve.
const SPARE_DESCRIPTORS: u64 = 32;

/// An error that prevents a run.
#[derive(Debug)]
pub enum LoadError {
    /// The plan is invalid.
    Plan(String),
    /// The first request got no response that can be the reference.
    FirstResponse(std::net::SocketAddr, ProbeError),
    /// The first message got no correct echo, or was not taken or sent by the server.
    FirstMessage {
        /// The address of the server.
        target: std::net::SocketAddr,
        /// The direction of a stream.
        direction: Option<Direction>,
        /// The failure.
        failure: RequestFailure,
    },
    /// The descriptor limit is too low.
    Descriptors {
        /// Number of descriptors needed.
        needed: u64,
        /// The hard limit.
        limit: u64,
    },
    /// A system call that the client needs failed.
    System {
        /// The action that failed.
        purpose: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(message) => formatter.write_str(message),
            Self::FirstResponse(target, error) => {
                write!(formatter, "first request to {target}: {error}")
            }
            Self::FirstMessage { target, direction, failure } => {
                let problem = match direction {
                    Some(Direction::Send) => "the server did not take it. Use a discard server",
                    Some(Direction::Recv) => "no message arrived. Use a chargen server (RFC 864)",
                    Some(Direction::Both) | None => "no echo of it. Use an echo server (RFC 862)",
                };
                write!(
                    formatter,
                    "first message to {target}: {problem}, or --load churn or keep-alive for an \
                     HTTP server. Cause: {failure}"
                )
            }
            Self::Descriptors { needed, limit } => write!(
                formatter,
                "the load needs {needed} file descriptors, but the limit is {limit}. Raise it \
                 (`ulimit -n`), or use fewer connections."
            ),
            Self::System { purpose, errno } => {
                write!(formatter, "cannot {purpose}: {}", std::io::Error::from(*errno))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Sends the requests of the plan and returns their responses as references, or returns those of
/// [`Expected::Known`]. [`run`] calls this itself.
///
/// # Errors
/// Fails if no response arrives, or one that contradicts the plan.
pub fn fetch_references(plan: &Plan, control: &Control) -> Result<Arc<[Reference]>, LoadError> {
    let body_bytes = match &plan.expected {
        Expected::Known(references) => return Ok(Arc::clone(references)),
        Expected::FirstResponse { body_bytes } => *body_bytes,
    };
    let failed = |error| LoadError::FirstResponse(plan.target, error);
    probe::fetch_references(plan, body_bytes, control).map(Arc::from).map_err(failed)
}

/// Fails unless the server echoes one message, or takes or sends one of a stream.
///
/// # Errors
/// As [`run`], and if the message fails.
pub fn probe_with_message(plan: &Plan, control: &Control) -> Result<(), LoadError> {
    let plan = Plan {
        pace: Pace::ClosedLoop,
        burst: None,
        connections: 1,
        idle: 0,
        requests: Some(1),
        warm_up: Duration::ZERO,
        threads: 1,
        ..plan.clone()
    };
    let outcome = run(&plan, control)?;
    let first = FailureKind::ALL.into_iter().find_map(|it| outcome.failures.first(it));
    let (target, direction) = (plan.target, plan.request.direction());
    first.map_or(Ok(()), |failure| Err(LoadError::FirstMessage { target, direction, failure }))
}

/// Runs a load on its own threads and waits for them. Failed requests are counted in the outcome.
/// When it returns, every request has ended, unless the run was stopped.
///
/// # Errors
/// Fails if the load cannot start, or if a system call that the client needs fails.
pub fn run(plan: &Plan, control: &Control) -> Result<Outcome, LoadError> {
    run_with_pool(plan, control, &ConnectionPool::new())
}

/// Runs a load on the persistent connections that an earlier run to the same server left in
/// `pool`, and returns those that are open at its end to the pool.
///
/// # Errors
/// As [`run`].
pub fn run_with_pool(
    plan: &Plan,
    control: &Control,
    pool: &ConnectionPool,
) -> Result<Outcome, LoadError> {
    plan.check().map_err(LoadError::Plan)?;
    reserve_descriptors(plan)?;
    pool.start_run();
    if let Some(bytes) = plan.request.message_bytes() {
        let direction = plan.request.direction().unwrap_or(Direction::Both);
        let pattern = match direction {
            Direction::Recv => Pattern::chargen(),
            Direction::Send | Direction::Both => Pattern::random(),
        };
        let payload = Payload::Messages { bytes, direction, pattern: &pattern };
        let payloads = Payloads { first: payload, list: None };
        let parts = run_threads(plan, payloads, control, pool)?;
        return Ok(merge(plan, control, Arc::new([]), &parts));
    }
    let references = fetch_references(plan, control)?;
    let payloads = Payloads {
        first: Payload::Http { request: &plan.request, reference: &references[0] },
        list: plan.list.as_deref().map(|list| (list, &references[..])),
    };
    let parts = run_threads(plan, payloads, control, pool)?;
    Ok(merge(plan, control, references, &parts))
}

/// Runs the threads. The measured phase starts when all have ended their warm-up.
fn run_threads(
    plan: &Plan,
    payloads: Payloads<'_>,
    control: &Control,
    pool: &ConnectionPool,
) -> Result<Vec<ThreadMeasurement>, LoadError> {
    let count = plan.threads as u64;
    thread::scope(|scope| {
        let (ready_sender, ready) = mpsc::channel();
        let spawn = |index| {
            let (start_sender, start) = mpsc::channel();
            let signal = StartSignal { ready: ready_sender.clone(), start };
            let share = Share { index, count };
            let task = ThreadTask { plan, payloads, control, pool, share };
            let thread = thread::Builder::new().name(format!("load {index}"));
            let spawned = thread.spawn_scoped(scope, move || task.run(signal));
            spawned.map(|thread| (thread, start_sender)).map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                LoadError::System { purpose: "start a thread", errno }
            })
        };
        // If one thread cannot start, the senders of the others are dropped, which ends them.
        let threads: Vec<_> = (0..count).map(spawn).collect::<Result<_, _>>()?;
        drop(ready_sender);
        if ready.iter().count() == threads.len() {
            control.set_measuring();
            for (_, start_sender) in &threads {
                // A thread that has ended reports its error when it is joined.
                let _ = start_sender.send(());
            }
        }
        let join = |(thread, start_sender): (ScopedJoinHandle<'_, _>, _)| {
            drop(start_sender);
            thread.join().expect("a load thread does not panic")
        };
        // All threads are joined before the first error is returned.
        let results: Vec<Result<_, _>> = threads.into_iter().map(join).collect();
        results.into_iter().collect()
    })
}

/// Synchronizes the start of the measured phase.
struct StartSignal {
    /// Sends one message after the warm-up.
    ready: mpsc::Sender<()>,
    start: mpsc::Receiver<()>,
}

/// The work of one thread.
#[derive(Clone, Copy)]
struct ThreadTask<'run> {
    plan: &'run Plan,
    payloads: Payloads<'run>,
    control: &'run Control,
    pool: &'run ConnectionPool,
    share: Share,
}

impl ThreadTask<'_> {
    fn run(self, signal: StartSignal) -> Result<ThreadMeasurement, LoadError> {
        let Self { plan, payloads, control, pool, share } = self;
        let failed = |purpose| move |errno| LoadError::System { purpose, errno };
        pin(&plan.cpus).map_err(failed("pin the client to its CPUs"))?;
        let event_loop = EventLoop::new(plan, payloads, control, pool, share);
        let mut event_loop = event_loop.map_err(failed("create the event loop"))?;
        let warm_up = event_loop.warm_up().map_err(failed("run the warm-up"))?;
        // Sending fails only if another thread has failed, which is reported.
        let _ = signal.ready.send(());
        drop(signal.ready);
        let others_failed = |_| failed("start without the other threads")(Errno::CANCELED);
        signal.start.recv().map_err(others_failed)?;
        event_loop.measure(warm_up).map_err(failed("run the load"))
    }
}

pub(super) fn pin(cpus: &[usize]) -> Result<(), Errno> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        if cpu >= CpuSet::MAX_CPU {
            return Err(Errno::INVAL);
        }
        set.set(cpu);
    }
    sched_setaffinity(None, &set)
}

/// Raises the soft limit on file descriptors to the hard limit. Errors are ignored: descriptors
/// that are missing later cause errors of their own.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Raises the soft limit on file descriptors if the plan needs it.
fn reserve_descriptors(plan: &Plan) -> Result<(), LoadError> {
    let connections = (plan.connections + plan.idle) as u64;
    let threads = plan.threads as u64 * DESCRIPTORS_PER_THREAD;
    let needed = connections + threads + SPARE_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if limit.maximum.is_some_and(|maximum| maximum < needed)
        || setrlimit(Resource::Nofile, raised).is_err()
    {
        let limit = limit.maximum.or(limit.current).unwrap_or(0);
        return Err(LoadError::Descriptors { needed, limit });
    }
    Ok(())
}

fn merge(
    plan: &Plan,
    control: &Control,
    references: Arc<[Reference]>,
    parts: &[ThreadMeasurement],
) -> Outcome {
    let (first, others) = parts.split_first().expect("a plan has at least one thread");
    let mut all = first.tally.clone();
    let mut warm_up_failures = first.warm_up.failures.clone();
    let (mut client_cpu, mut idle) = (first.client_cpu, first.idle);
    for part in others {
        all.add(&part.tally);
        warm_up_failures.add(&part.warm_up.failures);
        client_cpu.add(&part.client_cpu);
        idle.requested += part.idle.requested;
        idle.opened += part.idle.opened;
        idle.closed_by_server += part.idle.closed_by_server;
    }
    let ended_by = ended_by(plan, control, all.started + all.failures.not_sent());
    let uncorrected = all.uncorrected;
    let (corrected, scheduling_delay) = match all.open_loop {
        Some(open_loop) => (open_loop.corrected, open_loop.scheduling_delay),
        None => (uncorrected.clone(), super::outcome::new_latencies()),
    };
    Outcome {
        references,
        began: first.began,
        duration: duration(ended_by, all.last_response_ns, parts),
        ended_by,
        started: all.started,
        completed: all.completed,
        failures: all.failures,
        warm_up_failures,
        unfinished: all.unfinished,
        connections_opened: all.connections_opened,
        connections_closed_by_server: all.connections_closed_by_server,
        interim_responses: all.interim_responses,
        continues: all.continues,
        bytes_sent: all.bytes_sent,
        bytes_received: all.bytes_received,
        corrected,
        uncorrected,
        scheduling_delay,
        intervals: all.intervals,
        max_in_flight: all.max_in_flight,
        idle,
        source_addresses: parts.iter().map(|part| part.source_addresses).max().unwrap_or(1),
        client_cpu,
    }
}

fn ended_by(plan: &Plan, control: &Control, due: u64) -> EndedBy {
    if control.is_stopped() {
        EndedBy::Stop
    } else if plan.duration.is_none() && plan.requests.is_some_and(|requests| due < requests) {
        EndedBy::TimeLimit
    } else {
        EndedBy::Plan
    }
}

/// The wait for missing responses at the end is not part of the duration.
fn duration(ended_by: EndedBy, last_response_ns: u64, parts: &[ThreadMeasurement]) -> Duration {
    let ended_ns = parts.iter().map(|part| part.ended_ns).max().unwrap_or(0);
    let planned_ns = parts.iter().filter_map(|part| part.planned_end_ns).max();
    Duration::from_nanos(match (ended_by, planned_ns) {
        (EndedBy::Stop, _) => ended_ns,
        (_, Some(planned_ns)) => planned_ns.max(last_response_ns),
        (_, None) if last_response_ns > 0 => last_response_ns,
        (_, None) => ended_ns,
    })
}
