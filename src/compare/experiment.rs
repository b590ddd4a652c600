//! The experiment for one load: calibration, blocks of rounds, interim analyses and verdicts.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::arm::PreparedArm;
use super::calibration::{Calibration, calibrate};
use super::explanation;
use super::gates::{self, Evidence};
use super::metrics::{Contrast, HARDWARE, metrics_of};
use super::round::BatchRunner;
use super::schedule::Schedule;
use super::statistics::paired::MIN_PAIRS;
use super::summary::summaries;
use super::verdict::{AlphaBudget, AlphaLevels, Margins, decide, meets_stopping_rule};
use crate::failure::Failure;
use crate::result::{
    Arm, Comparison, Control, Experiment, Gate, GateEffect, GateKind, InterimAnalysis, LoadLevel,
    LoadLevelResult, Metric, MetricAt, MetricResult, Round, StopReason, SystemCallCount,
};

/// The parameters of an experiment, fixed before anything is measured.
#[derive(Clone, Debug)]
pub struct ExperimentPlan {
    /// The seed of the order of the rounds and of the bootstrap.
    pub seed: u64,
    /// The time limit.
    pub budget: Duration,
    /// The number of experiments that share the time limit of the user.
    pub sharing_budget: usize,
    /// The limit on blocks of rounds.
    pub max_blocks: usize,
    /// The simultaneous confidence level of all claims.
    pub confidence: f64,
    /// The negligible difference and the equivalence margin.
    pub margins: Margins,
    /// The load levels to measure.
    pub load_levels: Vec<LoadLevel>,
    /// The fixed rate; `None` calibrates it.
    pub rate: Option<f64>,
    /// The metric that decides the outcome; `None` is the first of the table.
    pub decide: Option<Metric>,
    /// The metrics that the user asks for, some of which are only compared then.
    pub requested: Vec<Metric>,
    /// The contrasts tested with the primary metric. They share the error budget, and the
    /// experiment ends early once all of them meet the stopping rule.
    pub claims: Vec<Contrast>,
}

/// The shares of the planned blocks after which the data are analysed. Early analyses spend little
/// alpha; see [`super::statistics::interim_analyses`].
const INTERIM_ANALYSES: [f64; 3] = [0.5, 0.75, 1.0];

/// Runs an experiment.
///
/// # Errors
/// Returns a failure if a server or the load fails so that there is no result.
pub fn run(runner: &BatchRunner, plan: &ExperimentPlan) -> Result<Experiment, Failure> {
    let began = Instant::now();
    let calibration = calibrate(runner, plan.rate)?;
    let mut run = RunningExperiment::new(runner, plan, &calibration, began);
    while run.ended.is_none() {
        run.run_block()?;
    }
    Ok(run.into_result(&calibration))
}

struct RunningExperiment<'run> {
    runner: &'run BatchRunner<'run>,
    plan: &'run ExperimentPlan,
    /// In table order.
    metrics: Vec<MetricAt>,
    /// The metric that decides the outcome.
    primary: MetricAt,
    rate: f64,
    began: Instant,
    /// The time from the start to the end of the calibration.
    calibrated_after: Duration,
    schedule: Schedule,
    /// The number of blocks that fit into the budget.
    planned_blocks: usize,
    blocks: usize,
    rounds: Vec<Round>,
    alpha_budget: AlphaBudget,
    alpha: Option<AlphaLevels>,
    interim_analyses: Vec<InterimAnalysis>,
    ended: Option<StopReason>,
}

impl<'run> RunningExperiment<'run> {
    fn new(
        runner: &'run BatchRunner<'run>,
        plan: &'run ExperimentPlan,
        calibration: &Calibration,
        began: Instant,
    ) -> Self {
        let arms = runner.arms.len();
        let rate = calibration.requests_per_second;
        let slices = |&level: &LoadLevel| (level, runner.slices(level, rate).1);
        let load_levels: Vec<_> = plan.load_levels.iter().map(slices).collect();
        let schedule = Schedule::new(arms, &load_levels, plan.seed);
        let round = runner.warm_up + runner.duration + calibration.overhead;
        let block = round * schedule.rounds_per_block() as u32;
        let left = plan.budget.saturating_sub(began.elapsed());
        // At least one block, from which the required budget can be estimated.
        let fitting = (left.as_secs_f64() / block.as_secs_f64()) as usize;
        let planned_blocks = fitting.clamp(1, plan.max_blocks);
        // Almost without noise, so they are compared wherever they can be counted.
        let counted = runner.hardware_counters.as_ref().map_or(&[][..], |()| &HARDWARE);
        let requested = [&plan.requested, counted].concat();
        let metrics = metrics_of(runner.client.is_stream(), &plan.load_levels, &requested);
        let is_decisive = |it: &&MetricAt| plan.decide.is_none_or(|metric| metric == it.metric);
        let primary = *metrics.iter().find(is_decisive).unwrap_or(&metrics[0]);
        let alpha_budget = AlphaBudget::new(plan.confidence, plan.claims.len(), metrics.len());
        Self {
            runner,
            plan,
            metrics,
            primary,
            rate,
            began,
            calibrated_after: began.elapsed(),
            schedule,
            planned_blocks,
            blocks: 0,
            rounds: Vec::new(),
            alpha_budget,
            alpha: None,
            interim_analyses: Vec::new(),
            ended: None,
        }
    }

