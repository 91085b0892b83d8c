//! Uncertainty as the entropy of the final prediction.

use super::{Scorer, TrainedProxy};
use artifacts::scores::Scores;
use artifacts::{ClassId, record::EpochRow};
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The entropy of the final prediction.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Entropy {}

impl Scorer for Entropy {
    const NAME: &'static str = "score.entropy";
    const SUMMARY: &'static str = "the entropy of the final prediction; high is uncertain";
    const MANUAL: &'static str = "\
`-sum p log p`, in nats, on the final logits.

Coleman et al., *Selection via TrainedProxy*, ICLR 2020; Shannon 1948. Cost: O(nC). DeepCore's own, which
differs in its last digits, is `score.deepcore.entropy`.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let logits = proxy.logits()?;
        let value = |(i, label): (usize, &ClassId)| EpochRow::of(logits.row(i), *label).entropy;
        let values = proxy.labels().par_iter().enumerate().map(value).collect();
        Ok(Scores::harder_when_high(values))
    }
}
