//! A whole comparison: one experiment for each load, or with a sweep one for each value.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::arguments::CompareArguments;
use super::arm::{self, CommonSettings, Contestant, Program, full_key, usage};
use super::client::Client;
use super::experiment::{self, Rules};
use super::interrupts::Interrupts;
use super::judgement::Margins;
use super::ladder::{self, Climb};
use super::load_client::LoadClient;
use super::load_shape::LoadShape;
use super::metrics::Against;
use super::progress::Progress;
use super::round::Course;
use super::server_process::{OwnProgram, ServerProcess};
use super::statistics::random::Random;
use super::sweep::{self, Sweep};
use super::topology::{self, Topology};
use super::{environment, namespace, words};
use crate::failure::Failure;
use crate::load::{self, LoadKind};
use crate::report::result::{
    Arm, ComparisonResult, Difference, Environment, Experiment, Isolation, Method, Placement,
    Point, SCHEMA_VERSION, SweepValue,
};

/// How sure all claims of an experiment are together.
const CONFIDENCE: f64 = 0.95;
/// What counts as no difference, and the widest interval that shows that there is none.
const MARGINS: Margins = Margins { negligible: 0.01, equivalence: 0.03 };
/// How many processors others may use before it is worth a note.
const LOAD_WORTH_A_NOTE: f64 = 0.2;
/// Where each load is measured.
const POINTS: [Point; 2] = [Point::FixedRate, Point::Saturated];

/// Carries out all experiments. `own_program` is what the arms that are engines are started from.
///
/// The calling thread ends up in a network namespace of its own, where that is allowed.
///
/// # Errors
/// When an arm makes no sense, is refused, or does not run.
pub fn run(
    arguments: &CompareArguments,
    own_program: &OwnProgram,
) -> Result<ComparisonResult, Failure> {
    let began = Instant::now();
    let started_at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let mut cases = cases(arguments)?;
    let interrupts = Interrupts::watch()?;
    // Before any server is started, so that all inherit the same limit. One client holds the
    // connections of all of them.
    load::raise_descriptor_limit();
    // Before anything is started: what a thread starts is where the thread is.
    let isolation = namespace::isolate(!arguments.no_namespace);
    let topology = Topology::read();
    let placement = place(arguments, &topology, &cases)?;
    for case in &mut cases {
        for (arm, contestant) in case.contestants.iter_mut().enumerate() {
            introduce((arm, contestant), case.client.as_ref(), own_program, &placement)?;
        }
    }
    let frame = Frame {
        arguments,
        own_program,
        placement,
        isolation,
        environment: environment::read(&topology),
        seed: arguments.seed.unwrap_or_else(Random::fresh_seed),
    };
    let experiments = frame.experiments(&cases, &interrupts.flag);
    // Whoever called goes on where it was.
    let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.number).collect();
    let _ = topology::pin(&cpus);
    let experiments = experiments?;
    Ok(frame.result(&cases, experiments, started_at, began))
}

/// One load and the arms under it.
struct Case {
    contestants: Vec<Contestant>,
    client: Box<dyn Client>,
    sweep: Option<SweepValue>,
}

fn cases(arguments: &CompareArguments) -> Result<Vec<Case>, Failure> {
    let loads = arguments.loads().map_err(usage)?;
    let common = CommonSettings {
        file: arguments.config.clone(),
        preset: arguments.preset,
        set: arguments.set.clone(),
        load: Vec::new(),
    };
    let mut cases = Vec::new();
    for kind in loads {
        let client = LoadClient::new(shape(arguments, kind)).map_err(usage)?;
        match &arguments.sweep {
            Some(sweep) => {
                for value in &sweep.values {
                    cases.push(sweep_case(arguments, &common, &client, sweep, value)?);
                }
            }
            None => cases.push(case_of(arguments, common.clone(), client.again(), None)?),
        }
    }
    Ok(cases)
}

/// The servers of all arms have what the load needs.
fn case_of(
    arguments: &CompareArguments,
    common: CommonSettings,
    client: Box<dyn Client>,
    sweep: Option<SweepValue>,
) -> Result<Case, Failure> {
    let common = CommonSettings { load: client.server_settings(), ..common };
    Ok(Case { contestants: contestants(arguments, &common)?, client, sweep })
}

