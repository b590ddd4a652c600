//! Runs a batch: starts and warms up one server instance of each arm, applies the load to one
//! instance at a time in short slices, and stops them.
//!
//! Each round starts a new server process. Its counters therefore belong to this round alone, and
//! the memory layout of one process does not bias all rounds of an arm (Mytkowicz et al.,
//! "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009). Slices are short
//! because the speed of a machine drifts within seconds, by more than arms differ.

use std::cell::{Cell, LazyCell, RefCell};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use perf_event::events::{Event, Tracepoint};

use super::arm::{PreparedArm, Program};
use super::client::{ClientMeasurement, LoadModel};
use super::kernel_counters::{HARDWARE, ThreadCounters};
use super::listener;
use super::load_client::LoadClient;
use super::machine::{CpuTicks, throttled_ns};
use super::process_usage::Sample;
use super::progress::Progress;
use super::schedule::{Batch, Instance};
use super::server_process::{RingpollExecutable, ServerProcess};
use super::summary::encode_latency;
use crate::failure::Failure;
use crate::load::Latencies;
use crate::result::{
    CpuPlacement, Failures, HardwareCounts, LatencyPair, LatencyPeriods, ListenerState, LoadLevel,
    MachineUsage, Metric, Round, ServerUsage, SystemCallCount,
};

/// The duration of a slice at the fixed rate, unless the load needs a longer one.
const FIXED_RATE_SLICE: Duration = Duration::from_millis(25);

/// The duration of a slice at saturation: longer, because fewer than all connections are in flight
/// while a closed loop starts and ends.
const SATURATION_SLICE: Duration = Duration::from_millis(100);

/// The least duration of the slice in which the system calls of another program are counted.
const COUNTED_SLICE: Duration = Duration::from_millis(100);

/// The load applied before each slice, unmeasured, to refill the caches after another instance ran.
const LEAD_IN: Duration = Duration::from_millis(5);

/// The number of requests slower than a percentile that a period must have on average.
const MIN_TAIL_REQUESTS: f64 = 1.0;

/// The duration of the idle observation of an arm.
const IDLE_OBSERVATION: Duration = Duration::from_millis(100);

/// The number of idle observations. A server that is busy in each of them polls.
const IDLE_OBSERVATIONS: usize = 3;

/// The highest share of a CPU that counts as idle.
const MAX_IDLE_BUSY: f64 = 0.05;

/// The time for which a server has no work after a stream: longer than another process keeps the
/// CPU of a server that has some.
const QUIET_TIME: Duration = Duration::from_millis(5);
/// The limit on the wait for it: the socket buffers of many connections can hold hundreds of MB.
const QUIET_TIMEOUT: Duration = Duration::from_secs(1);
/// The interval of the samples of this wait.
const QUIET_SAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// Runs batches; holds all that rounds have in common.
pub struct BatchRunner<'run> {
    /// The arms.
    pub arms: &'run [PreparedArm],
    /// The program of ringpoll arms.
    pub executable: &'run RingpollExecutable,
    /// The CPUs of server and client.
    pub placement: &'run CpuPlacement,
    /// The load.
    pub client: &'run LoadClient,
    /// The duration of the load on a new server before the measurement.
    pub warm_up: Duration,
    /// The measured duration of a round.
    pub duration: Duration,
    /// The tracepoint of system calls, or the reason why there is none.
    pub tracepoint: &'run LazyCell<Result<Tracepoint, String>>,
    /// The reason why instructions and cycles cannot be counted, if there is one.
    pub hardware_counters: &'run Result<(), String>,
    /// Set when a signal interrupts the comparison.
    pub interrupted: &'run AtomicBool,
    /// Set for each arm that uses the CPU while it has no requests.
    pub busy_when_idle: Vec<Cell<bool>>,
    /// The live view.
    pub progress: RefCell<Progress>,
}

