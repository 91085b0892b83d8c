//! How the budget is divided: among all samples, classes, or groups.

use super::budget;
use crate::MethodError;
use artifacts::{
    GroupId, RowIndex, SampleId, dataset,
    logits::argmax,
    parts,
    record::{self, LabelledSamples},
    subset::Subset,
    units::{Fraction, NonNegative},
};
use engine::{Port, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the budget is divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Balance {
    /// Not at all: all samples compete.
    #[default]
    None,
    /// In proportion to the sizes.
    Class,
    /// The same for each, as far as they reach.
    Equal,
    /// In proportion to `quotas`.
    Given,
    /// The share of each, rounded by itself (DeepCore).
    ClassRounded,
    /// In proportion to 1 - recall (DRoP as its code has it).
    Drop,
    /// In proportion to size times 1 - recall (MetriQ).
    Metriq,
}

/// What the budget is divided among.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum BalanceBy {
    /// The classes.
    #[default]
    Class,
    /// The groups of the data set on port `groups`.
    Group,
}

impl BalanceBy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    pub(super) fn is_class(&self) -> bool {
        *self == Self::Class
    }
}

impl Balance {
    fn looks_at_recall(self) -> bool {
        matches!(self, Self::Drop | Self::Metriq)
    }
}

/// A part to pick from: the whole training set, or a class or group of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Share {
    /// The class or group, or 0 for the whole.
    pub(super) index: u64,
    /// Its samples, ascending.
    pub(super) members: Vec<SampleId>,
    /// How many of them to keep, or how much of what the budget counts.
    pub(super) budget: usize,
}

impl Share {
    /// Returns the whole of `n` samples as one share.
    pub(super) fn whole(n: usize, budget: usize) -> Self {
        Self { index: 0, members: SampleId::all(n).collect(), budget }
    }
}

/// The settings by which a budget is divided.
#[derive(Clone, Copy)]
pub(super) struct Division<'a> {
    pub(super) balance: Balance,
    pub(super) by: BalanceBy,
    pub(super) quotas: Option<&'a [NonNegative]>,
    pub(super) keep: Option<Fraction>,
}

/// The classes or groups of the training samples.
pub(super) struct Strata<'a> {
    /// The position of each sample's class or group.
    pub(super) of: Vec<usize>,
    /// How many there are.
    pub(super) count: usize,
    /// How much of the budget each sample takes, if not 1.
    pub(super) sizes: Option<&'a [u64]>,
}

impl<'a> Strata<'a> {
    /// Returns the `count` classes of samples with the labels `of`, or their groups.
    pub(super) fn new<I: RowIndex>(of: &[I], count: usize, sizes: Option<&'a [u64]>) -> Self {
        Self { of: of.iter().map(|one| one.index()).collect(), count, sizes }
    }

    /// Returns what `members` take together of the budget.
    fn size(&self, members: &[SampleId]) -> usize {
        let Some(sizes) = self.sizes else { return members.len() };
        let all: u64 = members.iter().map(|sample| sizes[sample.index()]).sum();
        usize::try_from(all).unwrap_or(usize::MAX)
    }
}

