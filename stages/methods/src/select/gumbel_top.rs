//! Importance resampling: a draw without replacement in proportion to the exponential of scores.

use super::{Group, Picks, SelectInput, Selector, draw};
use artifacts::units::Positive;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Draws samples in proportion to exp(score / temperature).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GumbelTop {
    /// What scores are divided by: the higher, the more even the draw.
    temperature: Positive,
}

impl Default for GumbelTop {
    fn default() -> Self {
        Self { temperature: Positive::try_from(1.0).expect("1 is above 0") }
    }
}

impl Selector for GumbelTop {
    const NAME: &'static str = "select.gumbel-top";
    const SUMMARY: &'static str = "a draw in proportion to exp(score), without replacement";
    const MANUAL: &'static str = "\
Draws one sample after the other, each in proportion to exp(score / temperature) among those that are left: what
adding Gumbel noise to the scores and keeping the highest comes to. Samples of score minus infinity come last, in
their order. Scores are logarithms of weights, such as those of `score.ngram-weight`.

Xie, Santurkar, Ma & Liang, *Data Selection for Language Models via Importance Resampling*, NeurIPS 2023, who
resample so; Kool, van Hoof & Welling, *Stochastic Beams and Where to Find Them*, ICML 2019, for the noise. Cost:
O(n log n).

    [stage.subset]
    use  = \"select.gumbel-top\"
    from = { scores = \"weights\" }
    with = { keep = 0.1, unit = \"tokens\" }";
    const STREAMS: &'static [&'static str] = &["pick"];
    const READS: &'static [SelectInput] = &[SelectInput::Scores];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let temperature = f64::from(self.temperature);
        let weight = |score: &f64| score / temperature;
        let weights: Vec<f64> = group.scores().iter().map(weight).collect();
        let mut stream = group.streams.at("pick", group.index);
        Ok(draw::weighted(&mut stream, &weights, budget).into())
    }
}
