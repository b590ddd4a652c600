//! One heat: the servers of a working point are started and warmed up, have the load in turn, a
//! slice of time each, and are stopped.
//!
//! Each round has a server process of its own. So what the server counts is this round's, what
//! one process happens to be laid out like in memory does not colour all rounds of its arm, and
//! nothing is left over from the round before. The slices are short because the machine's speed
//! changes within seconds: rounds that follow each other differ by more than arms do.

use std::cell::Cell;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::arm::{Contestant, Program};
use super::client::{Client, Pace, Seen};
use super::machine::{CpuTicks, throttled_ns};
use super::process_use::Sample;
use super::schedule::{Entrant, Heat};
use super::server_process::{OwnProgram, ServerProcess};
use super::summary::latency_of;
use crate::failure::Failure;
use crate::report::result::{
    Failures, LatencyPair, ListenerState, MachineUse, Placement, Point, Round, ServerUse,
};

/// How long a slice is at the fixed rate, unless the load needs longer.
const SLICE: Duration = Duration::from_millis(25);

/// At saturation, where a slice begins and ends with less than all connections under way.
const SATURATED_SLICE: Duration = Duration::from_millis(100);

/// How long a server has the load before each of its slices: it pays for the caches that the one
/// before has left cold.
const LEAD_IN: Duration = Duration::from_millis(5);

/// For how long a server that nobody asks is watched, and how much of a processor it may use.
const WATCHED_AT_REST: Duration = Duration::from_millis(100);
const BUSY_AT_REST: f64 = 0.05;

/// All that rounds have in common.
pub struct Course<'run> {
    /// Those that are compared.
    pub contestants: &'run [Contestant],
    /// Our own program.
    pub own_program: &'run OwnProgram,
    /// Where server and client run.
    pub placement: &'run Placement,
    /// The load.
    pub client: &'run dyn Client,
    /// How long a server is under load before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Whether somebody has asked for the end.
    pub interrupted: &'run AtomicBool,
    /// For each arm, whether its server uses the processor while nobody asks it anything.
    pub restless: Vec<Cell<bool>>,
}

/// What all slices of a heat share.
#[derive(Clone, Copy)]
struct Slices {
    pace: Pace,
    length: Duration,
    lead_in: Duration,
}

