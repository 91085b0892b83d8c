//! The entropy as DeepCore computes it.

use crate::score::{Scorer, TrainedProxy};
use artifacts::{logits::softmax, scores::Scores};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The entropy of the final prediction, with 1e-6 inside the logarithm.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct DeepCoreEntropy {}

impl Scorer for DeepCoreEntropy {
    const NAME: &'static str = "score.deepcore.entropy";
    const SUMMARY: &'static str = "the entropy as DeepCore computes it; high is uncertain";
    const MANUAL: &'static str = "\
`-sum p log (p + 1e-6)`: `score.entropy`, but for the 1e-6. DeepCore publishes the negative, and with `balance =
false` keeps the most certain samples: that is `select.bottom` here. Release of February 2023 (commit
74ec709); that of 2022 does the same.

Guo, Zhao & Bai, *DeepCore: A Comprehensive Library for Coreset Selection in Deep Learning*, DEXA 2022.
Cost: that of `score.entropy`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let logits = proxy.logits()?;
        let value = |i: usize| {
            let p = softmax(logits.row(i));
            -p.iter().map(|p| p * (p + 1e-6).ln()).sum::<f64>() as f32
        };
        let values = (0..proxy.labels().len()).into_par_iter().map(value).collect();
        Ok(Scores::harder_when_high(values))
    }
}
