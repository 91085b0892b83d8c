//! The stage around every selecting method: what it reads, the budgets of its groups, what it writes.

use super::{
    Group, Picks, SelectFn, Selector, TrainingSet, Watch,
    balance::{Balance, BalanceBy, Division, Share, Strata},
    budget,
    inputs::{self, Asked, SelectorInputs},
    unit,
};
use crate::{MethodError, Runtime, linalg::Compute};
use artifacts::{
    ClassId, InGroup,
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
    /// What `keep` and `budget` count instead of samples: a column of counts of the data, such as `tokens`.
    /// The largest number of samples is picked that fits, which takes a few selections instead of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// How the budget is divided among classes: `none` (all compete), `class` (in proportion to
    /// class sizes), `equal` (the same for each, as far as they reach), `given` (in proportion to
    /// `quotas`), `class-rounded` (each class's share rounded by itself, as DeepCore does: the
    /// total may be off by a few), `drop` (in proportion to 1 - recall) or `metriq` (in proportion to
    /// class size times 1 - recall), where the recall is that of the proxy on port `recall` over samples it
    /// was not trained on: one with `folds`, or trained on a subset. (Vysogorets, Ahuja & Kempe, *DRoP:
    /// Distributionally Robust Data Pruning*, ICLR 2025: its code has `drop`, its paper and MetriQ `metriq`.)
    balance: Balance,
    /// Among what it is divided: `class`, or `group`, those of the data set on port `groups`.
    #[serde(skip_serializing_if = "BalanceBy::is_class")]
    balance_by: BalanceBy,
    /// The weight of each class or group in the budget, for `balance = "given"`.
    quotas: Option<Vec<NonNegative>>,
    /// The method's own settings.
    rule: S,
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

impl<S: Selector> Select<S> {
    fn division(&self) -> Division<'_> {
        let Self { keep, balance, balance_by: by, quotas, .. } = self;
        Division { balance: *balance, by: *by, quotas: quotas.as_deref(), keep: *keep }
    }

    /// Returns how many to keep of `n` samples, or of `n` of what the budget counts.
    fn total(&self, n: usize) -> Result<usize, MethodError> {
        let total = match (self.keep, self.budget) {
            _ if S::WHOLE => n,
            (Some(keep), _) => budget::rounded(keep.into(), n),
            (None, Some(budget)) => budget,
            (None, None) => 0,
        };
        if total > n { Err(MethodError::Budget { budget: total, n }) } else { Ok(total) }
    }

    /// Returns what to pick from, each with its budget.
    fn shares(
        &self,
        ctx: &StageCtx<'_>,
        labels: &[ClassId],
        classes: usize,
        sizes: Option<&[u64]>,
    ) -> Result<Vec<Share>, StageError> {
        let all = sizes.map_or(labels.len() as u64, |sizes| sizes.iter().sum());
        let total = self.total(usize::try_from(all).unwrap_or(usize::MAX))?;
        let division = self.division();
        if S::WHOLE {
            return Ok(vec![Share::whole(labels.len(), total)]);
        }
        let groups = division.groups(ctx, labels.len())?;
        let strata = match &groups {
            Some((of, count)) => Strata::new(of, *count, sizes),
            None => Strata::new(labels, classes, sizes),
        };
        let recall = division.recall(ctx, &strata)?;
        let shares = division.shares(total, &strata, recall.as_deref())?;
        if let Some(recall) = recall {
            let each = recall.iter().zip(&shares);
            let each = each.map(|(recall, share)| format!("{recall:.3}: {}", share.budget));
            ctx.log(format!("recall and budget of each: {}", each.collect::<Vec<_>>().join(", ")));
        }
        Ok(shares)
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
        let mut ports = inputs::ports(S::READS, S::READS_AT_LEAST);
        if !S::WHOLE {
            ports.extend(self.division().ports());
        }
        ports
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
        all.extend(self.division().problems(S::WHOLE));
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
        let inputs = SelectorInputs::read(ctx, &Asked::by(&self.rule), &self.inputs())?;
        let (labels, classes) = (&inputs.samples.labels[..], inputs.samples.classes);
        let ground = inputs.training_set();
        for remark in self.rule.remarks(&ground) {
            ctx.log(remark);
        }
        let unit = self.unit.as_deref().filter(|_| !S::WHOLE);
        let columns = unit.map(|_| inputs.samples.columns(ctx)).transpose()?.flatten();
        let sizes = unit.map(|unit| unit::sizes(columns.as_ref(), unit)).transpose()?;
        let shares = self.shares(ctx, labels, classes, sizes)?;
        let compute = Runtime::of(ctx).compute(S::ON_DEVICE);
        let select = |group: &Group<'_>, budget| self.rule.select(group, budget);
        let picked = compute
            .guarded(MEMORY_HINT, || pick(&select, ctx, &ground, &shares, sizes, &compute))?;
        let subset = Subset::new(labels.len(), picked).map_err(MethodError::from)?;
        let total = match sizes {
            Some(_) => subset.len(),
            None => shares.iter().map(|share| share.budget).sum(),
        };
        subset.put(ctx, &inputs.samples, total)
    }
}

const MEMORY_HINT: &str = "`balance = \"class\"` selects class by class and takes less, and `--jobs 1` \
                           runs one stage at a time; `--device cpu` works in tiles";

/// Picks from every share. The budgets are in samples, or in `sizes`.
fn pick(
    select: &SelectFn<'_>,
    ctx: &StageCtx<'_>,
    ground: &TrainingSet<'_>,
    shares: &[Share],
    sizes: Option<&[u64]>,
    compute: &Compute,
) -> Result<Vec<PickedSample>, StageError> {
    let total: usize = shares.iter().map(|share| share.budget).sum();
    let (mut picked, mut before) = (vec![], 0);
    for Share { index, members, budget } in shares {
        ctx.check_cancelled()?;
        if *budget == 0 {
            continue;
        }
        let watch = Reporting { ctx, before, total };
        let (index, streams) = (*index, ctx.streams());
        let group = Group { ground, members, index, streams, watch: &watch, compute };
        match sizes {
            None => picked.extend(placed(&select(&group, *budget)?, &group, *budget)?),
            Some(sizes) => {
                let size = |picks: &Picks| {
                    picks.places.iter().map(|place| sizes[group.sample(*place).index()]).sum()
                };
                let all = members.iter().map(|sample| sizes[sample.index()]).sum();
                let picks = unit::fill((group.len(), all), *budget as u64, size, |count| {
                    ctx.check_cancelled()?;
                    select(&group, count)
                })?;
                picked.extend(placed(&picks, &group, picks.places.len())?);
            }
        }
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
    use artifacts::SampleId;

    #[test]
    fn how_much_is_kept_is_said_once() {
        let keep = Fraction::try_from(0.5).ok();
        assert_eq!(Select::<Top>::default().problems().len(), 1);
        let both = Select::<Top> { budget: Some(1), keep, ..Select::default() };
        let settings: Vec<String> = both.problems().into_iter().map(|p| p.setting).collect();
        assert_eq!(settings, ["budget"]);
        let too_many = Select::<Top> { budget: Some(7), ..Select::default() };
        assert!(too_many.total(6).is_err() && too_many.total(7).is_ok());
        assert_eq!(Select::<Top> { keep, ..Select::default() }.total(5).ok(), Some(2));
    }

    #[test]
    fn a_method_that_breaks_its_budget_is_caught() {
        let labels = [ClassId::at(0); 8];
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