    /// Runs the next block, followed by an interim analysis if one is due.
    fn run_block(&mut self) -> Result<(), Failure> {
        self.runner.progress.borrow_mut().set_block(self.blocks + 1, self.planned_blocks);
        for batch in self.schedule.next_block() {
            let rounds = self.runner.run(&batch, self.blocks, self.rate, self.began)?;
            self.rounds.extend(rounds);
            if self.runner.interrupted.load(Ordering::Relaxed) {
                self.end(StopReason::Interrupted);
                return Ok(());
            }
        }
        self.blocks += 1;
        self.show_intervals();
        let last = self.blocks >= self.planned_blocks || self.is_budget_spent();
        if !last && !is_analysis_due(self.blocks, self.planned_blocks) {
            return Ok(());
        }
        let information = if last { 1.0 } else { self.blocks as f64 / self.planned_blocks as f64 };
        self.analyse(information);
        if self.is_decided() {
            self.end(StopReason::Decided);
        } else if last {
            self.end(StopReason::BudgetSpent);
        }
        Ok(())
    }

    fn is_budget_spent(&self) -> bool {
        let elapsed = self.began.elapsed();
        let block = elapsed.as_secs_f64() / (self.blocks as f64 + 0.5);
        // Runs another block only if at least half of it fits into the budget.
        (elapsed.as_secs_f64() + 0.5 * block) > self.plan.budget.as_secs_f64()
    }

    /// Shows the intervals that the experiment would have if it ended now. No decision depends on
    /// them, so they spend no alpha.
    fn show_intervals(&self) {
        let mut progress = self.runner.progress.borrow_mut();
        if !progress.needs_intervals() {
            return;
        }
        let Some(alpha) = self.alpha_budget.clone().spend_until(1.0) else { return };
        let label = |arm: usize| self.runner.arms[arm].description.label.as_str();
        let interval = |&contrast: &Contrast| {
            let (candidate, baseline) = contrast.arms();
            (label(candidate), label(baseline), self.decide_claim(contrast, alpha))
        };
        progress.set_intervals(&self.plan.claims.iter().map(interval).collect::<Vec<_>>());
    }

    fn analyse(&mut self, information: f64) {
        let Some(alpha) = self.alpha_budget.spend_until(information) else { return };
        self.alpha = Some(alpha);
        self.interim_analyses.push(InterimAnalysis {
            blocks: self.blocks,
            information_fraction: information,
            nominal_confidence: 1.0 - alpha.nominal,
            stopped: false,
        });
    }

    fn end(&mut self, why: StopReason) {
        if why == StopReason::Interrupted {
            self.analyse(1.0);
        }
        if let Some(analysis) = self.interim_analyses.last_mut() {
            analysis.stopped = true;
        }
        self.ended = Some(why);
    }

    fn is_decided(&self) -> bool {
        let Some(alpha) = self.alpha else { return false };
        let mut claims = self.plan.claims.iter().map(|&it| self.decide_claim(it, alpha));
        claims.all(|it| meets_stopping_rule(&it, self.plan.margins))
    }

    /// Decides the primary metric of a contrast.
    fn decide_claim(&self, contrast: Contrast, alpha: AlphaLevels) -> MetricResult {
        let ExperimentPlan { margins, seed, .. } = *self.plan;
        decide(&self.rounds, self.primary, contrast, true, alpha.primary, margins, seed)
    }

    /// Decides all metrics of a contrast, with the alpha of the last interim analysis.
    fn results(&self, contrast: Contrast) -> Vec<MetricResult> {
        let results = self.metrics.iter().enumerate().map(|(index, &at)| {
            let is_primary = at == self.primary && contrast != Contrast::Control;
            let alpha_level = self.alpha.map_or(1e-9, |alpha| match contrast {
                Contrast::Control => alpha.control,
                _ if is_primary => alpha.primary,
                _ => alpha.other,
            });
            let seed = self.plan.seed.wrapping_add(index as u64);
            decide(&self.rounds, at, contrast, is_primary, alpha_level, self.plan.margins, seed)
        });
        results.collect()
    }

