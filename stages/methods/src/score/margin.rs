//! Uncertainty as the margin between the first and the second class.

use super::{Scorer, TrainedProxy};
use artifacts::logits::softmax;
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The probability of the first class less that of the second.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Margin {}

impl Scorer for Margin {
    const NAME: &'static str = "score.margin";
    const SUMMARY: &'static str = "the lead of the top class over the next; a small lead is hard";
    const MANUAL: &'static str = "\
The score is `-(p_1 - p_2)`, and `p_1 - p_2` is kept as `published`. The label plays no part: for the
margin of the label see `score.aum`. With a single class the lead is over 0.

Coleman et al., *Selection via TrainedProxy*, ICLR 2020; Scheffer et al. 2001. Cost: O(nC). DeepCore, with
`balance = false`, keeps the most certain samples: that is `select.bottom` here.";

    fn score(&self, proxy: &dyn TrainedProxy, _: Streams) -> Result<Scores, StageError> {
        let logits = proxy.logits()?;
        let value = |i: usize| {
            let (mut first, mut second) = (f64::NEG_INFINITY, 0.0);
            for p in softmax(logits.row(i)) {
                if p > first {
                    second = first.max(0.0);
                    first = p;
                } else if p.is_nan() {
                    return f32::NAN;
                } else {
                    second = p.max(second);
                }
            }
            (first - second) as f32
        };
        let values = (0..proxy.labels().len()).into_par_iter().map(value).collect();
        Ok(Scores::harder_when_low(values))
    }
}