/// The parameters of all slices of a batch.
#[derive(Clone, Copy)]
struct Slices {
    model: LoadModel,
    length: Duration,
    lead_in: Duration,
}

impl BatchRunner<'_> {
    /// Returns the duration of a slice, and the number of slices in a round. `rate` is the fixed
    /// rate in requests per second.
    pub fn slices(&self, level: LoadLevel, rate: f64) -> (Duration, usize) {
        let (length, rate) = match level {
            LoadLevel::FixedRate => (FIXED_RATE_SLICE, Some(rate)),
            LoadLevel::Saturation => (SATURATION_SLICE, None),
        };
        let length = length.max(self.client.min_slice()).min(self.duration);
        let due_together = self.client.requests_due_together();
        let length = rate.map_or(length, |rate| whole_intervals(length, rate, due_together));
        (length, (self.duration.as_secs_f64() / length.as_secs_f64()).round().max(1.0) as usize)
    }

    /// Runs a batch and returns a round for each instance; none if it was interrupted. `rate` is
    /// the fixed rate in requests per second.
    ///
    /// # Errors
    /// Returns a failure if a server does not start or stop properly, or the load cannot run.
    pub fn run(
        &self,
        batch: &Batch,
        block: usize,
        rate: f64,
        began: Instant,
    ) -> Result<Vec<Round>, Failure> {
        self.client.start_block(block);
        let length = self.slices(batch.load_level, rate).0;
        let model = match batch.load_level {
            LoadLevel::FixedRate => LoadModel::OpenLoop(rate),
            LoadLevel::Saturation => LoadModel::ClosedLoop,
        };
        let slices = Slices { model, length, lead_in: LEAD_IN.max(self.client.min_slice()) };
        let mut instances = Vec::with_capacity(batch.instances.len());
        for &id in &batch.instances {
            instances.push(self.start(id, model)?);
        }
        let before = MachineSample::of(self.placement);
        let started_at_seconds = began.elapsed().as_secs_f64();
        for order in &batch.slice_orders {
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(Vec::new());
            }
            for &index in order {
                self.run_slice(&mut instances[index], slices)?;
            }
        }
        let used = instances.iter().map(RunningInstance::cpu_since_warm_up_ns).sum();
        let machine = MachineSample::of(self.placement).since(&before, used);
        let (load_level, slice_count) = (batch.load_level, batch.slice_orders.len());
        let rounds = instances.into_iter().map(|instance| {
            let requests_per_slice = rate * length.as_secs_f64();
            let periods = periods(&instance.slices, requests_per_slice);
            let round = self.finish(instance, machine, slices)?;
            let slices = slice_count;
            Ok(Round { load_level, block, started_at_seconds, slices, periods, ..round })
        });
        rounds.collect()
    }

    /// Starts a server instance and applies the load for its warm-up.
    fn start(&self, id: Instance, model: LoadModel) -> Result<RunningInstance<'_>, Failure> {
        let arm = &self.arms[id.arm];
        self.progress.borrow_mut().update("starting", arm, model);
        let server = ServerProcess::start(arm, self.executable, self.placement)?;
        let mut instance = RunningInstance {
            id,
            arm,
            idle: Vec::new(),
            listener: ListenerState::default(),
            after_warm_up: Sample::default(),
            used: ServerUsage::default(),
            measured: ClientMeasurement::default(),
            was_quiet: true,
            slices_not_quiet: 0,
            slices: Vec::new(),
            pauses: self.busy_when_idle[id.arm].get(),
            server,
        };
        let opened = self.client.open_idle_connections(instance.server.address);
        instance.idle = opened.map_err(|problem| instance.load_failure(problem))?;
        self.run_load(&instance, model, self.warm_up)?;
        if self.client.is_stream() {
            let began = Instant::now();
            let end = instance.await_quiet();
            let busy = end.busy_until.duration_since(began);
            instance.was_quiet = end.is_quiet && busy < QUIET_TIMEOUT / 2;
        }
        instance.after_warm_up = instance.sample();
        instance.set_paused(true);
        Ok(instance)
    }

    fn run_load(
        &self,
        instance: &RunningInstance,
        model: LoadModel,
        length: Duration,
    ) -> Result<ClientMeasurement, Failure> {
        let address = instance.server.address;
        let measured = self.client.run(instance.id.arm, address, model, length);
        measured.map_err(|problem| instance.load_failure(problem))
    }

    fn run_slice(&self, instance: &mut RunningInstance, slices: Slices) -> Result<(), Failure> {
        self.progress.borrow_mut().update("measuring", instance.arm, slices.model);
        instance.set_paused(false);
        self.run_load(instance, slices.model, slices.lead_in)?;
        let is_stream = self.client.is_stream();
        let was_quiet = !is_stream || instance.await_quiet().is_quiet;
        // ListenOverflows and ListenDrops are counted per network namespace, not per socket, and
        // only this instance has the load.
        let listeners = ListenerState::read(instance.server.id());
        let (began, before) = (Instant::now(), instance.sample());
        let mut measured = self.run_load(instance, slices.model, slices.length)?;
        let after = if is_stream {
            let end = instance.await_quiet();
            // The server received or sent the last bytes in the time after the client's slice.
            measured.duration = end.busy_until.duration_since(began);
            instance.slices_not_quiet += usize::from(!(was_quiet && end.is_quiet));
            end.sample
        } else {
            instance.sample()
        };
        instance.used.add(after.since(&before));
        instance.listener.add(ListenerState::read(instance.server.id()).since(listeners));
        instance.set_paused(true);
        instance.server.limit_output();
        if let (LoadModel::OpenLoop(_), Some((corrected, _))) = (slices.model, &measured.latencies)
        {
            instance.slices.push(corrected.clone());
        }
        instance.measured.add(measured);
        Ok(())
    }

    fn finish(
        &self,
        mut instance: RunningInstance,
        mut machine: MachineUsage,
        slices: Slices,
    ) -> Result<Round, Failure> {
        instance.set_paused(false);
        let hardware = self.count_hardware_events(&instance, slices)?;
        let system_calls = self.count_system_calls(&instance, slices)?;
        machine.listener = instance.listener;
        count_closed_idle(&instance.idle, &mut instance.measured.failures);
        instance.idle.clear();
        self.client.close_pooled(instance.server.address);
        let report = instance.server.stop()?;
        let (measured, mut used) = (instance.measured, instance.used);
        let is_stream = self.client.is_stream();
        let threads = self.max_parallelism(instance.arm) as f64;
        used.cpu_utilization = used.cpu_ns as f64 / (measured.duration.as_nanos() as f64 * threads);
        let latency = measured.latencies.map(|(corrected, uncorrected)| LatencyPair {
            corrected: encode_latency(&corrected),
            uncorrected: encode_latency(&uncorrected),
        });
        Ok(Round {
            arm: instance.id.arm,
            control: instance.id.control,
            // The caller fills these in.
            load_level: LoadLevel::FixedRate,
            block: 0,
            started_at_seconds: 0.0,
            slices: 0,
            periods: Vec::new(),
            engine: report.as_ref().map(|report| report.backend.clone()),
            duration_ns: measured.duration.as_nanos() as u64,
            requests: measured.requests,
            bytes: is_stream.then_some(measured.bytes),
            slices_not_quiet: is_stream.then_some(instance.slices_not_quiet),
            failures: measured.failures,
            latency: latency.unwrap_or_default(),
            server: used,
            counters: report.map(|report| report.counters),
            system_calls,
            hardware,
            client: measured.used,
            machine,
        })
    }

    /// Counts the system calls of another program, in a slice after all measured ones of the batch,
    /// because that slows down every server.
    fn count_system_calls(
        &self,
        instance: &RunningInstance,
        slices: Slices,
    ) -> Result<Option<SystemCallCount>, Failure> {
        if matches!(instance.arm.program, Program::Engine { .. }) {
            return Ok(None);
        }
        let counted = match &**self.tracepoint {
            Ok(tracepoint) => self.count_events(instance, slices, [*tracepoint])?,
            Err(reason) => Err(reason.clone()),
        };
        Ok(Some(match counted {
            Ok(([calls], requests)) => SystemCallCount::Counted { calls, requests },
            Err(reason) => SystemCallCount::NotAvailable { reason },
        }))
    }

    /// Counts instructions and cycles where the CPU does.
    fn count_hardware_events(
        &self,
        instance: &RunningInstance,
        slices: Slices,
    ) -> Result<Option<HardwareCounts>, Failure> {
        if self.hardware_counters.is_err() {
            return Ok(None);
        }
        let counted = self.count_events(instance, slices, HARDWARE)?;
        Ok(counted.ok().map(|counted| {
            let ([instructions, cycles], requests) = counted;
            HardwareCounts { instructions, cycles, requests }
        }))
    }

    /// Counts events in a slice of their own. Returns the counts and the number of requests, or the
    /// reason why they are not available.
    fn count_events<const EVENTS: usize>(
        &self,
        instance: &RunningInstance,
        slices: Slices,
        events: [impl Event; EVENTS],
    ) -> Result<Result<([u64; EVENTS], u64), String>, Failure> {
        self.run_load(instance, slices.model, slices.lead_in)?;
        instance.await_quiet();
        let threads = instance.server.threads();
        let mut counters = Vec::with_capacity(EVENTS);
        for event in events {
            match ThreadCounters::open(event, &threads) {
                Ok(counter) => counters.push(counter),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let measured = self.run_load(instance, slices.model, slices.length.max(COUNTED_SLICE))?;
        if self.client.is_stream() {
            instance.await_quiet();
        }
        let mut counts = [0; EVENTS];
        for (count, counter) in counts.iter_mut().zip(counters) {
            match counter.count() {
                Ok(counted) => *count = counted,
                Err(reason) => return Ok(Err(reason)),
            }
        }
        Ok(Ok((counts, measured.requests)))
    }

    /// Checks if the server of an arm uses the CPU while idle: one that polls would slow down other
    /// instances in their slices.
    ///
    /// # Errors
    /// Returns a failure if the server or the load fails.
    pub fn observe_idle(&self, arm: usize) -> Result<(), Failure> {
        let instance = self.start(Instance { arm, control: false }, LoadModel::ClosedLoop)?;
        let is_busy = |_| {
            let before = instance.sample();
            let began = Instant::now();
            sleep(IDLE_OBSERVATION);
            let used = instance.sample().since(&before).cpu_ns as f64;
            used / began.elapsed().as_nanos() as f64 > MAX_IDLE_BUSY
        };
        // A server that polls is busy each time. Others may have work left from the load. One that
        // polls for a time only may have stopped after a stream.
        let polls = !instance.was_quiet || (0..IDLE_OBSERVATIONS).all(is_busy);
        self.busy_when_idle[arm].set(polls);
        self.client.close_pooled(instance.server.address);
        instance.server.stop().map(drop)
    }

    /// Returns the number of CPUs that the server of an arm can use at once.
    fn max_parallelism(&self, arm: &PreparedArm) -> usize {
        let cpus = self.placement.server_cpus.len();
        match arm.program {
            Program::Engine { workers, .. } => workers.min(cpus),
            Program::Command(_) => cpus,
        }
    }
}

/// A running server of a batch, and the sums of its slices.
struct RunningInstance<'run> {
    id: Instance,
    arm: &'run PreparedArm,
    server: ServerProcess,
    idle: Vec<TcpStream>,
    listener: ListenerState,
    after_warm_up: Sample,
    used: ServerUsage,
    measured: ClientMeasurement,
    /// Unset if the server still used the CPU long after the warm-up of a stream.
    was_quiet: bool,
    slices_not_quiet: usize,
    /// Corrected latencies of each slice at a fixed rate.
    slices: Vec<Latencies>,
    /// True for a server that is stopped with SIGSTOP between its slices.
    pauses: bool,
}

