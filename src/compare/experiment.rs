//! One load: calibrated, measured block by block, looked at, judged.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::arm::Contestant;
use super::calibration::{Calibration, calibrate};
use super::gates::{self, Evidence};
use super::judgement::{Allowance, Allowances, Margins, is_settled, judge};
use super::metrics::{Against, all_metrics, deciding_metric};
use super::progress::Progress;
use super::round::Course;
use super::schedule::Schedule;
use super::statistics::paired::LEAST_PAIRS;
use super::summary::summaries;
use super::words;
use crate::failure::Failure;
use crate::report::result::{
    Arm, Comparison, Control, Ended, Experiment, Gate, GateEffect, GateKind, Look, MetricResult,
    Point, Round, WorkingPoint,
};

/// How an experiment is carried out.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Decides the order of rounds, and the resampling.
    pub seed: u64,
    /// The time that it may take.
    pub budget: Duration,
    /// The most blocks of rounds, whatever time is left.
    pub most_blocks: usize,
    /// How sure all claims are together.
    pub confidence: f64,
    /// How far apart is what.
    pub margins: Margins,
    /// Where it is measured.
    pub points: Vec<Point>,
    /// The offered rate, instead of a calibrated one.
    pub rate: Option<f64>,
    /// What the metric that decides is claimed of, between them all that may go wrong is shared
    /// out; and it ends early when all of them are settled.
    pub claims: Vec<Against>,
}

/// At which shares of the planned blocks the data are looked at. Early looks cost little and
/// allow little; see [`super::statistics::looks`].
const LOOKS: [f64; 3] = [0.5, 0.75, 1.0];

/// Carries out an experiment.
///
/// # Errors
/// When a server or the load fails in a way that leaves nothing to judge.
pub fn run(course: &Course, rules: &Rules, progress: &Progress) -> Result<Experiment, Failure> {
    let began = Instant::now();
    progress.say("calibrating".to_owned());
    let calibration = calibrate(course, rules.rate)?;
    let mut run = Run::new(course, rules, &calibration, began);
    progress.expect(run.planned * run.schedule.rounds_in_a_block());
    while run.ended.is_none() {
        run.block(progress)?;
    }
    progress.finish();
    Ok(run.judged(&calibration))
}

struct Run<'run> {
    course: &'run Course<'run>,
    rules: &'run Rules,
    rate: f64,
    began: Instant,
    schedule: Schedule,
    /// How many blocks fit into the budget.
    planned: usize,
    blocks: usize,
    rounds: Vec<Round>,
    allowances: Allowances,
    allowance: Option<Allowance>,
    looks: Vec<Look>,
    ended: Option<Ended>,
}

impl<'run> Run<'run> {
    fn new(
        course: &'run Course<'run>,
        rules: &'run Rules,
        calibration: &Calibration,
        began: Instant,
    ) -> Self {
        let arms = course.contestants.len();
        let points: Vec<_> =
            rules.points.iter().map(|&point| (point, course.slices(point).1)).collect();
        let schedule = Schedule::new(arms, &points, rules.seed);
        let round = course.warm_up + course.duration + calibration.overhead;
        let block = round * schedule.rounds_in_a_block() as u32;
        let left = rules.budget.saturating_sub(began.elapsed());
        // One at least, so that a budget that is too small shows what it would have to be.
        let fitting = (left.as_secs_f64() / block.as_secs_f64()) as usize;
        let planned = fitting.clamp(1, rules.most_blocks);
        let metrics = all_metrics(&rules.points).len();
        Self {
            course,
            rules,
            rate: calibration.requests_per_second,
            began,
            schedule,
            planned,
            blocks: 0,
            rounds: Vec::new(),
            allowances: Allowances::new(rules.confidence, rules.claims.len(), metrics),
            allowance: None,
            looks: Vec::new(),
            ended: None,
        }
    }

    /// Runs the next block, and looks at the data if it is time.
    fn block(&mut self, progress: &Progress) -> Result<(), Failure> {
        for heat in self.schedule.next_block() {
            let rounds = self.course.run(&heat, self.blocks, self.rate, self.began)?;
            self.rounds.extend(rounds);
            if self.course.interrupted.load(Ordering::Relaxed) {
                self.end(Ended::Interrupted);
                return Ok(());
            }
            let left = self.rules.budget.saturating_sub(self.began.elapsed());
            progress.rounds_done(heat.entrants.len(), self.blocks + 1, self.planned, left);
        }
        self.blocks += 1;
        let last = self.blocks >= self.planned || self.no_time_for_another();
        if !last && !is_look(self.blocks, self.planned) {
            return Ok(());
        }
        let information = if last { 1.0 } else { self.blocks as f64 / self.planned as f64 };
        self.look(information);
        if self.is_settled() {
            self.end(Ended::Decided);
        } else if last {
            self.end(Ended::BudgetSpent);
        }
        Ok(())
    }

    fn no_time_for_another(&self) -> bool {
        let elapsed = self.began.elapsed();
        let block = elapsed.as_secs_f64() / (self.blocks as f64 + 0.5);
        // Half a block over is nearer to what was asked for than half a block under.
        (elapsed.as_secs_f64() + 0.5 * block) > self.rules.budget.as_secs_f64()
    }