impl Course<'_> {
    /// How long a slice is, and how many make a round.
    pub fn slices(&self, point: Point) -> (Duration, usize) {
        let length = match point {
            Point::FixedRate => SLICE,
            Point::Saturated => SATURATED_SLICE,
        };
        let length = length.max(self.client.shortest()).min(self.duration);
        (length, (self.duration.as_secs_f64() / length.as_secs_f64()).round().max(1.0) as usize)
    }

    /// Runs a heat; a round for each entrant, or none of it if it was interrupted. `rate` is the
    /// offered rate at the fixed working point.
    ///
    /// # Errors
    /// When a server does not start or does not end as it should, or the load cannot run.
    pub fn run(
        &self,
        heat: &Heat,
        block: usize,
        rate: f64,
        began: Instant,
    ) -> Result<Vec<Round>, Failure> {
        let length = self.slices(heat.point).0;
        let pace = match heat.point {
            Point::FixedRate => Pace::RequestsPerSecond(rate),
            Point::Saturated => Pace::AsFastAsAnswered,
        };
        let slices = Slices { pace, length, lead_in: LEAD_IN.max(self.client.shortest()) };
        let mut lanes = Vec::with_capacity(heat.entrants.len());
        for &entrant in &heat.entrants {
            lanes.push(self.lane(entrant, pace)?);
        }
        let before = Surroundings::of(self.placement);
        let started_at_seconds = began.elapsed().as_secs_f64();
        for order in &heat.orders {
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            for &place in order {
                self.slice(&mut lanes[place], slices)?;
            }
        }
        let used = lanes.iter().map(|lane| lane.all_cpu_ns()).sum();
        let machine = Surroundings::of(self.placement).since(&before, used);
        let ended = lanes.into_iter().map(|lane| {
            let (point, slices) = (heat.point, heat.orders.len());
            Ok(Round { point, block, started_at_seconds, slices, ..self.ended(lane, machine)? })
        });
        ended.collect()
    }

    /// Starts a server, and puts it under load until it is warm.
    fn lane(&self, entrant: Entrant, pace: Pace) -> Result<Lane<'_>, Failure> {
        let contestant = &self.contestants[entrant.arm];
        let server = ServerProcess::start(contestant, self.own_program, self.placement)?;
        let mut lane = Lane {
            entrant,
            contestant,
            idle: Vec::new(),
            listener: ListenerState::default(),
            warm: Sample::default(),
            used: ServerUse::default(),
            seen: Seen::default(),
            rests: self.restless[entrant.arm].get(),
            server,
        };
        let opened = self.client.open_idle(lane.server.address);
        lane.idle = opened.map_err(|problem| lane.failed(problem))?;
        self.put_load_on(&lane, pace, self.warm_up)?;
        lane.warm = lane.sample();
        lane.rest(true);
        Ok(lane)
    }

    fn put_load_on(&self, lane: &Lane, pace: Pace, length: Duration) -> Result<Seen, Failure> {
        let address = lane.server.address;
        let seen = self.client.run(lane.entrant.arm, address, pace, length);
        seen.map_err(|problem| lane.failed(problem))
    }

    fn slice(&self, lane: &mut Lane, slices: Slices) -> Result<(), Failure> {
        lane.rest(false);
        self.put_load_on(lane, slices.pace, slices.lead_in)?;
        // The kernel counts what listeners lose for all of a namespace, so for whose turn it is.
        let listeners = ListenerState::of(lane.server.id());
        let before = lane.sample();
        let seen = self.put_load_on(lane, slices.pace, slices.length)?;
        lane.used.add(lane.sample().since(&before));
        lane.listener.add(ListenerState::of(lane.server.id()).since(listeners));
        lane.rest(true);
        lane.seen.add(seen);
        Ok(())
    }

    fn ended(&self, mut lane: Lane, mut machine: MachineUse) -> Result<Round, Failure> {
        lane.rest(false);
        machine.listener = lane.listener;
        count_lost(&lane.idle, &mut lane.seen.failures);
        lane.idle.clear();
        self.client.leave(lane.server.address);
        let report = lane.server.stop()?;
        let (seen, mut used) = (lane.seen, lane.used);
        let threads = self.threads_of(lane.contestant) as f64;
        used.busy = used.cpu_ns as f64 / (seen.duration.as_nanos() as f64 * threads);
        let latency = seen.latencies.map(|(corrected, uncorrected)| LatencyPair {
            corrected: latency_of(&corrected),
            uncorrected: latency_of(&uncorrected),
        });
        Ok(Round {
            arm: lane.entrant.arm,
            control: lane.entrant.control,
            // Whoever ran it knows when and where.
            point: Point::FixedRate,
            block: 0,
            started_at_seconds: 0.0,
            slices: 0,
            backend: report.as_ref().map(|report| report.backend.clone()),
            duration_ns: seen.duration.as_nanos() as u64,
            requests: seen.requests,
            failures: seen.failures,
            latency: latency.unwrap_or_default(),
            server: used,
            counters: report.map(|report| report.counters),
            client: seen.used,
            machine,
        })
    }

    /// Finds out whether the server of an arm keeps a processor busy while nobody asks: one that
    /// polls would slow the others down in their slices.
    ///
    /// # Errors
    /// When it does not run.
    pub fn watch_at_rest(&self, arm: usize) -> Result<(), Failure> {
        let lane = self.lane(Entrant { arm, control: false }, Pace::AsFastAsAnswered)?;
        let before = lane.sample();
        let began = Instant::now();
        sleep(WATCHED_AT_REST);
        let used = lane.sample().since(&before).cpu_ns as f64;
        let busy = used / began.elapsed().as_nanos() as f64;
        self.restless[arm].set(busy > BUSY_AT_REST);
        self.client.leave(lane.server.address);
        lane.server.stop().map(drop)
    }

    /// How many processors a server can use at once.
    fn threads_of(&self, contestant: &Contestant) -> usize {
        let cpus = self.placement.server_cpus.len();
        match contestant.program {
            Program::Engine { workers, .. } => workers.min(cpus),
            Program::Command(_) => cpus,
        }
    }
}

