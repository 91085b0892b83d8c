//! Confident learning: what is not flagged as a label issue.

use super::{Group, Picks, SelectInput, Selector, TrainingSet, draw, top::hardest_first};
use artifacts::logits::softmax;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Drops samples whose labels are flagged, then keeps as many of the others as the budget has room for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct PruneIssues {
    /// Which of the samples that are not flagged are kept.
    order: IssueOrder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum IssueOrder {
    /// Some of them, drawn at random.
    #[default]
    Random,
    /// Those whose labels are most probable.
    SelfConfidence,
}

impl Selector for PruneIssues {
    const NAME: &'static str = "select.prune-issues";
    const SUMMARY: &'static str = "drops flagged labels, then keeps some of the rest";
    const MANUAL: &'static str = "\
Confident learning flags labels that are likely wrong (prune by noise rate: see `score.label-issue`).
Flagged samples are dropped; of the others as many as the budget has room for are drawn at random, or with
`rule.order = \"self-confidence\"` those with the largest probability of their label: the easy end. Where
the others are fewer than the budget, the flagged samples with the largest probability of their label fill
it. Of equally probable ones the earlier is kept.

Connect a proxy trained with `folds` to `proxy`: a network that has seen a label has learnt it. The log has
how many are flagged. `select.robust` cuts as much, but by a score of training, and covers what is left.

Northcutt, Jiang & Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR 2021. There
all that is not flagged is kept, and the number that is follows from the data; here the budget is given. In
cleanlab some samples were flagged that the network predicts as they are labelled until it took that back;
so does this. Cost: O(n C + n log n).";
    const READS: &'static [SelectInput] = &[SelectInput::Logits];
    const STREAMS: &'static [&'static str] = &["picks"];

    fn streams(&self) -> &'static [&'static str] {
        if self.order == IssueOrder::Random { Self::STREAMS } else { &[] }
    }

    fn remarks(&self, set: &TrainingSet<'_>) -> Vec<String> {
        let (share, n) = (set.label_issues().share(), set.labels.len());
        vec![format!("{:.1} % of {n} labels are flagged", share * 100.0)]
    }

    fn variants() -> Vec<Self> {
        [IssueOrder::Random, IssueOrder::SelfConfidence].map(|order| Self { order }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (logits, labels) = (group.logits(), group.labels());
        let probability = |i: usize| softmax(logits.row(i))[labels[i].index()] as f32;
        let confidence: Vec<f32> = (0..group.len()).map(probability).collect();
        let flagged = &group.ground.label_issues().flagged;
        let is_flagged = |place: &u32| flagged[group.members[*place as usize].index()];
        let (issues, others): (Vec<u32>, Vec<u32>) =
            hardest_first(&confidence).into_iter().partition(is_flagged);
        let count = budget.min(others.len());
        let mut picks = match self.order {
            IssueOrder::SelfConfidence => others[..count].to_vec(),
            IssueOrder::Random => {
                let mut others = others;
                others.sort_unstable();
                draw::sample(&mut group.streams.at("picks", group.index), others, count)
            }
        };
        picks.extend(issues.into_iter().take(budget - count));
        Ok(picks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use artifacts::{ClassId, Matrix, SampleId};
    use engine::Streams;

    fn select(order: IssueOrder, seed: u64, budget: usize) -> Vec<u32> {
        // Labels 0 0 0 0 1 1; the fourth is flagged: as in the joint worked by hand of `confident`.
        let labels = ClassId::list([0, 0, 0, 0, 1, 1]);
        let p = [0.9f32, 0.8, 0.9, 0.2, 0.15, 0.4];
        let logits: Vec<f32> = p.iter().flat_map(|p| [p.ln(), (1.0 - p).ln()]).collect();
        let ground = TrainingSet {
            labels: &labels,
            logits: Some(Matrix::new(&logits[..], 6, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(6).collect();
        let group =
            Group::unwatched(&ground, &members, 0, Streams::new(seed, PruneIssues::STREAMS));
        PruneIssues { order }.select(&group, budget).expect("nobody stops it").rows()
    }

    #[test]
    fn what_is_flagged_is_kept_last() {
        assert_eq!(select(IssueOrder::SelfConfidence, 0, 6), [0, 2, 4, 1, 5, 3]);
        for seed in 0..20 {
            assert!(!select(IssueOrder::Random, seed, 5).contains(&3));
        }
        assert!((1..20).any(|seed| select(IssueOrder::Random, seed, 3) != select(IssueOrder::Random, 0, 3)));
        assert_eq!(select(IssueOrder::Random, 0, 6)[5], 3);
    }
}