impl RunningInstance<'_> {
    fn load_failure(&self, problem: String) -> Failure {
        let label = &self.arm.description.label;
        Failure::Run(format!("ringpoll compare: arm {label}: load failed: {problem}"))
    }

    fn sample(&self) -> Sample {
        self.server.sample()
    }

    /// Waits until the server has no work left of a stream: it has received all bytes, and has not
    /// used the CPU for [`QUIET_TIME`], unless it does so while it is idle.
    fn await_quiet(&self) -> EndOfWork {
        // The time is taken after each sample: the server may work while it is taken.
        let sample = self.sample();
        let began = Instant::now();
        let mut last = (began, sample.clone());
        let mut end = EndOfWork { busy_until: began, sample, is_quiet: false };
        while !end.is_quiet && end.busy_until.duration_since(began) < QUIET_TIMEOUT {
            sleep(QUIET_SAMPLE_INTERVAL);
            let (sample, now) = (self.sample(), Instant::now());
            let used = sample.since(&last.1).cpu_ns as f64;
            let is_busy = used > MAX_IDLE_BUSY * now.duration_since(last.0).as_nanos() as f64;
            let port = self.server.address.port();
            if (is_busy && !self.pauses) || listener::has_unread_bytes(self.server.id(), port) {
                (end.busy_until, end.sample) = (now, sample.clone());
            }
            end.is_quiet = now.duration_since(end.busy_until) >= QUIET_TIME;
            last = (now, sample);
        }
        end
    }

    /// Returns the CPU time since the warm-up, in and between slices.
    fn cpu_since_warm_up_ns(&self) -> u64 {
        self.sample().since(&self.after_warm_up).cpu_ns
    }

    fn set_paused(&self, paused: bool) {
        if self.pauses {
            self.server.set_paused(paused);
        }
    }
}