    fn into_result(self, calibration: &Calibration) -> Experiment {
        let arms: Vec<Arm> = self.runner.arms.iter().map(|it| it.description.clone()).collect();
        let load_levels = self.load_level_results(calibration);
        let control = self.results(Contrast::Control);
        let mut gates = gates::gates(&Evidence {
            arms: &arms,
            placement: self.runner.placement,
            optimised: !cfg!(debug_assertions),
            load_levels: &load_levels,
            rounds: &self.rounds,
            control: &control,
        });
        gates.extend(self.too_few_rounds());
        let summaries = summaries(&self.rounds, arms.len(), &self.plan.load_levels);
        let comparisons: Vec<Comparison> = (1..arms.len())
            .map(|contender| {
                let mut metrics = self.results(Contrast::WithBaseline(contender));
                gates::apply(&gates, &mut metrics, contender);
                let pair = (0, contender);
                let why = explanation::causes(&arms, &summaries, pair, self.primary.load_level);
                let mut comparison = Comparison {
                    baseline: 0,
                    candidate: contender,
                    metrics,
                    conclusion: String::new(),
                    causes: why,
                };
                let confidence = self.plan.confidence;
                comparison.conclusion = explanation::comparison_conclusion(
                    &arms,
                    &comparison,
                    &load_levels,
                    confidence,
                );
                comparison
            })
            .collect();
        let outcome = explanation::outcome(&comparisons, &gates);
        Experiment {
            load: self.runner.client.description(),
            sweep: None,
            verified: Vec::new(),
            ladder: None,
            load_levels,
            conclusion: explanation::experiment_conclusion(&arms, &comparisons, &gates, outcome),
            outcome,
            comparisons,
            control: Control { metrics: control },
            gates,
            summaries,
            interim_analyses: self.interim_analyses,
            stop_reason: self.ended.unwrap_or(StopReason::BudgetSpent),
            notes: [idle_use_notes(self.runner), system_call_notes(&arms, &self.rounds)].concat(),
            rounds: self.rounds,
        }
    }

    fn load_level_results(&self, calibration: &Calibration) -> Vec<LoadLevelResult> {
        let result_at = |&load_level: &LoadLevel| {
            let fixed = load_level == LoadLevel::FixedRate;
            LoadLevelResult {
                load_level,
                requests_per_second: fixed.then_some(self.rate),
                rate_origin: fixed.then(|| calibration.origin.clone()),
            }
        };
        self.plan.load_levels.iter().map(result_at).collect()
    }

    fn too_few_rounds(&self) -> Option<Gate> {
        if self.blocks >= MIN_PAIRS {
            return None;
        }
        let spent = self.began.elapsed().saturating_sub(self.calibrated_after);
        let needed =
            self.calibrated_after + spent * (2 * MIN_PAIRS) as u32 / self.blocks.max(1) as u32;
        let budget = needed.as_secs_f64() * self.plan.sharing_budget as f64;
        Some(Gate {
            reason: format!(
                "Too few blocks of rounds: {}, at least {MIN_PAIRS} are needed.",
                self.blocks
            ),
            remedy: if self.plan.max_blocks < MIN_PAIRS {
                format!("Try --blocks {}.", 2 * MIN_PAIRS)
            } else {
                format!("Try --budget {:.0}s.", budget.ceil())
            },
            ..Gate::new(GateKind::TooFewRounds, GateEffect::NotCompared)
        })
    }
}

/// Returns a note for each arm whose server is stopped between its slices.
fn idle_use_notes(runner: &BatchRunner) -> Vec<String> {
    let busy = runner.arms.iter().zip(&runner.busy_when_idle).filter(|(_, it)| it.get());
    let note = |arm: &PreparedArm| {
        format!(
            "{} uses the CPU while it is idle, so it is stopped with SIGSTOP while other arms are \
             measured. Its latency is that of a server that never sleeps.",
            arm.description.label
        )
    };
    busy.map(|(arm, _)| note(arm)).collect()
}

/// Returns a note for each arm whose system calls the kernel counts, or cannot count.
fn system_call_notes(arms: &[Arm], rounds: &[Round]) -> Vec<String> {
    let note = |(index, arm): (usize, &Arm)| {
        let label = &arm.label;
        let mut counts = rounds.iter().filter(|round| round.arm == index);
        Some(match counts.find_map(|round| round.system_calls.as_ref())? {
            SystemCallCount::Counted { .. } => format!(
                "The system calls of {label} are counted by the kernel's tracepoint \
                 raw_syscalls:sys_enter, in a slice of their own in each round."
            ),
            SystemCallCount::NotAvailable { reason } => {
                format!("System calls per request of {label} are not available: {reason}.")
            }
        })
    };
    arms.iter().enumerate().filter_map(note).collect()
}

fn is_analysis_due(blocks: usize, planned: usize) -> bool {
    let due =
        INTERIM_ANALYSES.map(|share| ((share * planned as f64).ceil() as usize).max(MIN_PAIRS));
    due.contains(&blocks)
}

#[cfg(test)]
mod tests;
