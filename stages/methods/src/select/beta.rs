//! The draw of DUAL: scores weighed by a Beta density of the mean probability.

use super::{Group, Picks, SelectInput, Selector, TrainingSet, draw, top::hardest_first};
use artifacts::units::{Count, Positive};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Draws by score, and the fewer are kept the more from what is learnt easily.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Beta {
    /// How late the density moves to the easy samples as more is pruned: the easier the data, the
    /// smaller. The authors have 5.5 for CIFAR-10, 4 for CIFAR-100, and 11 for ImageNet.
    c: Positive,
    /// Over how many epochs, from the first, the label's probability is averaged; all on record if
    /// left out. Those of the score.
    epochs: Option<Count>,
}

impl Default for Beta {
    fn default() -> Self {
        Self { c: Positive::try_from(1.0).expect("1 is above 0"), epochs: None }
    }
}

/// What the two parameters of the density sum to.
const CONCENTRATION: f64 = 16.0;

/// How many of the highest scores tell where the density begins.
const HIGHEST: usize = 10;

/// How far from 0 and 1 a probability is kept: there the density is 0 or infinite.
const EDGE: f64 = 1e-7;

impl Beta {
    /// Returns the logarithm of each sample's chance, up to a constant; minus infinity for none.
    fn log_weights(&self, scores: &[f64], probabilities: &[f32], pruned: f64) -> Vec<f64> {
        let highest = hardest_first(scores).into_iter().take(HIGHEST);
        let highest: Vec<f64> = highest.map(|at| f64::from(probabilities[at as usize])).collect();
        let mean = highest.iter().sum::<f64>() / highest.len() as f64;
        let b = (CONCENTRATION - 1.0) * (1.0 - mean) * (1.0 - pruned.powf(self.c.into()));
        let a = CONCENTRATION - b;
        let weight = |(score, p): (&f64, &f32)| {
            let p = f64::from(*p).clamp(EDGE, 1.0 - EDGE);
            let density = (a - 1.0) * p.ln() + (b - 1.0) * (1.0 - p).ln();
            if *score > 0.0 { score.ln() + density } else { f64::NEG_INFINITY }
        };
        scores.iter().zip(probabilities).map(weight).collect()
    }
}

impl Selector for Beta {
    const NAME: &'static str = "select.beta";
    const SUMMARY: &'static str =
        "DUAL's draw: by score, and the fewer are kept the more from what is easy";
    const MANUAL: &'static str = "\
Draws the budget without replacement, each sample in proportion to `score * Beta(m; 16 - b, b)`, where m is
the mean probability of its label over the epochs on record and

    b = 15 (1 - mu) (1 - r^c)

with r the share that is pruned and mu the mean of m over the ten highest scores. High scores are kept while
little is pruned; as r grows the density moves to easy samples. Connect the score to `scores` and the
proxy it was made from to `proxy`:

    [stage.subset]
    use  = \"select.beta\"
    from = { scores = \"dual\", proxy = \"proxy\" }
    with = { keep = 0.1, rule.c = 2 }

Cho et al., *Lightweight Dataset Pruning without Full Training via Example Difficulty and Prediction
Uncertainty*, ICML 2025, the pruning-ratio-adaptive Beta sampling. Cost: O(n T + n log n).

There is no `rule.c` for all data: the easier the set, the smaller it has to be. The authors' 5.5, 4 and 11
are of CIFAR-10, CIFAR-100 and ImageNet, with a score of the first 30 epochs of 200 (60 for ImageNet). On
Fashion-MNIST with an MLP, where a random 0.3 gave 87.1 to 87.6 %, c = 5.5 gave 83.2, 2 gave 86.9, 1 gave
88.8 and 0.5 gave 88.3; at 0.1 c = 2 was best, by 2 points over random. The default of 1 is for sets as
easy; sweep it.

The authors' first release averaged over a single epoch and swapped scores and order, and its README passes
the sorted positions as the scores. Here m is kept 1e-7 away from 0 and 1, a sample that an epoch did not
see is averaged over the others, and a score that is not above 0 is drawn only once no other is left.";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores, SelectInput::Probabilities];

    fn epochs(&self) -> Option<Count> {
        self.epochs
    }

    fn remarks(&self, set: &TrainingSet<'_>) -> Vec<String> {
        let scores = set.scores.unwrap_or_default();
        match scores.iter().filter(|score| **score < 0.0).count() {
            0 => vec![],
            below => vec![format!(
                "{below} scores are below 0, and are drawn last: chances are in proportion to scores"
            )],
        }
    }

    fn variants() -> Vec<Self> {
        let late = Self { c: Positive::try_from(5.5).expect("5.5 is above 0"), epochs: None };
        vec![Self::default(), late]
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let pruned = 1.0 - budget as f64 / group.len() as f64;
        let weights = self.log_weights(&group.scores(), &group.probabilities(), pruned);
        let mut stream = group.streams.at("picks", group.index);
        Ok(draw::weighted(&mut stream, &weights, budget).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_worked_by_hand() {
        // mu = (1/2 + 1/4) / 2 = 3/8, so b = 15 * 5/8 * (1 - 1/2) = 75/16 and a = 181/16.
        let rule = Beta::default();
        let weights = rule.log_weights(&[2.0, 1.0], &[0.5, 0.25], 0.5);
        let (a, b) = (181.0 / 16.0, 75.0 / 16.0);
        let ratio = 2.0 * 2f64.powf(a - 1.0) * (2f64 / 3.0).powf(b - 1.0);
        assert!((weights[0] - weights[1] - ratio.ln()).abs() < 1e-12);
    }

    #[test]
    fn what_is_certain_and_what_has_no_score_is_drawn_all_the_same() {
        let weights = Beta::default().log_weights(&[0.0, 1.0, -3.0], &[0.5, 1.0, 0.0], 0.9);
        assert_eq!(weights[0], f64::NEG_INFINITY);
        assert!(weights[1].is_finite());
        assert_eq!(weights[2], f64::NEG_INFINITY);
    }
}
