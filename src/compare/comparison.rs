//! A whole comparison: one experiment for each load, or one for each value of a sweep.

use std::cell::{Cell, LazyCell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::arguments::CompareArguments;
use super::arm::{self, CommonSettings, PreparedArm, Program, full_key, usage};
use super::arms_file;
use super::experiment::{self, ExperimentPlan};
use super::hooks::Hooks;
use super::interrupts::Interrupts;
use super::kernel_counters::{find_tracepoint, probe_hardware_counters};
use super::ladder::{self, LadderAnalysis};
use super::load_client::LoadClient;
use super::load_shape::LoadShape;
use super::metrics::{Contrast, HARDWARE};
use super::progress::Progress;
use super::round::BatchRunner;
use super::server_process::{RingpollExecutable, ServerProcess};
use super::statistics::random::Random;
use super::sweep::{self, Sweep};
use super::topology::{self, Topology};
use super::verdict::Margins;
use super::{environment, explanation, namespace};
use crate::failure::Failure;
use crate::load::{self, Control, Direction, LoadKind, RequestTemplate, without_secrets};
use crate::result::{
    Arm, ComparisonResult, CpuPlacement, Difference, Environment, Experiment, Isolation, LoadLevel,
    Method, SCHEMA_VERSION, SweepValue,
};

/// The simultaneous confidence level of all claims of an experiment.
const CONFIDENCE: f64 = 0.95;
/// The negligible difference and the equivalence margin.
const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
/// The number of CPUs used by other processes from which a note is added.
const MIN_HOST_LOAD_FOR_NOTE: f64 = 0.2;
/// The load levels at which each load is measured.
const LOAD_LEVELS: [LoadLevel; 2] = [LoadLevel::FixedRate, LoadLevel::Saturation];

/// Runs all experiments. `executable` starts the ringpoll arms. The calling thread moves to a new
/// network namespace, if that is permitted.
///
/// # Errors
/// Returns a failure if the arguments are invalid, or if a server or the load fails.
pub fn run(
    arguments: &CompareArguments,
    executable: &RingpollExecutable,
) -> Result<ComparisonResult, Failure> {
    let began = Instant::now();
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut scenarios = scenarios(arguments)?;
    let hardware_counters = probe_hardware_counters();
    check_hardware_counters(arguments, &hardware_counters)?;
    let interrupts = Interrupts::watch()?;
    // All servers inherit the limit. The client holds the connections to all of them.
    load::raise_descriptor_limit();
    // Child processes inherit the network namespace of this thread.
    let isolation = namespace::isolate(!arguments.no_namespace);
    let topology = Topology::read();
    let placement = choose_cpus(arguments, &topology, &scenarios)?;
    // All scenarios have these arms.
    let hooks = Hooks::before(&scenarios[0].arms, executable, &placement, &interrupts.flag)?;
    for scenario in &mut scenarios {
        for (index, arm) in scenario.arms.iter_mut().enumerate() {
            // Servers of other projects can have responses that differ from start to start.
            let starts = if matches!(arm.program, Program::Command(_)) { 2 } else { 1 };
            for _ in 0..starts {
                let probe = Probe { client: &scenario.client, executable, placement: &placement };
                probe.run((index, arm), &interrupts.flag)?;
            }
        }
    }
    let setup = Setup {
        arguments,
        executable,
        placement,
        isolation,
        environment: environment::read(&topology),
        hardware_counters,
        seed: arguments.seed.unwrap_or_else(Random::fresh_seed),
    };
    let experiments = setup.experiments(&scenarios, &interrupts.flag);
    // The calling thread may run on all CPUs again.
    let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.number).collect();
    let _ = topology::pin(&cpus);
    drop(hooks);
    let experiments = experiments?;
    Ok(setup.result(&scenarios, experiments, started_at, began))
}

/// Refuses a metric that cannot be measured here.
fn check_hardware_counters(
    arguments: &CompareArguments,
    counters: &Result<(), String>,
) -> Result<(), Failure> {
    let requested = arguments.requested_metrics();
    match (requested.iter().find(|it| HARDWARE.contains(it)), counters) {
        (Some(metric), Err(reason)) => {
            Err(usage(format!("{metric} is not available: {reason}. Use cpu_per_request.")))
        }
        _ => Ok(()),
    }
}

/// A load, the arms with the settings that it requires, and the swept value.
struct Scenario {
    arms: Vec<PreparedArm>,
    client: LoadClient,
    sweep: Option<SweepValue>,
}

