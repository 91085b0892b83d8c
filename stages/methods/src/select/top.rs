//! The hardest samples: those of highest score.

use super::{Group, Picks, SelectInput, Selector};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the hardest samples. Ties go to the earlier one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Top {}

/// Returns the places of `scores` from the hardest to the easiest; of equals the earlier is first.
pub(super) fn hardest_first<S: Copy + Into<f64>>(scores: &[S]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    // Negative zero is zero: `total_cmp` would tell them apart.
    let key = |place: u32| scores[place as usize].into() + 0.0;
    order.sort_by(|a, b| key(*b).total_cmp(&key(*a)).then(a.cmp(b)));
    order
}

impl Selector for Top {
    const NAME: &'static str = "select.top";
    const SUMMARY: &'static str = "the samples of highest score: the hardest";
    const MANUAL: &'static str = "\
Keeps the samples of highest score; of equal ones the earlier. Cost: O(n log n).";
    const READS: &'static [SelectInput] = &[SelectInput::Scores];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let mut order = hardest_first(&group.scores());
        order.truncate(budget);
        Ok(order.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_earlier() {
        assert_eq!(hardest_first(&[0.0, 2.0, -0.0, 2.0, f64::INFINITY]), [4, 1, 3, 0, 2]);
    }
}
