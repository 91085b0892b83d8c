//! The whole training set, with which subsets are compared.

use super::{Group, Picks, SelectInput, Selector};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the whole training set.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Full {}

impl Selector for Full {
    const NAME: &'static str = "select.full";
    const SUMMARY: &'static str = "the whole training set: the ceiling of a table";
    const MANUAL: &'static str = "\
Keeps every sample, whatever `keep`, `budget`, and `balance` say, so that it can stand as a variant in
a matrix over them; they are no part of its key.";
    const READS: &'static [SelectInput] = &[];
    const WHOLE: bool = true;

    fn select(&self, group: &Group<'_>, _: usize) -> Result<Picks, StageError> {
        Ok((0..group.len() as u32).collect::<Vec<u32>>().into())
    }
}