fn shape(arguments: &CompareArguments, kind: LoadKind) -> LoadShape {
    let shape = LoadShape::default();
    let arms = arguments.ladder.map_or(arm::count(&arguments.arms), |it| it.steps().len());
    // The first has a second copy, to see the noise.
    let servers = arms + 1;
    LoadShape {
        kind,
        depth: arguments.depth as usize,
        bytes: arguments.bytes,
        seed: arguments.seed.unwrap_or(shape.seed),
        connections: arguments.connections as usize,
        idle: arguments.idle.map_or_else(|| kind.default_idle(servers), |idle| idle as usize),
        burst: arguments.burst.map(|burst| burst as usize),
        burst_pause: Duration::from_millis(arguments.burst_pause_ms),
        fragments: arguments.fragments as usize,
        fragment_pause: Duration::from_millis(arguments.fragment_pause_ms),
        path: arguments.path.clone(),
    }
}

fn contestants(
    arguments: &CompareArguments,
    common: &CommonSettings,
) -> Result<Vec<Contestant>, Failure> {
    match arguments.ladder {
        Some(ladder) => ladder::contestants(ladder, common),
        None => arm::read(&arguments.arms, common),
    }
}

/// Which one of several is under way; nothing where there is but one.
fn title(cases: &[Case], index: usize) -> String {
    let name = match &cases[index].sweep {
        Some(it) => format!("{}={}", it.key, it.value),
        None if cases.len() > 1 => cases[index].client.description().name,
        None => return String::new(),
    };
    format!("{name} ({} of {}) ", index + 1, cases.len())
}

/// A parameter of the load, or else a key of the configuration, in all arms.
fn sweep_case(
    arguments: &CompareArguments,
    common: &CommonSettings,
    client: &LoadClient,
    sweep: &Sweep,
    value: &str,
) -> Result<Case, Failure> {
    let mut common = common.clone();
    let client: Box<dyn Client> = match client.with(&sweep.key, value) {
        Some(client) => {
            client.map_err(|problem| usage(format!("--sweep {}: {problem}", sweep.key)))?
        }
        None => {
            let key = full_key(&sweep.key).map_err(usage)?;
            if client.server_settings().iter().any(|(needed, _)| *needed == key) {
                return Err(usage(format!("--sweep {key}: the load sets it; try another --load")));
            }
            common.set.push(format!("{key}={value}"));
            client.again()
        }
    };
    let sweep = SweepValue { key: sweep.key.clone(), value: value.to_owned() };
    case_of(arguments, common, client, Some(sweep))
}

fn place(
    arguments: &CompareArguments,
    topology: &Topology,
    cases: &[Case],
) -> Result<Placement, Failure> {
    let threads = |contestant: &Contestant| match contestant.program {
        Program::Engine { workers, .. } => workers,
        Program::Command(_) => 1,
    };
    let threads = cases.iter().flat_map(|case| &case.contestants).map(threads).max().unwrap_or(1);
    let list = |cpus: &Option<super::arguments::CpuList>| cpus.as_ref().map(|cpus| cpus.to_vec());
    let (server, client) = (list(&arguments.server_cpus), list(&arguments.client_cpus));
    topology::place(topology, threads, server, client).map_err(usage)
}

/// Starts a server once, so that what is refused is refused before anything is measured, and asks
/// it what it runs on. Whatever cannot be put under a load is found out before another one is
/// measured.
fn introduce(
    (arm, contestant): (usize, &mut Contestant),
    client: &dyn Client,
    own_program: &OwnProgram,
    placement: &Placement,
) -> Result<(), Failure> {
    let server = ServerProcess::start(contestant, own_program, placement)?;
    let engine = server.engine.clone();
    client.introduce(arm, server.address).map_err(|problem| {
        let label = &contestant.description.label;
        Failure::Run(format!("ringpoll compare: arm {label}: the load: {problem}"))
    })?;
    let report = server.stop()?;
    contestant.description.engine = engine;
    contestant.description.kernel_features =
        report.map(|report| report.kernel_features).unwrap_or_default();
    Ok(())
}

/// What all experiments of a comparison have in common.
struct Frame<'run> {
    arguments: &'run CompareArguments,
    own_program: &'run OwnProgram,
    placement: Placement,
    isolation: Isolation,
    environment: Environment,
    seed: u64,
}

