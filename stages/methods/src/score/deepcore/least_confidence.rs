//! Least confidence as DeepCore ranks by it.

use crate::score::{Scorer, TrainedProxy};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The largest logit, turned round.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreLeastConfidence {}

impl Scorer for DeepCoreLeastConfidence {
    const NAME: &'static str = "score.deepcore.least-confidence";
    const SUMMARY: &'static str = "the largest logit, turned round: DeepCore's least confidence";
    const MANUAL: &'static str = "\
`score.least-confidence`, but of the largest logit where that takes the largest probability. With `balance = false`
DeepCore keeps the most certain samples: that is `select.bottom` here. Release of February 2023 (commit
74ec709); that of 2022 does the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `score.least-confidence`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let logits = proxy.logits()?;
        let value = |i: usize| logits.row(i).iter().copied().fold(f32::NAN, f32::max);
        let values = (0..proxy.labels().len()).into_par_iter().map(value).collect();
        Ok(Scores::harder_when_low(values))
    }
}