fn scenarios(arguments: &CompareArguments) -> Result<Vec<Scenario>, Failure> {
    let loads = arguments.loads().map_err(usage)?;
    let common = CommonSettings {
        file: arguments.config.clone(),
        preset: arguments.preset,
        set: arguments.set.clone(),
        load: Vec::new(),
    };
    let in_file = match &arguments.arms_file {
        Some(path) => arms_file::read(path)?,
        None => Vec::new(),
    };
    let arms = arguments
        .ladder
        .map_or_else(|| arm::count(&arguments.arms, in_file.len()), |it| it.steps().len());
    let preparation = Preparation { arguments, in_file: &in_file, common: &common };
    let mut scenarios = Vec::new();
    let requests = arguments.request.read().map_err(usage)?;
    for kind in loads {
        let shape = shape(arguments, kind, arms, requests.clone());
        let client = LoadClient::new(shape).map_err(usage)?;
        match &arguments.sweep {
            Some(sweep) => {
                for value in &sweep.values {
                    scenarios.push(preparation.sweep_scenario(&client, sweep, value)?);
                }
            }
            None => scenarios.push(preparation.scenario(common.clone(), client, None)?),
        }
    }
    Ok(scenarios)
}

/// All that scenarios are prepared from.
#[derive(Clone, Copy)]
struct Preparation<'run> {
    arguments: &'run CompareArguments,
    /// The arms of the file given with `--arms`.
    in_file: &'run [PreparedArm],
    common: &'run CommonSettings,
}

impl Preparation<'_> {
    fn scenario(
        self,
        common: CommonSettings,
        client: LoadClient,
        sweep: Option<SweepValue>,
    ) -> Result<Scenario, Failure> {
        let common = CommonSettings { load: client.server_settings(), ..common };
        let arms = match self.arguments.ladder {
            Some(ladder) => ladder::prepare_arms(ladder, &common),
            None => arm::parse_arms(&self.arguments.arms, self.in_file, &common),
        };
        Ok(Scenario { arms: arms?, client, sweep })
    }

    /// Applies a swept value to the load if it has that parameter, else to the configuration of all
    /// arms.
    fn sweep_scenario(
        self,
        client: &LoadClient,
        sweep: &Sweep,
        value: &str,
    ) -> Result<Scenario, Failure> {
        let mut common = self.common.clone();
        let client = match client.with_parameter(&sweep.key, value) {
            Some(client) => {
                client.map_err(|problem| usage(format!("--sweep {}: {problem}", sweep.key)))?
            }
            None => {
                let key = full_key(&sweep.key).map_err(usage)?;
                if client.server_settings().iter().any(|(needed, _)| *needed == key) {
                    return Err(usage(format!(
                        "--sweep {key}: this load requires a fixed value. Try another --load."
                    )));
                }
                common.set.push(format!("{key}={value}"));
                client.fresh_copy()
            }
        };
        let sweep = SweepValue { key: sweep.key.clone(), value: value.to_owned() };
        self.scenario(common, client, Some(sweep))
    }
}

fn shape(
    arguments: &CompareArguments,
    kind: LoadKind,
    arms: usize,
    requests: RequestTemplate,
) -> LoadShape {
    // The control is a second instance of the first arm.
    let servers = arms + 1;
    LoadShape {
        kind,
        depth: arguments.depth.map_or(kind.default_depth(), |depth| depth as usize),
        message_bytes: arguments.message_bytes.unwrap_or(kind.default_message_bytes()),
        direction: arguments.direction.unwrap_or(Direction::Send),
        bytes: arguments.bytes,
        seed: arguments.seed.unwrap_or(1),
        connections: arguments.connections as usize,
        idle: arguments.idle.map_or_else(|| kind.default_idle(servers), |idle| idle as usize),
        burst: arguments.burst.map(|burst| burst as usize),
        burst_pause: Duration::from_millis(arguments.burst_pause_ms),
        fragments: arguments.fragments as usize,
        fragment_pause: Duration::from_millis(arguments.fragment_pause_ms),
        message: arguments.message.clone(),
        requests,
        verify: arguments.verify,
        close: arguments.close,
    }
}

/// Returns the name of an experiment in the live view; `None` if there is only one.
fn title(scenarios: &[Scenario], index: usize) -> Option<String> {
    let name = match &scenarios[index].sweep {
        Some(it) => format!("{}={}", it.key, it.value),
        None if scenarios.len() > 1 => scenarios[index].client.description().name,
        None => return None,
    };
    Some(format!("{name} ({} of {})", index + 1, scenarios.len()))
}

