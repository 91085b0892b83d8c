//! The stage around every selecting method: what it reads, the budgets of its groups, what it writes.

use super::{
    Group, Picks, Selector, TrainingSet, Watch, budget,
    inputs::{self, Inputs},
};
use crate::{MethodError, Runtime, linalg::Compute};
use artifacts::{
    InGroup, SampleId,
    parts::{self, Parts},
    subset::{PickedSample, Subset},
    units::{Fraction, NonNegative},
};
use engine::{
    ArtifactKind, Method, Needs, Port, Problem, Stage, StageCtx, StageError, StageProgress,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What every selection is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", bound = "S: Selector")]
#[schemars(rename = "{S}", bound = "S: Selector")]
pub(super) struct Select<S> {
    /// Which share of the training set to keep, from 0 to 1. Either this or `budget`.
    keep: Option<Fraction>,
    /// How many samples to keep. Either this or `keep`.
    budget: Option<usize>,
    /// How the budget is divided among classes: `none` (all compete), `class` (in proportion to
    /// class sizes), `equal` (the same for each, as far as they reach), `given` (in proportion to
    /// `quotas`), or `class-rounded` (each class's share rounded by itself, as DeepCore does: the
    /// total may be off by a few).
    balance: Balance,
    /// The weight of each class in the budget, for `balance = "given"`.
    quotas: Option<Vec<NonNegative>>,
    /// The method's own settings.
    rule: S,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Balance {
    #[default]
    None,
    Class,
    Equal,
    Given,
    ClassRounded,
}

/// Returns the registry entry of `S`.
pub(super) fn method<S: Selector>() -> Method {
    Method {
        name: S::NAME,
        summary: S::SUMMARY,
        manual: S::MANUAL,
        parse: |with| Ok(Box::new(with.read::<Select<S>>()?)),
        schema: || schemars::schema_for!(Select<S>),
    }
}

/// A group to pick from: the whole training set, or a class of it.
#[derive(Clone, Debug, PartialEq)]
struct Share {
    /// The class, or 0 for the whole.
    index: u64,
    /// Its samples, ascending.
    members: Vec<SampleId>,
    /// How many of them to keep.
    budget: usize,
}

impl<S: Selector> Select<S> {
    /// Returns the groups to pick from, each with its budget.
    fn groups(&self, labels: &[u32], classes: usize) -> Result<Vec<Share>, StageError> {
        let n = labels.len();
        let total = match (self.keep, self.budget) {
            _ if S::WHOLE => n,
            (Some(keep), _) => budget::rounded(keep.into(), n),
            (None, Some(budget)) => budget,
            (None, None) => 0,
        };
        if total > n {
            return Err(MethodError::Budget { budget: total, n }.into());
        }
        if S::WHOLE || self.balance == Balance::None {
            return Ok(vec![Share {
                index: 0,
                members: SampleId::all(n).collect(),
                budget: total,
            }]);
        }
        let mut members = vec![vec![]; classes];
        for (sample, label) in SampleId::all(n).zip(labels) {
            members[*label as usize].push(sample);
        }
        let available: Vec<usize> = members.iter().map(Vec::len).collect();
        let weights: Vec<f64> = match (self.balance, &self.quotas) {
            (Balance::Equal, _) => vec![1.0; classes],
            (Balance::Given, Some(quotas)) if quotas.len() == classes => {
                quotas.iter().map(|quota| f64::from(*quota)).collect()
            }
            (Balance::Given, quotas) => {
                let given = quotas.as_ref().map_or(0, Vec::len);
                return Err(MethodError::QuotaCount { classes, quotas: given }.into());
            }
            _ => available.iter().map(|n| *n as f64).collect(),
        };
        let budgets = if let (Balance::ClassRounded, Some(keep)) = (self.balance, self.keep) {
            Some(available.iter().map(|n| budget::rounded(keep.into(), *n)).collect())
        } else {
            budget::divide(total, &weights, &available)
        };
        let budgets = budgets.ok_or(MethodError::QuotasTooFew { budget: total })?;
        let groups = (0..).zip(members).zip(budgets);
        Ok(groups.map(|((index, members), budget)| Share { index, members, budget }).collect())
    }
}

impl<S: Selector> Stage for Select<S> {
    fn method(&self) -> &'static str {
        S::NAME
    }

    fn revision(&self) -> u32 {
        S::REVISION
    }

    fn settings(&self) -> Value {
        if S::WHOLE { serde_json::json!({ "rule": self.rule }) } else { serde_json::json!(self) }
    }

    fn inputs(&self) -> Vec<Port> {
        inputs::ports(S::READS, S::READS_AT_LEAST)
    }

    fn output(&self) -> ArtifactKind {
        parts::SUBSET
    }

    fn streams(&self) -> &'static [&'static str] {
        self.rule.streams()
    }

    fn needs(&self) -> Needs {
        if S::ON_DEVICE { Needs::Device } else { Needs::Cpu }
    }

    fn problems(&self) -> Vec<Problem> {
        let problem = |setting: &str, message: &str, hint: Option<&str>| Problem {
            setting: setting.to_owned(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let mut all = vec![];
        match (self.keep, self.budget) {
            _ if S::WHOLE => {}
            (None, None) => all.push(problem(
                "",
                "neither `keep` nor `budget` says how much to select",
                Some("set `keep = 0.1`, say"),
            )),
            (Some(_), Some(_)) => all.push(problem(
                "budget",
                "`keep` and `budget` both say how much to select",
                Some("leave one of them out"),
            )),
            _ => {}
        }
        match (self.balance, &self.quotas) {
            (Balance::Given, None) => {
                all.push(problem(
                    "balance",
                    "the quotas of the classes are not given",
                    Some("set `quotas`"),
                ));
            }
            (Balance::Given, Some(_)) | (_, None) => {}
            (_, Some(_)) => all.push(problem(
                "quotas",
                "quotas are given, but the balance is not by them",
                Some("set `balance = \"given\"`"),
            )),
        }
        if self.balance == Balance::ClassRounded && self.keep.is_none() && !S::WHOLE {
            all.push(problem("balance", "`class-rounded` rounds a share: it needs `keep`", None));
        }
        let inside = |problem: Problem| Problem {
            setting: format!("rule.{}", problem.setting).trim_end_matches('.').to_owned(),
            ..problem
        };
        all.extend(self.rule.problems().into_iter().map(inside));
        all
    }

    fn wiring(&self, connected: &[&str]) -> Vec<Problem> {
        if inputs::features_will_do(self.rule.reads()) || !connected.contains(&"data") {
            return vec![];
        }
        let reads_less = inputs::features_will_do(S::READS_AT_LEAST);
        let problem = Problem {
            setting: String::new(),
            message: "a data set has features, but no logits".to_owned(),
            hint: Some("connect `proxy`, or set `rule.features = \"embedding\"`".to_owned()),
        };
        reads_less.then_some(problem).into_iter().collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let inputs = Inputs::read(ctx, &self.rule, &self.inputs())?;
        let (labels, classes) = (&inputs.samples.labels[..], inputs.samples.classes);
        let ground = inputs.training_set();
        for remark in self.rule.remarks(&ground) {
            ctx.log(remark);
        }
        let groups = self.groups(labels, classes)?;
        let total = groups.iter().map(|group| group.budget).sum();
        let compute = Runtime::of(ctx).compute(S::ON_DEVICE);
        let picked =
            compute.guarded(MEMORY_HINT, || pick(&self.rule, ctx, &ground, &groups, &compute))?;
        let subset = Subset::new(labels.len(), picked).map_err(MethodError::from)?;
        subset.put(ctx, labels, classes, total)
    }
}

const MEMORY_HINT: &str = "`balance = \"class\"` selects class by class and takes less, and `--jobs 1` \
                           runs one stage at a time; `--device cpu` works in tiles";

/// Picks from every group.
fn pick<S: Selector>(
    rule: &S,
    ctx: &StageCtx<'_>,
    ground: &TrainingSet<'_>,
    groups: &[Share],
    compute: &Compute,
) -> Result<Vec<PickedSample>, StageError> {
    let total: usize = groups.iter().map(|group| group.budget).sum();
    let (mut picked, mut before) = (vec![], 0);
    for Share { index, members, budget } in groups {
        ctx.check_cancelled()?;
        if *budget == 0 {
            continue;
        }
        let watch = Reporting { ctx, before, total };
        let (index, streams) = (*index, ctx.streams());
        let group = Group { ground, members, index, streams, watch: &watch, compute };
        let picks = rule.select(&group, *budget)?;
        picked.extend(placed(&picks, &group, *budget)?);
        before += budget;
    }
    Ok(picked)
}

/// Returns the samples at the places of a group that were picked, having checked that they are what was
/// asked for.
fn placed(
    picks: &Picks,
    group: &Group<'_>,
    budget: usize,
) -> Result<Vec<PickedSample>, StageError> {
    let mut taken = vec![false; group.len()];
    for place in &picks.places {
        if std::mem::replace(&mut taken[place.index()], true) {
            let sample = group.sample(*place);
            return Err(MethodError::PickedTwice { sample }.into());
        }
    }
    // Weighted methods may find that fewer are enough; nothing may take more.
    if picks.places.len() > budget || (picks.weights.is_none() && picks.places.len() < budget) {
        let found = picks.places.len();
        return Err(MethodError::PickCount { found, budget }.into());
    }
    let weight = |at: usize| picks.weights.as_ref().map(|weights| weights[at]);
    let places = picks.places.iter().enumerate();
    let sample = |(at, place): (usize, &InGroup)| PickedSample {
        sample: group.sample(*place),
        weight: weight(at),
    };
    Ok(places.map(sample).collect())
}

/// Tells the run how many samples are picked.
struct Reporting<'a> {
    ctx: &'a StageCtx<'a>,
    before: usize,
    total: usize,
}

impl Watch for Reporting<'_> {
    fn step(&self, done: usize, _: usize) -> Result<(), StageError> {
        self.ctx.check_cancelled()?;
        if done.is_multiple_of((self.total / 200).max(1)) {
            self.ctx.progress(StageProgress::new(
                (self.before + done) as u64,
                self.total as u64,
                "sample",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::top::Top;

    fn rule(keep: f64, balance: Balance) -> Select<Top> {
        let keep = Fraction::try_from(keep).ok();
        Select { keep, balance, ..Select::default() }
    }

    #[test]
    fn groups_follow_the_balance() {
        let labels = [0, 1, 0, 0, 1, 0];
        let groups = |rule: &Select<Top>| rule.groups(&labels, 3).expect("there is room");
        let share = |index, members: &[u32], budget| {
            let members = members.iter().map(|sample| SampleId::from(*sample)).collect();
            Share { index, members, budget }
        };
        assert_eq!(groups(&rule(0.5, Balance::None)), [share(0, &[0, 1, 2, 3, 4, 5], 3)]);
        let class = groups(&rule(0.5, Balance::Class));
        assert_eq!(class, [share(0, &[0, 2, 3, 5], 2), share(1, &[1, 4], 1), share(2, &[], 0)]);
        let equal = groups(&rule(0.9, Balance::Equal));
        assert_eq!(equal.iter().map(|group| group.budget).collect::<Vec<_>>(), [3, 2, 0]);
        // 0.25 of 4 and of 2, each rounded by itself: 1 and 0, though 0.25 of 6 is 2.
        let rounded = groups(&rule(0.25, Balance::ClassRounded));
        assert_eq!(rounded.iter().map(|group| group.budget).collect::<Vec<_>>(), [1, 0, 0]);
        let too_many = Select::<Top> { budget: Some(7), ..Select::default() };
        assert!(too_many.groups(&labels, 3).is_err());
    }

    #[test]
    fn contradictions_are_found_before_the_run() {
        assert_eq!(Select::<Top>::default().problems().len(), 1);
        let both =
            Select::<Top> { budget: Some(1), quotas: Some(vec![]), ..rule(0.5, Balance::None) };
        let settings: Vec<String> = both.problems().into_iter().map(|p| p.setting).collect();
        assert_eq!(settings, ["budget", "quotas"]);
        assert!(rule(0.5, Balance::Class).problems().is_empty());
    }

    #[test]
    fn a_method_that_breaks_its_budget_is_caught() {
        let labels = [0; 8];
        let ground = TrainingSet { labels: &labels, ..TrainingSet::default() };
        let members = [5, 6, 7].map(SampleId::from);
        let group = Group::unwatched(&ground, &members, 0, engine::Streams::new(0, &[]));
        let placed = |rows: &[u32]| placed(&Picks::from(rows.to_vec()), &group, 2);
        assert!(placed(&[1, 1]).is_err());
        assert!(placed(&[1]).is_err());
        let picked = placed(&[2, 0]).expect("they are two");
        assert_eq!(picked.iter().map(|one| u32::from(one.sample)).collect::<Vec<_>>(), [7, 5]);
    }
}