/// A server in a heat, and what is known of it so far.
struct Lane<'run> {
    entrant: Entrant,
    contestant: &'run Contestant,
    server: ServerProcess,
    idle: Vec<TcpStream>,
    listener: ListenerState,
    warm: Sample,
    used: ServerUse,
    seen: Seen,
    /// Whether it is stopped between its slices.
    rests: bool,
}

impl Lane<'_> {
    fn failed(&self, problem: String) -> Failure {
        let label = &self.contestant.description.label;
        Failure::Run(format!("ringpoll compare: arm {label}: the load: {problem}"))
    }

    fn sample(&self) -> Sample {
        Sample::take(self.server.id(), self.server.has_family())
    }

    /// What it has used since it was warm, in and between its slices.
    fn all_cpu_ns(&self) -> u64 {
        self.sample().since(&self.warm).cpu_ns
    }

    fn rest(&self, rest: bool) {
        if self.rests {
            self.server.rest(rest);
        }
    }
}

/// Idle connections that the server has closed are no longer beside the load.
fn count_lost(idle: &[TcpStream], failures: &mut Failures) {
    let is_lost = |stream: &&TcpStream| {
        let _ = stream.set_nonblocking(true);
        !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let lost = idle.iter().filter(is_lost).count() as u64;
    if lost > 0 {
        failures.other += lost;
        failures.example.get_or_insert_with(|| {
            format!("{lost} idle connections were closed; see deadlines.idle_timeout_ms")
        });
    }
}

/// What the machine as a whole has counted, at a moment.
struct Surroundings {
    taken: Instant,
    both: CpuTicks,
    servers_cpus: CpuTicks,
    throttled_ns: u64,
}

impl Surroundings {
    fn of(placement: &Placement) -> Self {
        let cpus = [&placement.server_cpus[..], &placement.client_cpus[..]].concat();
        Self {
            taken: Instant::now(),
            both: CpuTicks::read(&cpus),
            servers_cpus: CpuTicks::read(&placement.server_cpus),
            throttled_ns: throttled_ns(),
        }
    }

    /// `used` is the CPU time of all servers in between.
    fn since(&self, before: &Self, used: u64) -> MachineUse {
        let servers_cpus = self.servers_cpus.since(before.servers_cpus);
        let wall = self.taken.duration_since(before.taken).as_nanos() as f64;
        MachineUse {
            stolen: self.both.since(before.both).stolen_share(),
            throttled_ns: self.throttled_ns.saturating_sub(before.throttled_ns),
            // Ticks are coarse, so the difference can be a little below nothing.
            server_cpus_others: (servers_cpus.busy_share() - used as f64 / wall).max(0.0),
            listener: ListenerState::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn idle_connections_that_were_closed_are_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let idle = [open(), open(), open()];
        let mut accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        let mut failures = Failures::default();
        count_lost(&idle, &mut failures);
        assert_eq!((failures.total(), failures.example.as_deref()), (0, None));
        accepted.pop();
        // Its FIN has come when this read ends.
        idle[2].set_nonblocking(false).unwrap();
        assert_eq!(idle[2].peek(&mut [0]).unwrap(), 0);
        count_lost(&idle, &mut failures);
        assert_eq!(failures.other, 1);
        assert!(failures.example.unwrap().contains("idle_timeout_ms"));
    }
}
