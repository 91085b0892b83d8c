//! The hardest samples but for the very hardest.

use super::{Group, Picks, SelectInput, Selector, top::hardest_first};
use artifacts::units::Fraction;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Skips a share of the hardest samples, which may be mislabelled, and keeps the next hardest.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Window {
    /// The share of the group that is skipped, from the hardest down. Where too few would be left
    /// for the budget, fewer are skipped.
    skip: Fraction,
}

impl Default for Window {
    fn default() -> Self {
        Self { skip: Fraction::try_from(0.1).expect("0.1 is a fraction") }
    }
}

impl Selector for Window {
    const NAME: &'static str = "select.window";
    const SUMMARY: &'static str = "the hardest samples after the very hardest are skipped";
    const MANUAL: &'static str = "\
Orders samples from hard to easy, skips the share `rule.skip` of the group, and keeps the next ones up to
the budget; of equal scores the earlier is harder. Cost: O(n log n).

The hard cutoff of Zheng et al., *Coverage-centric Coreset Selection for High Pruning Rates*, ICLR 2023,
without its strata; Swayamdipta et al. and *BWS* (2024) choose such windows as well. `select.double-end` can
cut by another score, and `select.bws` finds the window itself.";
    const READS: &'static [SelectInput] = &[SelectInput::Scores];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let order = hardest_first(&group.scores());
        let skip = self.skip.of(order.len()).min(order.len() - budget);
        Ok(order[skip..skip + budget].to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    #[test]
    fn the_hardest_are_skipped_unless_they_are_needed() {
        let scores: Vec<f64> = (0..10).map(f64::from).collect();
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 10],
            scores: Some(&scores),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(10).collect();
        let streams = Streams::new(0, &[]);
        let group = Group::unwatched(&ground, &members, 0, streams);
        let rule = Window { skip: Fraction::try_from(0.2).expect("0.2 is a fraction") };
        let select = |budget| rule.select(&group, budget).expect("there are enough").rows();
        assert_eq!(select(3), [7, 6, 5]);
        assert_eq!(select(9), [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }
}
