//! Samples at random.

use super::{Group, Picks, SelectInput, Selector, draw, numpy::RandomState};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples drawn uniformly, without replacement.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Random {
    /// Draws as DeepCore does with this `--seed`, from numpy's legacy generator: its very subset,
    /// with `balance = "none"` or `"class-rounded"`. The pipeline's seed then changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numpy_seed: Option<u32>,
}

impl Selector for Random {
    const NAME: &'static str = "select.random";
    const SUMMARY: &'static str = "samples drawn uniformly: the baseline that must be beaten";
    const MANUAL: &'static str = "\
Draws without replacement, all sets of the budget's size equally likely; with `balance = \"class\"` the
class-balanced baseline. A larger budget from the same seed keeps what a smaller one kept, as long as the
groups are the same. Cost: O(n).

DeepCore's `Uniform` draws from numpy's global state: `rule.numpy-seed` repeats its subset. Its `replace`,
which keeps samples twice, is not offered: a subset holds each sample once.";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: SelectInput = SelectInput::Labels;

    fn streams(&self) -> &'static [&'static str] {
        if self.numpy_seed.is_some() { &[] } else { Self::STREAMS }
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        if let Some(seed) = self.numpy_seed {
            let mut state = RandomState::new(seed);
            state.skip_to(group);
            return Ok(state.choice(group.len() as u32, budget).into());
        }
        let mut stream = group.streams.at("picks", group.index);
        Ok(draw::sample(&mut stream, (0..group.len() as u32).collect(), budget).into())
    }
}
