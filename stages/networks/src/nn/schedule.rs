//! Learning rates: pure functions of the step.

use artifacts::units::{Count, NonNegative, Positive};
use engine::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The shape of a schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScheduleKind {
    /// Half a cosine from `lr` down to `min` (Loshchilov and Hutter, 2017, without restarts).
    #[default]
    Cosine,
    /// Always `lr`.
    Constant,
    /// `lr`, times `gamma` after every `step` epochs.
    Step,
    /// Up from `lr` / 25 to `lr` over the first three tenths, then down to `lr` / 250,000, both by
    /// half a cosine (Smith and Topin, 2018; PyTorch's `OneCycleLR`).
    OneCycle,
}

/// How the learning rate changes from step to step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Schedule {
    /// The shape: `cosine`, `constant`, `step`, or `one-cycle`.
    pub(crate) kind: ScheduleKind,
    /// `cosine`: where it ends. Default 1e-4, or the learning rate if that is smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min: Option<NonNegative>,
    /// `step`: how many epochs lie between two decays. Default 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<Count>,
    /// `step`: what a decay multiplies by. Default 0.5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gamma: Option<Positive>,
    /// How many epochs the rate rises linearly to `lr` at the start.
    pub(crate) warmup: NonNegative,
    /// The epochs over which `cosine` and `one-cycle` run their course; 0 is the training's own
    /// length. Two trainings with one horizon and different lengths share their beginning, and the
    /// cached one is continued.
    pub(crate) horizon: usize,
    /// `cosine` and `step`: begin one epoch before the training does, as DeepCore does by mistake:
    /// the first epoch rises to the start, and all that follows comes an epoch late.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) late: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// What `resolved` fills in.
const COSINE_MIN: f64 = 1e-4;
const STEP_EPOCHS: u64 = 50;
const STEP_GAMMA: f64 = 0.5;

impl Schedule {
    /// Whether the rate depends on the horizon at all.
    pub(crate) fn has_horizon(&self) -> bool {
        matches!(self.kind, ScheduleKind::Cosine | ScheduleKind::OneCycle)
    }

    /// Fills in the defaults of the shape chosen.
    pub(crate) fn resolved(mut self, lr: f64) -> Self {
        match self.kind {
            ScheduleKind::Cosine => {
                self.min = self.min.or_else(|| NonNegative::try_from(COSINE_MIN.min(lr)).ok());
            }
            ScheduleKind::Step => {
                self.step = self.step.or_else(|| Count::try_from(STEP_EPOCHS).ok());
                self.gamma = self.gamma.or_else(|| Positive::try_from(STEP_GAMMA).ok());
            }
            ScheduleKind::Constant | ScheduleKind::OneCycle => {}
        }
        self
    }

    /// Returns the settings that do not go with the shape, or with each other.
    pub(crate) fn problems(&self, lr: f64, epochs: Option<usize>) -> Vec<Problem> {
        let mut found = vec![];
        let mut say = |setting: &str, message: String, hint: Option<&str>| {
            let setting = format!("schedule.{setting}");
            found.push(Problem { setting, message, hint: hint.map(str::to_owned) });
        };
        let of = |kind: &str| format!("only schedule `{kind}` has this setting");
        if self.min.is_some() && self.kind != ScheduleKind::Cosine {
            say("min", of("cosine"), None);
        }
        if self.step.is_some() && self.kind != ScheduleKind::Step {
            say("step", of("step"), None);
        }
        if self.gamma.is_some() && self.kind != ScheduleKind::Step {
            say("gamma", of("step"), None);
        }
        if self.min.is_some_and(|min| f64::from(min) > lr) {
            say("min", format!("the rate would end above its start, {lr}"), None);
        }
        if self.late && !matches!(self.kind, ScheduleKind::Cosine | ScheduleKind::Step) {
            say("late", "only schedules `cosine` and `step` can be late".to_owned(), None);
        }
        if self.late && f64::from(self.warmup) > 0.0 {
            say("late", "DeepCore, whose schedule is late, has no warm-up".to_owned(), None);
        }
        if self.kind == ScheduleKind::OneCycle && f64::from(self.warmup) > 0.0 {
            say("warmup", "schedule `one-cycle` has a warm-up of its own".to_owned(), None);
        }
        if self.horizon > 0 && !self.has_horizon() {
            let hint = "leave it out: trainings of any length share their beginning";
            say("horizon", "this schedule does not depend on a horizon".to_owned(), Some(hint));
        }
        let horizon = if self.horizon > 0 { Some(self.horizon) } else { epochs };
        if let (Some(horizon), Some(epochs)) = (horizon, epochs) {
            if self.has_horizon() && epochs > horizon {
                say("horizon", format!("it ends before the {epochs} epochs do"), None);
            }
            if f64::from(self.warmup) >= horizon as f64 {
                say("warmup", format!("nothing is left of the {horizon} epochs"), None);
            }
        }
        found
    }