impl Division<'_> {
    /// Returns the ports that the division reads, beside those of the method.
    pub(super) fn ports(self) -> Vec<Port> {
        let recall = self.balance.looks_at_recall().then(|| Port::one("recall", parts::PROXY));
        let groups = (self.by == BalanceBy::Group).then(|| Port::one("groups", parts::DATA));
        recall.into_iter().chain(groups).collect()
    }

    /// Returns what does not go together.
    pub(super) fn problems(self, whole: bool) -> Vec<Problem> {
        let mut all = vec![];
        let mut say = |setting: &str, message: &str, hint: Option<&str>| {
            let (setting, message) = (setting.to_owned(), message.to_owned());
            all.push(Problem { setting, message, hint: hint.map(str::to_owned) });
        };
        match (self.balance, self.quotas) {
            (Balance::Given, None) => {
                say("balance", "the quotas of the classes are not given", Some("set `quotas`"));
            }
            (Balance::Given, Some(_)) | (_, None) => {}
            (_, Some(_)) => say(
                "quotas",
                "quotas are given, but the balance is not by them",
                Some("set `balance = \"given\"`"),
            ),
        }
        if self.balance == Balance::ClassRounded && self.keep.is_none() && !whole {
            say("balance", "`class-rounded` rounds a share: it needs `keep`", None);
        }
        if self.by == BalanceBy::Group && self.balance == Balance::None {
            let hint = "set `balance = \"class\"`, for shares in proportion to the groups' sizes, or another";
            say("balance-by", "the budget is not divided among anything", Some(hint));
        }
        all
    }

    /// Divides `total` among `strata`. `recall` is that of a proxy in each, where the balance looks at it.
    pub(super) fn shares(
        self,
        total: usize,
        strata: &Strata<'_>,
        recall: Option<&[f64]>,
    ) -> Result<Vec<Share>, StageError> {
        if self.balance == Balance::None {
            return Ok(vec![Share::whole(strata.of.len(), total)]);
        }
        let mut members = vec![vec![]; strata.count];
        for (sample, stratum) in SampleId::all(strata.of.len()).zip(&strata.of) {
            members[*stratum].push(sample);
        }
        let available: Vec<usize> = members.iter().map(|members| strata.size(members)).collect();
        let sizes = || available.iter().map(|n| *n as f64);
        let missed = || recall.unwrap_or_default().iter().map(|recall| 1.0 - recall);
        let weights: Vec<f64> = match (self.balance, self.quotas) {
            (Balance::Equal, _) => vec![1.0; strata.count],
            (Balance::Given, Some(quotas)) if quotas.len() == strata.count => {
                quotas.iter().map(|quota| f64::from(*quota)).collect()
            }
            (Balance::Given, quotas) => {
                let (classes, quotas) = (strata.count, quotas.map_or(0, <[_]>::len));
                return Err(MethodError::QuotaCount { classes, quotas }.into());
            }
            // Where nothing is missed anywhere, nothing speaks for one before another.
            (Balance::Drop, _) if missed().all(|one| one <= 0.0) => vec![1.0; strata.count],
            (Balance::Metriq, _) if missed().all(|one| one <= 0.0) => sizes().collect(),
            (Balance::Drop, _) => missed().collect(),
            (Balance::Metriq, _) => missed().zip(sizes()).map(|(missed, n)| missed * n).collect(),
            _ => sizes().collect(),
        };
        let budgets = if let (Balance::ClassRounded, Some(keep)) = (self.balance, self.keep) {
            Some(available.iter().map(|n| budget::rounded(keep.into(), *n)).collect())
        } else {
            budget::divide(total, &weights, &available)
        };
        let budgets = budgets.ok_or(MethodError::QuotasTooFew { budget: total })?;
        let shares = (0..).zip(members).zip(budgets);
        Ok(shares.map(|((index, members), budget)| Share { index, members, budget }).collect())
    }

    /// Returns the group of each training sample and how many groups there are, if the budget is divided
    /// among these.
    pub(super) fn groups(
        self,
        ctx: &StageCtx<'_>,
        n: usize,
    ) -> Result<Option<(Vec<GroupId>, usize)>, StageError> {
        if self.by == BalanceBy::Class {
            return Ok(None);
        }
        let artifact = dataset::input(ctx, "groups")?;
        let (meta, ..) = dataset::labels(ctx, "groups", artifact)?;
        let groups =
            dataset::groups(ctx, "groups", artifact, &meta)?.ok_or(MethodError::NoGroups)?;
        if groups.train.len() != n {
            let found = groups.train.len();
            return Err(MethodError::GroupSamples { found, n }.into());
        }
        Ok(Some((groups.train, groups.names.len())))
    }

    /// Returns the recall of the proxy on port `recall` in each of `strata`, over the samples it was not
    /// trained on, if the balance looks at it. Where none of a stratum was held out, it is that over all.
    pub(super) fn recall(
        self,
        ctx: &StageCtx<'_>,
        strata: &Strata<'_>,
    ) -> Result<Option<Vec<f64>>, StageError> {
        if !self.balance.looks_at_recall() {
            return Ok(None);
        }
        let artifact = dataset::input(ctx, "recall")?;
        let LabelledSamples { labels, .. } = LabelledSamples::of(ctx, "recall", artifact)?;
        let logits = record::outputs(ctx, "recall", artifact, "logits")?;
        let n = strata.of.len();
        if labels.len() != n || logits.rows() != n {
            let (port, output, found) = ("recall".to_owned(), "logits".to_owned(), logits.rows());
            return Err(MethodError::OutputSamples { port, output, found, n }.into());
        }
        let held_out = held_out(ctx, "recall", n)?;
        let (mut right, mut seen) = (vec![0u32; strata.count], vec![0u32; strata.count]);
        for at in (0..n).filter(|at| held_out[*at]) {
            let stratum = strata.of[at];
            seen[stratum] += 1;
            right[stratum] += u32::from(argmax(logits.row(at)) == labels[at].index());
        }
        let all = f64::from(right.iter().sum::<u32>()) / f64::from(seen.iter().sum::<u32>());
        let one = |(right, seen): (&u32, &u32)| match seen {
            0 => all,
            seen => f64::from(*right) / f64::from(*seen),
        };
        Ok(Some(right.iter().zip(&seen).map(one).collect()))
    }
}

