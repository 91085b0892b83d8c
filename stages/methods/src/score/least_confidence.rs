//! Uncertainty as least confidence: the top class's probability, turned round.

use super::{Scorer, TrainedProxy};
use artifacts::logits::softmax;
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How little the network believes in its own first choice.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct LeastConfidence {}

impl Scorer for LeastConfidence {
    const NAME: &'static str = "score.least-confidence";
    const SUMMARY: &'static str =
        "the probability of the top class, turned round; low confidence is hard";
    const MANUAL: &'static str = "\
The score is `-max p`, and `max p` is kept as `published`.

Coleman et al., *Selection via TrainedProxy*, ICLR 2020; Lewis & Gale 1994. Cost: O(nC). DeepCore's
own, by the largest logit, is `score.deepcore.least-confidence`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let logits = proxy.logits()?;
        let value = |i: usize| softmax(logits.row(i)).into_iter().fold(f64::NAN, f64::max) as f32;
        let values = (0..proxy.labels().len()).into_par_iter().map(value).collect();
        Ok(Scores::harder_when_low(values))
    }
}
