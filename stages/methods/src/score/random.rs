//! A uniform random number for each sample: the baseline of every score.

use super::{ScoreInput, Scorer, TrainedProxy};
use artifacts::scores::Scores;
use engine::{StageError, Streams};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A uniform number, whatever the sample.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct RandomScore {}

impl Scorer for RandomScore {
    const NAME: &'static str = "score.random";
    const SUMMARY: &'static str = "a uniform random number: the baseline of every score";
    const MANUAL: &'static str = "\
A number drawn from 0 to 1 for each sample, by the stage's seed. `select.top` on it is random selection.";
    const STREAMS: &'static [&'static str] = &["scores"];
    const READS: ScoreInput = ScoreInput::Labels;

    fn score(&self, proxy: &dyn TrainedProxy, streams: Streams) -> Result<Scores, StageError> {
        let mut draws = streams.get("scores");
        let scores =
            proxy.labels().iter().map(|_| (draws.next_u64() >> 40) as f32 / (1 << 24) as f32);
        Ok(Scores::harder_when_high(scores.collect()))
    }
}