/// Returns whether each of `n` samples was left out of the training of the proxy on `port`.
fn held_out(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Vec<bool>, StageError> {
    #[derive(Deserialize)]
    struct FoldsOfProxy {
        folds: Option<usize>,
    }
    let artifact = dataset::input(ctx, port)?;
    let training: FoldsOfProxy = parts::part(ctx, port, artifact, "meta")?.json()?;
    if training.folds.is_some() {
        return Ok(vec![true; n]);
    }
    if !artifact.parts.contains_key("subset") {
        return Err(MethodError::NoHeldOut.into());
    }
    let held_out = Subset::of(ctx, port, artifact, n)?.leaves_out(n);
    if held_out.contains(&true) { Ok(held_out) } else { Err(MethodError::NoHeldOut.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::ClassId;

    fn division(keep: f64, balance: Balance) -> Division<'static> {
        let keep = Fraction::try_from(keep).ok();
        Division { balance, by: BalanceBy::Class, quotas: None, keep }
    }

    #[test]
    fn shares_follow_the_balance() {
        let strata = Strata::new(&ClassId::list([0, 1, 0, 0, 1, 0]), 3, None);
        let shares = |keep: f64, balance, total| {
            division(keep, balance).shares(total, &strata, None).expect("there is room")
        };
        let share = |index, members: &[u32], budget| {
            let members = members.iter().map(|sample| SampleId::from(*sample)).collect();
            Share { index, members, budget }
        };
        assert_eq!(shares(0.5, Balance::None, 3), [share(0, &[0, 1, 2, 3, 4, 5], 3)]);
        let class = shares(0.5, Balance::Class, 3);
        assert_eq!(class, [share(0, &[0, 2, 3, 5], 2), share(1, &[1, 4], 1), share(2, &[], 0)]);
        let budgets = |shares: Vec<Share>| shares.iter().map(|one| one.budget).collect::<Vec<_>>();
        assert_eq!(budgets(shares(0.9, Balance::Equal, 5)), [3, 2, 0]);
        // 0.25 of 4 and of 2, each rounded by itself: 1 and 0, though 0.25 of 6 is 2.
        assert_eq!(budgets(shares(0.25, Balance::ClassRounded, 2)), [1, 0, 0]);
    }

    #[test]
    fn quotas_by_recall_worked_by_hand() {
        // 60, 30 and 10 samples, of which .9, .5 and .5 are recognised.
        let of = [vec![0; 60], vec![1; 30], vec![2; 10]].concat();
        let strata = Strata::new(&GroupId::list(of), 3, None);
        let budgets = |balance, total, recall: &[f64]| -> Vec<usize> {
            let shares = division(0.5, balance).shares(total, &strata, Some(recall));
            shares.expect("there is room").iter().map(|share| share.budget).collect()
        };
        // .1 to .5 to .5 of 11; and 6 to 15 to 5 of 26.
        assert_eq!(budgets(Balance::Drop, 11, &[0.9, 0.5, 0.5]), [1, 5, 5]);
        assert_eq!(budgets(Balance::Metriq, 26, &[0.9, 0.5, 0.5]), [6, 15, 5]);
        // The third is full, and what it cannot take goes to the others: 50 in .1 to .5.
        assert_eq!(budgets(Balance::Drop, 46, &[0.9, 0.5, 0.5]), [6, 30, 10]);
        // Nothing is missed.
        assert_eq!(budgets(Balance::Drop, 9, &[1.0; 3]), [3, 3, 3]);
        assert_eq!(budgets(Balance::Metriq, 10, &[1.0; 3]), [6, 3, 1]);
    }

    #[test]
    fn contradictions_are_found_before_the_run() {
        let settings = |division: Division<'_>| -> Vec<String> {
            division.problems(false).into_iter().map(|problem| problem.setting).collect()
        };
        let quotas = [NonNegative::try_from(1.0).expect("it is not below 0")];
        let given = Division { quotas: Some(&quotas), ..division(0.5, Balance::Class) };
        assert_eq!(settings(given), ["quotas"]);
        assert_eq!(settings(division(0.5, Balance::Given)), ["balance"]);
        let groups = Division { by: BalanceBy::Group, ..division(0.5, Balance::None) };
        assert_eq!(settings(groups), ["balance-by"]);
        assert!(settings(division(0.5, Balance::Metriq)).is_empty());
    }
}