fn choose_cpus(
    arguments: &CompareArguments,
    topology: &Topology,
    scenarios: &[Scenario],
) -> Result<CpuPlacement, Failure> {
    let threads = |arm: &PreparedArm| match arm.program {
        Program::Engine { workers, .. } => workers,
        Program::Command(_) => 1,
    };
    let threads =
        scenarios.iter().flat_map(|scenario| &scenario.arms).map(threads).max().unwrap_or(1);
    let list = |cpus: &Option<super::arguments::CpuList>| cpus.as_ref().map(|cpus| cpus.to_vec());
    let (server, client) = (list(&arguments.server_cpus), list(&arguments.client_cpus));
    topology::choose_placement(topology, threads, server, client).map_err(usage)
}

/// The requests before anything is measured.
struct Probe<'run> {
    client: &'run LoadClient,
    executable: &'run RingpollExecutable,
    placement: &'run CpuPlacement,
}

impl Probe<'_> {
    /// Starts the server of an arm, sends its requests, and records the engine and kernel features
    /// that it reports. An arm that cannot run fails here.
    fn run(
        &self,
        (index, arm): (usize, &mut PreparedArm),
        interrupted: &Arc<AtomicBool>,
    ) -> Result<(), Failure> {
        let server = ServerProcess::start(arm, self.executable, self.placement)?;
        let engine = server.engine.clone();
        let control = Control::with_stop_flag(Arc::clone(interrupted));
        self.client.probe(index, server.address, &control).map_err(|problem| {
            let label = &arm.description.label;
            Failure::Run(match control.is_stopped() {
                true => "ringpoll compare: interrupted before anything was measured".to_owned(),
                false => format!("ringpoll compare: arm {label}: load failed: {problem}"),
            })
        })?;
        let report = server.stop()?;
        arm.description.engine = engine;
        arm.description.kernel_features =
            report.map(|report| report.kernel_features).unwrap_or_default();
        Ok(())
    }
}

/// The setup that all experiments of a comparison share.
struct Setup<'run> {
    arguments: &'run CompareArguments,
    executable: &'run RingpollExecutable,
    placement: CpuPlacement,
    isolation: Isolation,
    environment: Environment,
    /// The reason why instructions and cycles cannot be counted, if there is one.
    hardware_counters: Result<(), String>,
    seed: u64,
}