impl Frame<'_> {
    fn experiments(
        &self,
        cases: &[Case],
        interrupted: &AtomicBool,
    ) -> Result<Vec<Experiment>, Failure> {
        let rules = Rules {
            seed: self.seed,
            budget: self.budget(cases),
            most_blocks: self.arguments.blocks.map_or(usize::MAX, |blocks| blocks as usize),
            confidence: CONFIDENCE,
            margins: MARGINS,
            points: self.points().to_vec(),
            rate: self.arguments.rate,
            claims: Vec::new(),
        };
        let began = Instant::now();
        let mut experiments = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            if interrupted.load(Ordering::Relaxed) && index > 0 {
                break;
            }
            let course = Course {
                contestants: &case.contestants,
                own_program: self.own_program,
                placement: &self.placement,
                client: case.client.as_ref(),
                warm_up: self.arguments.warm_up,
                duration: self.arguments.round,
                interrupted,
                restless: case.contestants.iter().map(|_| Cell::new(false)).collect(),
            };
            let progress = Progress::new(&title(cases, index));
            // What one load has not needed is for those behind it.
            let saved = (rules.budget * index as u32).saturating_sub(began.elapsed());
            let saved = if case.sweep.is_some() { Duration::ZERO } else { saved };
            let left = (cases.len() - index) as u32;
            let budget = rules.budget + saved / left;
            let arms: Vec<Arm> = case.contestants.iter().map(|it| it.description.clone()).collect();
            let climb = self.arguments.ladder.map(|ladder| Climb::new(ladder, &arms));
            let against_the_first = || (1..arms.len()).map(Against::First).collect();
            let claims = climb.as_ref().map_or_else(against_the_first, Climb::claims);
            let rules = Rules { budget, claims, ..rules.clone() };
            let mut experiment = experiment::run(&course, &rules, &progress)?;
            if let Some(climb) = &climb {
                climb.judge(&mut experiment, &rules);
            }
            experiment.notes.extend(self.notes());
            experiments.push(Experiment { sweep: case.sweep.clone(), ..experiment });
        }
        Ok(experiments)
    }

    fn points(&self) -> &'static [Point] {
        if self.arguments.ladder.is_some() { &ladder::POINTS } else { &POINTS }
    }

    /// The time for each experiment: several loads share what was given, and each value of a sweep
    /// has all of it.
    fn budget(&self, cases: &[Case]) -> Duration {
        let share = if self.arguments.sweep.is_some() { 1 } else { cases.len() };
        self.arguments.budget / share as u32
    }

    /// What is worth knowing of the surroundings, and changes no verdict.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let load = self.environment.load_before;
        if load > LOAD_WORTH_A_NOTE {
            notes.push(format!("before the first round others used {load:.1} processors"));
        }
        if !self.isolation.network_namespace {
            notes.push(self.isolation.reason.clone());
        }
        notes
    }

    fn result(
        self,
        cases: &[Case],
        experiments: Vec<Experiment>,
        started_at: String,
        began: Instant,
    ) -> ComparisonResult {
        let budget = self.budget(cases);
        // A swept setting, or one for a load, is the same in all arms of a case, so the first stands for all.
        let arms: Vec<Arm> = cases[0].contestants.iter().map(|it| it.description.clone()).collect();
        let mut differences = arm::differences(&arms);
        differences.extend(different_answers(cases, arms.len()));
        let crossover = self
            .arguments
            .sweep
            .as_ref()
            .map(|it| sweep::crossover(&it.key, &arms, &experiments, &POINTS));
        let sentence = match &crossover {
            Some(map) => map.sentence.clone(),
            None => words::sentence_of_loads(&experiments),
        };
        ComparisonResult {
            schema_version: SCHEMA_VERSION,
            started_at,
            duration_seconds: began.elapsed().as_secs_f64(),
            command_line: std::env::args().collect(),
            sentence,
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
                placement: self.placement,
                isolation: self.isolation,
            },
            differences,
            arms,
            experiments,
            crossover,
        }
    }
}

/// Servers that answer with more bytes, or with another status, do not do the same work. With a
/// sweep the first value stands for all.
fn different_answers(cases: &[Case], arms: usize) -> Vec<Difference> {
    let difference = |case: &Case| {
        let values: Vec<_> = (0..arms).map(|arm| case.client.answer_of(arm)).collect();
        let differ = values.iter().any(|value| *value != values[0]);
        let key = match (cases.len(), &case.sweep) {
            (1, _) | (_, Some(_)) => "answer".to_owned(),
            _ => format!("answer under {}", case.client.description().name),
        };
        differ.then_some(Difference { key, values })
    };
    let told = if cases[0].sweep.is_some() { 1 } else { cases.len() };
    cases[..told].iter().filter_map(difference).collect()
}
