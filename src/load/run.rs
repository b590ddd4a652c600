//! A plan in, an outcome out: the threads, the processors and descriptors that they need, and
//! their parts put together.

use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::answer::Reference;
use super::control::Control;
use super::engine::{Engine, Measured};
use super::kept::KeptConnections;
use super::outcome::{EndedBy, Outcome};
use super::pacing::Share;
use super::plan::{Expected, Plan};
use super::probe::{self, ProbeError};

/// Descriptors that a thread needs beside its connections.
const DESCRIPTORS_OF_A_THREAD: u64 = 2;

/// Descriptors that are open in any program, and some to spare.
const DESCRIPTORS_TO_SPARE: u64 = 32;

/// Why there is no outcome.
#[derive(Debug)]
pub enum LoadError {
    /// The plan makes no sense.
    Plan(String),
    /// The first request brought no answer to hold the others against.
    FirstAnswer(std::net::SocketAddr, ProbeError),
    /// There are not enough descriptors.
    Descriptors {
        /// How many are needed.
        needed: u64,
        /// How many there can be.
        limit: u64,
    },
    /// The kernel refused what the client itself needs.
    System {
        /// For what.
        purpose: &'static str,
        /// How.
        errno: Errno,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(message) => formatter.write_str(message),
            Self::FirstAnswer(target, error) => {
                write!(formatter, "the first request to {target}: {error}")
            }
            Self::Descriptors { needed, limit } => write!(
                formatter,
                "{needed} descriptors are needed, the limit is {limit}; raise it (`ulimit -n`)"
            ),
            Self::System { purpose, errno } => {
                write!(formatter, "{purpose}: {}", std::io::Error::from(*errno))
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Asks once, and takes the answer as the right one. [`run`] does it by itself where the plan has
/// no [`Expected::Known`].
///
/// # Errors
/// When nobody answers there, or not with what the plan expects.
pub fn learn(plan: &Plan, control: &Control) -> Result<Arc<Reference>, LoadError> {
    let body_bytes = match &plan.expected {
        Expected::Known(reference) => return Ok(Arc::clone(reference)),
        Expected::FirstAnswer { body_bytes } => *body_bytes,
    };
    let failed = |error| LoadError::FirstAnswer(plan.target, error);
    probe::learn(plan, body_bytes, control).map(Arc::new).map_err(failed)
}

/// Puts a load on a server, on threads of its own, and waits for them. Requests that go wrong are
/// part of the outcome. Every request that was begun has ended when this returns, unless the run
/// was stopped.
///
/// # Errors
/// When it cannot begin, or the kernel refuses what the client itself needs.
pub fn run(plan: &Plan, control: &Control) -> Result<Outcome, LoadError> {
    run_on(plan, control, &KeptConnections::new())
}

/// The same on connections that persist from an earlier run to the same server, as far as there
/// are any, and lets those that are open at its end persist for the next one.
///
/// # Errors
/// As [`run`].
pub fn run_on(
    plan: &Plan,
    control: &Control,
    kept: &KeptConnections,
) -> Result<Outcome, LoadError> {
    plan.check().map_err(LoadError::Plan)?;
    allow_descriptors(plan)?;
    kept.begin_run();
    let reference = learn(plan, control)?;
    let parts = run_parts(plan, &reference, control, kept)?;
    Ok(put_together(plan, control, reference, &parts))
}

/// Runs a part on each thread, and lets them begin to measure together.
fn run_parts(
    plan: &Plan,
    reference: &Reference,
    control: &Control,
    kept: &KeptConnections,
) -> Result<Vec<Measured>, LoadError> {
    let of = plan.threads as u64;
    thread::scope(|scope| {
        let (is_ready, ready) = mpsc::channel();
        let begin = |nth| {
            let (begin, may_begin) = mpsc::channel();
            let gate = Gate { is_ready: is_ready.clone(), may_begin };
            let part = Part { plan, reference, control, kept, share: Share { nth, of } };
            let work = move || part.run(gate);
            let thread = thread::Builder::new().name(format!("load {nth}"));
            thread.spawn_scoped(scope, work).map(|thread| (thread, begin)).map_err(|error| {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                LoadError::System { purpose: "a thread for the load", errno }
            })
        };
        // If one cannot be had, the others find nobody who lets them begin, and end.
        let threads: Vec<_> = (0..of).map(begin).collect::<Result<_, _>>()?;
        drop(is_ready);
        if ready.iter().count() == threads.len() {
            control.set_measuring();
            for (_, begin) in &threads {
                // One that has ended meanwhile says why when it is joined.
                let _ = begin.send(());
            }
        }
        let end = |(thread, begin): (ScopedJoinHandle<'_, _>, _)| {
            drop(begin);
            thread.join().expect("no part panics")
        };
        // All are joined before the first error is told.
        let ended: Vec<Result<Measured, LoadError>> = threads.into_iter().map(end).collect();
        ended.into_iter().collect()
    })
}

/// Where the threads wait for each other between the warm-up and what is measured.
struct Gate {
    /// Told once, and dropped then.
    is_ready: mpsc::Sender<()>,
    may_begin: mpsc::Receiver<()>,
}

/// What one thread does.
#[derive(Clone, Copy)]
struct Part<'run> {
    plan: &'run Plan,
    reference: &'run Reference,
    control: &'run Control,
    kept: &'run KeptConnections,
    share: Share,
}

impl Part<'_> {
    fn run(self, gate: Gate) -> Result<Measured, LoadError> {
        let Self { plan, reference, control, kept, share } = self;
        let failed = |purpose| move |errno| LoadError::System { purpose, errno };
        pin(&plan.cpus).map_err(failed("to keep the client on its processors"))?;
        let engine = Engine::new(plan, reference, control, kept, share);
        let mut engine = engine.map_err(failed("to wait for connections"))?;
        let warm_up = engine.prepare().map_err(failed("the warm-up"))?;
        // Whoever listens has ended only if another part could not go on, and tells why.
        let _ = gate.is_ready.send(());
        drop(gate.is_ready);
        let others_failed = |_| failed("to begin, without the other threads")(Errno::CANCELED);
        gate.may_begin.recv().map_err(others_failed)?;
        engine.measure(warm_up).map_err(failed("the measurement"))
    }
}

fn pin(cpus: &[usize]) -> Result<(), Errno> {
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

/// Raises this process's soft limit of descriptors to its hard one. What is missing then shows
/// itself as an error.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Raises the soft limit as far as the plan needs it, if the hard one allows it.
fn allow_descriptors(plan: &Plan) -> Result<(), LoadError> {
    let connections = (plan.connections + plan.idle) as u64;
    let threads = plan.threads as u64 * DESCRIPTORS_OF_A_THREAD;
    let needed = connections + threads + DESCRIPTORS_TO_SPARE;
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

fn put_together(
    plan: &Plan,
    control: &Control,
    reference: Arc<Reference>,
    parts: &[Measured],
) -> Outcome {
    let (first, others) = parts.split_first().expect("there is one thread at least");
    let mut all = first.tally.clone();
    let mut warm_up_failures = first.warm_up.failures.clone();
    let (mut own_cost, mut idle) = (first.own_cost, first.idle);
    for part in others {
        all.add(&part.tally);
        warm_up_failures.add(&part.warm_up.failures);
        own_cost.add(&part.own_cost);
        idle.asked_for += part.idle.asked_for;
        idle.opened += part.idle.opened;
        idle.lost += part.idle.lost;
    }
    let ended_by = ended_by(plan, control, all.begun + all.failures.never_begun());
    let uncorrected = all.uncorrected;
    let (corrected, lateness) = match all.open_loop {
        Some(open_loop) => (open_loop.corrected, open_loop.lateness),
        None => (uncorrected.clone(), super::outcome::latencies()),
    };
    Outcome {
        reference,
        duration: duration(ended_by, all.last_answer_ns, parts),
        ended_by,
        begun: all.begun,
        completed: all.completed,
        failures: all.failures,
        warm_up_failures,
        unfinished: all.unfinished,
        connections_opened: all.connections_opened,
        connections_ended: all.connections_ended,
        bytes_sent: all.bytes_sent,
        bytes_received: all.bytes_received,
        corrected,
        uncorrected,
        lateness,
        most_under_way: all.most_under_way,
        idle,
        source_addresses: parts.iter().map(|part| part.source_addresses).max().unwrap_or(1),
        own_cost,
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

/// What is waited for at the end, because a server has not answered, is no part of it.
fn duration(ended_by: EndedBy, last_answer_ns: u64, parts: &[Measured]) -> Duration {
    let ended_ns = parts.iter().map(|part| part.ended_ns).max().unwrap_or(0);
    let planned_ns = parts.iter().filter_map(|part| part.planned_end_ns).max();
    Duration::from_nanos(match (ended_by, planned_ns) {
        (EndedBy::Stop, _) => ended_ns,
        (_, Some(planned_ns)) => planned_ns.max(last_answer_ns),
        (_, None) if last_answer_ns > 0 => last_answer_ns,
        (_, None) => ended_ns,
    })
}