    /// Returns the learning rate of `step`, counted from 0, where an epoch has `per_epoch` steps
    /// and the schedule runs its course in `horizon` steps. Past it, the rate stays where it is.
    /// The defaults of the shape must have been filled in.
    pub(crate) fn rate(&self, lr: f64, step: u64, per_epoch: u64, horizon: u64) -> f64 {
        let warmup = (f64::from(self.warmup) * per_epoch as f64).round();
        let at = step as f64;
        if at < warmup {
            return lr * (at + 1.0) / warmup;
        }
        let total = (horizon as f64 - warmup).max(1.0);
        let along = (at - warmup).min(total);
        if self.late {
            return self.late_rate(lr, at - per_epoch as f64, per_epoch as f64, total);
        }
        match self.kind {
            ScheduleKind::Constant => lr,
            ScheduleKind::Cosine => {
                let min = self.min.map_or(0.0, f64::from);
                between(lr, min, along / total)
            }
            ScheduleKind::Step => {
                let epochs = self.step.map_or(1, u64::from);
                let decays = (at - warmup) as u64 / (epochs * per_epoch.max(1));
                let decays = i32::try_from(decays).unwrap_or(i32::MAX);
                lr * self.gamma.map_or(1.0, f64::from).powi(decays)
            }
            ScheduleKind::OneCycle => {
                let (start, end) = (lr / 25.0, lr / 25.0 / 1e4);
                let (top, last) = (0.3 * total - 1.0, total - 1.0);
                if along <= top {
                    between(start, lr, along / top.max(f64::MIN_POSITIVE))
                } else {
                    between(lr, end, ((along - top) / (last - top)).min(1.0))
                }
            }
        }
    }
}

impl Schedule {
    /// Returns the rate `at` steps after the second epoch began, as PyTorch 1.10's chained form of
    /// the cosine gives it when it is started at minus one epoch.
    fn late_rate(&self, lr: f64, at: f64, per_epoch: f64, total: f64) -> f64 {
        if self.kind == ScheduleKind::Step {
            let step = self.step.map_or(1.0, |epochs| u64::from(epochs) as f64) * per_epoch;
            return lr * self.gamma.map_or(1.0, f64::from).powf((at.max(0.0) / step).floor());
        }
        let min = self.min.map_or(0.0, f64::from);
        let wave = |at: f64| 1.0 + (PI * at / total).cos();
        // Before 0 the form scales what it finds; at 0 it leaves the rate of the step before.
        let before = |at: f64| min + (lr - min) * wave(at) / wave(per_epoch);
        if at <= 0.0 {
            return before(at.min(-1.0));
        }
        min + (before(-1.0) - min) * wave(at) / 2.0
    }
}

/// Goes from `start` to `end` by half a cosine, `along` from 0 to 1.
fn between(start: f64, end: f64, along: f64) -> f64 {
    end + (start - end) * (1.0 + (PI * along).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, steps: &[u64]) -> Vec<f64> {
        let schedule = schedule.resolved(0.1);
        steps.iter().map(|step| schedule.rate(0.1, *step, 5, 100)).collect()
    }

    fn near(found: &[f64], want: &[f64]) {
        for (found, want) in found.iter().zip(want) {
            assert!((found - want).abs() < 1e-9, "{found} is not {want}");
        }
    }

    #[test]
    fn rates_worked_by_hand() {
        // min + (lr - min) / 2 * (1 + cos(pi t / 100)) at t = 0, 25 (cos = 1/sqrt 2), 50, 100.
        let cosine = Schedule::default();
        near(&rates(cosine, &[0, 25, 50, 100]), &[0.1, 0.085_369_983_9, 0.050_05, 1e-4]);
        let warm =
            Schedule { warmup: NonNegative::try_from(2.0).expect("2 is not negative"), ..cosine };
        // Ten steps of warm-up leave 90 for the cosine, whose middle is step 55.
        near(&rates(warm, &[0, 4, 9, 10, 55]), &[0.01, 0.05, 0.1, 0.1, 0.050_05]);
        let step = Schedule { kind: ScheduleKind::Step, step: Count::try_from(5).ok(), ..cosine };
        near(&rates(step, &[0, 24, 25, 50, 99]), &[0.1, 0.1, 0.05, 0.025, 0.0125]);
        let constant = Schedule { kind: ScheduleKind::Constant, ..cosine };
        near(&rates(constant, &[0, 1000]), &[0.1, 0.1]);
        // PyTorch 2's OneCycleLR(max_lr=.1, total_steps=100): the top is step 29, the end step 99.
        let cycle = Schedule { kind: ScheduleKind::OneCycle, ..cosine };
        near(&rates(cycle, &[0, 29, 64, 99]), &[0.004, 0.1, 0.050_000_2, 4e-7]);
    }

    #[test]
    fn a_setting_of_another_shape_is_a_problem() {
        let odd =
            Schedule { gamma: Positive::try_from(0.1).ok(), horizon: 5, ..Schedule::default() };
        let said: Vec<_> = odd.problems(0.1, Some(10)).into_iter().map(|p| p.setting).collect();
        assert_eq!(said, ["schedule.gamma", "schedule.horizon"]);
        assert_eq!(Schedule::default().problems(0.1, Some(10)), vec![]);
    }
}
