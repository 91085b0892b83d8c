//! The easiest samples: those of lowest score.

use super::{Group, Picks, SelectInput, Selector, top::hardest_first};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the easiest samples. Ties go to the earlier one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Bottom {}

impl Selector for Bottom {
    const NAME: &'static str = "select.bottom";
    const SUMMARY: &'static str = "the samples of lowest score: the easiest";
    const MANUAL: &'static str = "\
Keeps the samples of lowest score; of equal ones the earlier. Cost: O(n log n).

Where little data is kept, easy samples serve better than hard ones (Sorscher et al., *Beyond neural
scaling laws*, NeurIPS 2022), and where labels are wrong, low loss is the sign of a right one.

The small-loss selection of Han et al., *Co-teaching*, NeurIPS 2018, is this method on `score.loss` of a
proxy that was trained for its warm-up alone, ten epochs or so.";
    const READS: &'static [SelectInput] = &[SelectInput::Scores];

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let easy: Vec<f64> = group.scores().iter().map(|score| -score).collect();
        let mut order = hardest_first(&easy);
        order.truncate(budget);
        Ok(order.into())
    }
}