/// Rounds a duration to a whole number of intervals between requests, at least one. A slice has a
/// request at its start, so that others would have more requests than their duration allows. A
/// microsecond less, or the request after the last one could be due as well. `due_together` is the
/// number of requests that are due at the same time, as in a burst.
fn whole_intervals(length: Duration, rate: f64, due_together: usize) -> Duration {
    let times = rate / due_together as f64;
    let intervals = (length.as_secs_f64() * times).round().max(1.0);
    Duration::from_secs_f64(intervals / times) - Duration::from_micros(1)
}

/// Returns the percentiles of periods of consecutive slices. All arms have the same number of
/// requests in a slice, and so the same periods.
fn periods(slices: &[Latencies], requests_per_slice: f64) -> Vec<LatencyPeriods> {
    let of = |metric: Metric| {
        let quantile = metric.quantile()?;
        let needed = MIN_TAIL_REQUESTS / (1.0 - quantile) / requests_per_slice;
        // None if the whole round has too few requests.
        let count = (slices.len() as f64 / needed.max(1.0)) as usize;
        // As many periods as have enough requests, of nearly equal length.
        let bound = |period: usize| period * slices.len() / count;
        let period = |index: usize| {
            let [first, others @ ..] = &slices[bound(index)..bound(index + 1)] else { return 0 };
            let mut sum = first.clone();
            others.iter().for_each(|it| sum.add(it).expect("all have the same bounds"));
            sum.value_at_quantile(quantile)
        };
        Some(LatencyPeriods { metric, latency_ns: (0..count).map(period).collect() })
    };
    if slices.is_empty() {
        Vec::new()
    } else {
        Metric::value_variants().iter().filter_map(|&it| of(it)).collect()
    }
}

