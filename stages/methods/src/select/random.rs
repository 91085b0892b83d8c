//! Uniform random samples: the baseline of every selector.

use super::{Group, Picks, SelectInput, Selector, draw};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples drawn uniformly, without replacement.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct RandomSubset {}

impl Selector for RandomSubset {
    const NAME: &'static str = "select.random";
    const SUMMARY: &'static str = "samples drawn uniformly: the baseline that must be beaten";
    const MANUAL: &'static str = "\
Draws without replacement, all sets of the budget's size equally likely; with `balance = \"class\"` the
class-balanced baseline. A larger budget from the same seed keeps what a smaller one kept, as long as the
groups are the same. Cost: O(n).

DeepCore's `Uniform`, which draws from numpy's global state, is `select.deepcore.random`.";
    const STREAMS: &'static [&'static str] = &["picks"];
    const READS: &'static [SelectInput] = &[];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut stream = group.streams.at("picks", group.index);
        Ok(draw::sample(&mut stream, (0..group.len() as u32).collect(), budget).into())
    }
}
