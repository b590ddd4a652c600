//! One round: a server is started, warmed up, measured under load, and stopped.
//!
//! Each round has a server process of its own. So what the server counts is this round's, what
//! one process happens to be laid out like in memory does not colour all rounds of its arm, and
//! nothing is left over from the round before.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::arm::{Contestant, Program};
use super::client::{Client, Pace};
use super::machine::{CpuTicks, throttled_ns};
use super::process_use::Sample;
use super::schedule::Turn;
use super::server_process::{OwnProgram, ServerProcess};
use crate::failure::Failure;
use crate::report::result::{
    Failures, ListenerState, MachineUse, Placement, Point, Round, ServerUse,
};

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
}

impl Course<'_> {
    /// Runs one round. `rate` is the offered rate at the fixed working point.
    ///
    /// # Errors
    /// When a server does not start or does not end as it should, or the load cannot run.
    pub fn run(
        &self,
        turn: Turn,
        block: usize,
        rate: f64,
        began: Instant,
    ) -> Result<Round, Failure> {
        let pace = match turn.point {
            Point::FixedRate => Pace::RequestsPerSecond(rate),
            Point::Saturated => Pace::AsFastAsAnswered,
        };
        let contestant = &self.contestants[turn.arm];
        let label = &contestant.description.label;
        let server = ServerProcess::start(contestant, self.own_program, self.placement)?;
        let failed =
            |problem| Failure::Run(format!("ringpoll compare: arm {label}: the load: {problem}"));
        let put_load_on =
            |duration| self.client.run(turn.arm, server.address, pace, duration).map_err(failed);
        let idle = self.client.open_idle(server.address).map_err(failed)?;
        put_load_on(self.warm_up)?;

        let started_at_seconds = began.elapsed().as_secs_f64();
        let before = Snapshot::take(&server, self.placement);
        let mut seen = put_load_on(self.duration)?;
        let after = Snapshot::take(&server, self.placement);

        count_lost(&idle, &mut seen.failures);
        drop(idle);
        let report = server.stop()?;
        let (mut used, machine) = after.since(&before, seen.duration);
        let capacity = seen.duration.as_nanos() as f64 * self.threads_of(contestant) as f64;
        used.busy = used.cpu_ns as f64 / capacity;
        Ok(Round {
            arm: turn.arm,
            control: turn.control,
            point: turn.point,
            block,
            backend: report.as_ref().map(|report| report.backend.clone()),
            started_at_seconds,
            duration_ns: seen.duration.as_nanos() as u64,
            requests: seen.requests,
            failures: seen.failures,
            latency: seen.latency,
            server: used,
            counters: report.map(|report| report.counters),
            client: seen.used,
            machine,
        })
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

/// Everything that is counted outside of the client, at a moment.
struct Snapshot {
    taken: Instant,
    server: Sample,
    both: CpuTicks,
    servers_cpus: CpuTicks,
    throttled_ns: u64,
    listener: ListenerState,
}

impl Snapshot {
    fn take(server: &ServerProcess, placement: &Placement) -> Self {
        let cpus = [&placement.server_cpus[..], &placement.client_cpus[..]].concat();
        Self {
            taken: Instant::now(),
            server: Sample::take(server.id(), server.has_family()),
            both: CpuTicks::read(&cpus),
            servers_cpus: CpuTicks::read(&placement.server_cpus),
            throttled_ns: throttled_ns(),
            listener: ListenerState::of(server.id()),
        }
    }

    fn since(&self, before: &Self, measured: Duration) -> (ServerUse, MachineUse) {
        let used = self.server.since(&before.server);
        let servers_cpus = self.servers_cpus.since(before.servers_cpus);
        let wall = self.taken.duration_since(before.taken).max(measured).as_nanos() as f64;
        let machine = MachineUse {
            stolen: self.both.since(before.both).stolen_share(),
            throttled_ns: self.throttled_ns.saturating_sub(before.throttled_ns),
            // Ticks are coarse, so the difference can be a little below nothing.
            server_cpus_others: (servers_cpus.busy_share() - used.cpu_ns as f64 / wall).max(0.0),
            listener: self.listener.since(before.listener),
        };
        (used, machine)
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