impl Setup<'_> {
    fn experiments(
        &self,
        scenarios: &[Scenario],
        interrupted: &AtomicBool,
    ) -> Result<Vec<Experiment>, Failure> {
        let plan = ExperimentPlan {
            seed: self.seed,
            budget: self.budget(scenarios),
            sharing_budget: if self.arguments.sweep.is_some() { 1 } else { scenarios.len() },
            max_blocks: self.arguments.blocks.map_or(usize::MAX, |blocks| blocks as usize),
            confidence: CONFIDENCE,
            margins: MARGINS,
            load_levels: self.load_levels().to_vec(),
            rate: self.arguments.rate,
            decide: self.arguments.decide,
            requested: self.arguments.requested_metrics(),
            claims: Vec::new(),
        };
        let began = Instant::now();
        let tracepoint = LazyCell::new(find_tracepoint as fn() -> _);
        let mut experiments = Vec::new();
        for (index, scenario) in scenarios.iter().enumerate() {
            if interrupted.load(Ordering::Relaxed) && index > 0 {
                break;
            }
            // Unused time of earlier loads is shared by the remaining ones.
            let unused = (plan.budget * index as u32).saturating_sub(began.elapsed());
            let unused = if scenario.sweep.is_some() { Duration::ZERO } else { unused };
            let remaining = (scenarios.len() - index) as u32;
            let budget = plan.budget + unused / remaining;
            let runner = BatchRunner {
                arms: &scenario.arms,
                executable: self.executable,
                placement: &self.placement,
                client: &scenario.client,
                warm_up: self.arguments.warm_up,
                duration: self.arguments.round,
                tracepoint: &tracepoint,
                hardware_counters: &self.hardware_counters,
                interrupted,
                busy_when_idle: scenario.arms.iter().map(|_| Cell::new(false)).collect(),
                progress: RefCell::new(Progress::new(title(scenarios, index), budget)),
            };
            let arms: Vec<Arm> = scenario.arms.iter().map(|it| it.description.clone()).collect();
            let analysis = self.arguments.ladder.map(|ladder| LadderAnalysis::new(ladder, &arms));
            let with_baseline = || (1..arms.len()).map(Contrast::WithBaseline).collect();
            let claims = analysis.as_ref().map_or_else(with_baseline, LadderAnalysis::claims);
            let plan = ExperimentPlan { budget, claims, ..plan.clone() };
            // The rate of a stream is that of its slower end.
            let plan = match scenario.client.is_stream() {
                true => ExperimentPlan { load_levels: vec![LoadLevel::Saturation], ..plan },
                false => plan,
            };
            let mut experiment = experiment::run(&runner, &plan)?;
            if let Some(analysis) = &analysis {
                analysis.add_to(&mut experiment, &plan);
            }
            experiment.notes.extend(self.notes());
            for (index, arm) in arms.iter().enumerate() {
                let warnings = scenario.client.warnings(index).into_iter();
                experiment.notes.extend(warnings.map(|it| format!("{}: {it}", arm.label)));
            }
            let verified = (0..arms.len()).filter_map(|arm| scenario.client.verified(arm));
            experiment.verified = verified.collect();
            experiments.push(Experiment { sweep: scenario.sweep.clone(), ..experiment });
        }
        Ok(experiments)
    }

    fn load_levels(&self) -> &'static [LoadLevel] {
        if self.arguments.ladder.is_some() { &ladder::LOAD_LEVELS } else { &LOAD_LEVELS }
    }

    /// Returns the budget of each experiment: loads share `--budget`, but each value of a sweep has
    /// all of it.
    fn budget(&self, scenarios: &[Scenario]) -> Duration {
        let share = if self.arguments.sweep.is_some() { 1 } else { scenarios.len() };
        self.arguments.budget / share as u32
    }

    /// Returns notes about the environment that change no verdict.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let load = self.environment.load_before;
        if load > MIN_HOST_LOAD_FOR_NOTE {
            notes.push(format!("Other processes used {load:.1} CPUs before the first round."));
        }
        if !self.isolation.network_namespace {
            notes.push(format!("No network namespace: {}.", self.isolation.reason));
        }
        if let Err(reason) = &self.hardware_counters {
            notes.push(format!("Instructions and cycles per request are not available: {reason}."));
        }
        notes
    }

    fn result(
        self,
        scenarios: &[Scenario],
        experiments: Vec<Experiment>,
        started_at: String,
        began: Instant,
    ) -> ComparisonResult {
        let budget = self.budget(scenarios);
        // Settings of a load or a sweep are equal in all arms, so any scenario shows the same
        // differences.
        let arms: Vec<Arm> = scenarios[0].arms.iter().map(|it| it.description.clone()).collect();
        let mut differences = arm::differences(&arms);
        differences.extend(response_differences(scenarios, arms.len()));
        let crossover = self
            .arguments
            .sweep
            .as_ref()
            .map(|it| sweep::crossover(&it.key, &arms, &experiments, &LOAD_LEVELS));
        let sentence = match &crossover {
            Some(map) => map.conclusion.clone(),
            None => explanation::overall_conclusion(&experiments),
        };
        ComparisonResult {
            schema_version: SCHEMA_VERSION,
            started_at,
            duration_seconds: began.elapsed().as_secs_f64(),
            command_line: without_secrets(
                std::env::args_os().map(|it| it.to_string_lossy().into_owned()),
            ),
            conclusion: sentence,
            outcome: sweep::outcome(&experiments),
            environment: self.environment,
            method: Method {
                seed: self.seed,
                budget_seconds: budget.as_secs_f64(),
                round_seconds: self.arguments.round.as_secs_f64(),
                warm_up_seconds: self.arguments.warm_up.as_secs_f64(),
                confidence: CONFIDENCE,
                negligible: MARGINS.negligible,
                equivalence: MARGINS.equivalence,
                cpu_placement: self.placement,
                isolation: self.isolation,
            },
            differences,
            arms,
            experiments,
            crossover,
        }
    }
}

/// Returns differences between the responses of the arms: servers that send another status or
/// length do different work. Of a sweep, only the first value is checked.
fn response_differences(scenarios: &[Scenario], arms: usize) -> Vec<Difference> {
    let difference = |scenario: &Scenario| {
        let values: Vec<_> = (0..arms).map(|arm| scenario.client.response_of(arm)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        let key = match (scenarios.len(), &scenario.sweep) {
            (1, _) | (_, Some(_)) => "response".to_owned(),
            _ => format!("response under {}", scenario.client.description().name),
        };
        differ.then_some(Difference { key, values })
    };
    let checked = if scenarios[0].sweep.is_some() { 1 } else { scenarios.len() };
    scenarios[..checked].iter().filter_map(difference).collect()
}