    fn look(&mut self, information: f64) {
        let Some(allowance) = self.allowances.look(information) else { return };
        self.allowance = Some(allowance);
        self.looks.push(Look {
            blocks: self.blocks,
            information,
            nominal_confidence: 1.0 - allowance.nominal,
            ended: false,
        });
    }

    fn end(&mut self, why: Ended) {
        if why == Ended::Interrupted {
            self.look(1.0);
        }
        if let Some(look) = self.looks.last_mut() {
            look.ended = true;
        }
        self.ended = Some(why);
    }

    fn is_settled(&self) -> bool {
        let at = deciding_metric(&self.rules.points);
        let Some(allowance) = self.allowance else { return false };
        self.rules.claims.iter().all(|&against| {
            let miss = allowance.deciding;
            let seed = self.rules.seed;
            let margins = self.rules.margins;
            let result = judge(&self.rounds, at, against, true, miss, margins, seed);
            is_settled(&result, margins)
        })
    }

    /// Judges every metric, at the look at which the experiment ended.
    fn results(&self, against: Against) -> Vec<MetricResult> {
        let deciding = deciding_metric(&self.rules.points);
        let metrics = all_metrics(&self.rules.points);
        let judged = metrics.into_iter().enumerate().map(|(index, at)| {
            let decides = at == deciding && against != Against::Itself;
            let miss = self.allowance.map_or(1e-9, |allowance| match against {
                Against::Itself => allowance.control,
                _ if decides => allowance.deciding,
                _ => allowance.other,
            });
            let seed = self.rules.seed.wrapping_add(index as u64);
            judge(&self.rounds, at, against, decides, miss, self.rules.margins, seed)
        });
        judged.collect()
    }

    fn judged(self, calibration: &Calibration) -> Experiment {
        let arms: Vec<Arm> =
            self.course.contestants.iter().map(|it| it.description.clone()).collect();
        let working_points = self.working_points(calibration);
        let control = self.results(Against::Itself);
        let mut gates = gates::gates(&Evidence {
            arms: &arms,
            placement: self.course.placement,
            optimised: !cfg!(debug_assertions),
            points: &working_points,
            rounds: &self.rounds,
            control: &control,
        });
        gates.extend(self.too_few_rounds());
        let summaries = summaries(&self.rounds, arms.len(), &self.rules.points);
        let deciding = deciding_metric(&self.rules.points);
        let comparisons: Vec<Comparison> = (1..arms.len())
            .map(|contender| {
                let mut metrics = self.results(Against::First(contender));
                gates::apply(&gates, &mut metrics, contender);
                let pair = (0, contender);
                let why = words::why(&arms, &summaries, pair, deciding.point);
                let mut comparison =
                    Comparison { baseline: 0, contender, metrics, sentence: String::new(), why };
                let confidence = self.rules.confidence;
                comparison.sentence =
                    words::sentence_of_two(&arms, &comparison, &working_points, confidence);
                comparison
            })
            .collect();
        let outcome = words::outcome(&comparisons, &gates);
        Experiment {
            load: self.course.client.description(),
            sweep: None,
            ladder: None,
            working_points,
            sentence: words::sentence(&arms, &comparisons, &gates, outcome),
            outcome,
            comparisons,
            control: Control { metrics: control },
            gates,
            summaries,
            looks: self.looks,
            ended: self.ended.unwrap_or(Ended::BudgetSpent),
            notes: restless(self.course),
            rounds: self.rounds,
        }
    }

    fn working_points(&self, calibration: &Calibration) -> Vec<WorkingPoint> {
        let working_point = |&point: &Point| {
            let fixed = point == Point::FixedRate;
            WorkingPoint {
                point,
                requests_per_second: fixed.then_some(self.rate),
                rate_origin: fixed.then(|| calibration.origin.clone()),
            }
        };
        self.rules.points.iter().map(working_point).collect()
    }

    fn too_few_rounds(&self) -> Option<Gate> {
        if self.blocks >= LEAST_PAIRS {
            return None;
        }
        let block = self.began.elapsed().as_secs_f64() / self.blocks.max(1) as f64;
        Some(Gate {
            kind: GateKind::TooFewRounds,
            effect: GateEffect::NotJudgeable,
            metrics: Vec::new(),
            arms: Vec::new(),
            reason: format!("only {} of {LEAST_PAIRS} blocks of rounds were run", self.blocks),
            remedy: if self.rules.most_blocks < LEAST_PAIRS {
                format!("--blocks {}", 2 * LEAST_PAIRS)
            } else {
                format!("--budget {:.0}s", (block * (2 * LEAST_PAIRS) as f64).ceil())
            },
        })
    }
}

/// Arms whose servers are stopped between their slices, in words.
fn restless(course: &Course) -> Vec<String> {
    let restless = course.contestants.iter().zip(&course.restless).filter(|(_, it)| it.get());
    let note = |contestant: &Contestant| {
        let label = &contestant.description.label;
        format!(
            "{label} keeps the processor busy while nobody asks it anything: it is stopped \
             (SIGSTOP) while others have their turn, and latencies are those of a server that \
             never sleeps"
        )
    };
    restless.map(|(contestant, _)| note(contestant)).collect()
}

/// Whether the data are looked at after so many of the planned blocks.
fn is_look(blocks: usize, planned: usize) -> bool {
    let looks = LOOKS.map(|share| ((share * planned as f64).ceil() as usize).max(LEAST_PAIRS));
    looks.contains(&blocks)
}

#[cfg(test)]
mod tests;
