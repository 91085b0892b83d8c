//! Label issues by confident learning.

use super::{Scorer, TrainedProxy};
use crate::confident::{label_issues, probabilities};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How likely the label is wrong, by networks that have not seen the sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct LabelIssue {
    /// What samples are ranked by.
    by: IssueRank,
    /// Whether all samples that confident learning flags rank above all it does not.
    flagged_first: bool,
}

/// What samples are ranked by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum IssueRank {
    /// The label's probability; low is hard.
    #[default]
    SelfConfidence,
    /// The label's probability less the largest of the others; low is hard.
    NormalizedMargin,
}

impl Scorer for LabelIssue {
    const NAME: &'static str = "score.label-issue";
    const SUMMARY: &'static str =
        "how likely the label is wrong, by confident learning; high is likely wrong";
    const MANUAL: &'static str = "\
The out-of-fold probability of the label, turned round: `1 - p_y`, or `(1 - (p_y - max p_c)) / 2` with
`rule.by = \"normalized-margin\"`, both from 0 to 1 and high where the label is likely wrong. With
`rule.flagged-first` the samples flagged by confident learning, pruned by noise rate, get 1 more: all of them
rank above the others.

Connect a proxy trained with `folds`: a network that has seen a sample believes its label.

Northcutt, Jiang & Chuang, *Confident Learning: Estimating Uncertainty in Dataset Labels*, JAIR 2021, and
cleanlab's ranks. Cost: O(n C), with flags O(n C + C n log n).";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let (logits, labels) = (proxy.logits()?, proxy.labels());
        let (p, classes) = (probabilities(&logits), logits.cols());
        let mut scores: Vec<f32> = labels
            .iter()
            .zip(p.chunks_exact(classes.max(1)))
            .map(|(label, p)| {
                let own = p[label.index()];
                let others = p.iter().enumerate().filter(|(class, _)| *class != label.index());
                let rival = others.map(|(_, p)| *p).fold(0.0, f64::max);
                match self.by {
                    IssueRank::SelfConfidence => (1.0 - own) as f32,
                    IssueRank::NormalizedMargin => ((1.0 - (own - rival)) / 2.0) as f32,
                }
            })
            .collect();
        if self.flagged_first {
            let issues = label_issues(&p, labels, classes);
            for (score, flagged) in scores.iter_mut().zip(&issues.flagged) {
                *score += f32::from(u8::from(*flagged));
            }
        }
        Ok(Scores::harder_when_high(scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::testing::InMemory;

    #[test]
    fn ranks_worked_by_hand() {
        // p = (3/4, 1/4), (1/4, 3/4), (3/4, 1/4): the second is the one that is wrong.
        let ln3 = 3f32.ln();
        let labels = [0, 0, 0, 1];
        let logits = vec![ln3, 0.0, 0.0, ln3, ln3, 0.0, 0.0, ln3];
        let proxy = InMemory::recorded(&labels, 2, &[logits]);
        let score = |rule: LabelIssue| {
            rule.score(&proxy, Streams::new(0, &[])).expect("there are logits").scores
        };
        let near = |found: Vec<f32>, wanted: [f32; 4]| {
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        near(score(LabelIssue::default()), [0.25, 0.75, 0.25, 0.25]);
        let margin = LabelIssue { by: IssueRank::NormalizedMargin, ..LabelIssue::default() };
        near(score(margin), [0.25, 0.75, 0.25, 0.25]);
        let flagged = LabelIssue { flagged_first: true, ..LabelIssue::default() };
        near(score(flagged), [0.25, 1.75, 0.25, 0.25]);
    }
}