/// The end of the work of a server after a stream.
struct EndOfWork {
    /// The last time at which it had work.
    busy_until: Instant,
    /// Its usage at that time.
    sample: Sample,
    /// False if it still has work.
    is_quiet: bool,
}

/// Counts idle connections that the server has closed as failures.
fn count_closed_idle(idle: &[TcpStream], failures: &mut Failures) {
    let is_closed = |stream: &&TcpStream| {
        let _ = stream.set_nonblocking(true);
        !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    let closed = idle.iter().filter(is_closed).count() as u64;
    if closed > 0 {
        failures.other += closed;
        failures.example.get_or_insert_with(|| {
            format!("the server closed {closed} idle connections; try deadlines.idle_timeout_ms")
        });
    }
}

/// A sample of the machine's CPU counters.
struct MachineSample {
    taken: Instant,
    all_cpus: CpuTicks,
    server_cpus: CpuTicks,
    throttled_ns: u64,
}

impl MachineSample {
    fn of(placement: &CpuPlacement) -> Self {
        let cpus = [&placement.server_cpus[..], &placement.client_cpus[..]].concat();
        Self {
            taken: Instant::now(),
            all_cpus: CpuTicks::read(&cpus),
            server_cpus: CpuTicks::read(&placement.server_cpus),
            throttled_ns: throttled_ns(),
        }
    }

    /// Returns the use since `before`; `used` is the CPU time of all servers in nanoseconds.
    fn since(&self, before: &Self, used: u64) -> MachineUsage {
        let servers_cpus = self.server_cpus.since(before.server_cpus);
        let wall = self.taken.duration_since(before.taken).as_nanos() as f64;
        MachineUsage {
            steal_share: self.all_cpus.since(before.all_cpus).stolen_share(),
            throttled_ns: self.throttled_ns.saturating_sub(before.throttled_ns),
            // The counters have a resolution of one tick, so the difference can be negative.
            server_cpus_other_share: (servers_cpus.busy_share() - used as f64 / wall).max(0.0),
            listener: ListenerState::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn closed_idle_connections_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let idle = [open(), open(), open()];
        let mut accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
        let mut failures = Failures::default();
        count_closed_idle(&idle, &mut failures);
        assert_eq!((failures.total(), failures.example.as_deref()), (0, None));
        accepted.pop();
        // The read returns when the FIN has arrived.
        idle[2].set_nonblocking(false).unwrap();
        assert_eq!(idle[2].peek(&mut [0]).unwrap(), 0);
        count_closed_idle(&idle, &mut failures);
        assert_eq!(failures.other, 1);
        assert!(failures.example.unwrap().contains("idle_timeout_ms"));
    }

    #[test]
    fn slices_are_whole_intervals() {
        let us = |length_ms: u64, rate: f64, due_together: usize| {
            whole_intervals(Duration::from_millis(length_ms), rate, due_together).as_micros()
        };
        assert_eq!(us(25, 50.0, 1), 19_999);
        assert_eq!(us(25, 130.0, 1), 23_075);
        assert_eq!(us(25, 11_000.0, 1), 24_999);
        assert_eq!(us(200, 1.0, 1), 999_999);
        assert_eq!(us(25, 300.0, 16), 53_332);
        assert_eq!(us(25, 15_000.0, 50), 26_665);
    }

    #[test]
    fn periods_have_enough_requests_for_their_percentile() {
        let slice = |latency| {
            let mut slice = Latencies::new(3).unwrap();
            slice.record_n(latency, 500).unwrap();
            slice
        };
        let slices: Vec<_> = (1..=8).map(slice).collect();
        let periods = |requests| -> Vec<Vec<u64>> {
            periods(&slices, requests).into_iter().map(|it| it.latency_ns).collect()
        };
        let each = vec![1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(periods(500.0), [each.clone(), each, vec![2, 4, 6, 8]]);
        assert_eq!(periods(40.0)[1..], [vec![2, 5, 8], vec![]]);
        assert!(super::periods(&[], 500.0).is_empty());
    }
}
