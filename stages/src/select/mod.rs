//! Which training samples to keep.
//!
//! A method is a settings struct and a function from a group of samples and a budget to the samples
//! it picks. Stores and ports are in `stage.rs`, budgets of classes in `budget.rs`, and neither is
//! known to a method.

mod bottom;
mod budget;
mod cal;
mod ccs;
#[cfg(test)]
pub(crate) mod conformance;
mod contextual_diversity;
mod craig;
mod draw;
mod facility_location;
mod farthest;
mod full;
mod glister;
mod gradmatch;
mod graph_cut;
mod greedy;
mod group;
mod herding;
mod import;
mod k_center;
#[cfg(test)]
mod laws;
mod log_det;
mod moderate;
mod numpy;
mod random;
mod residuals;
mod similarity;
mod stage;
#[cfg(test)]
mod timing;
mod top;
mod window;

use engine::{Method, Problem, StageError};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use budget::rounded;
pub(crate) use group::{Ground, Group, Watch};
pub(crate) use residuals::{Compat, Residuals, deepcore_batch, softmax};
pub(crate) use stage::put;

/// What a method looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The labels alone.
    Labels,
    /// One score a sample.
    Scores,
    /// The proxy's final logits.
    Logits,
    /// The proxy's final embeddings.
    Embeddings,
    /// Both of them.
    Outputs,
}

/// What a method picked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Picks {
    /// Places within the group, in the order they were picked.
    pub(crate) places: Vec<u32>,
    /// How much each counts in training, if they differ.
    pub(crate) weights: Option<Vec<f32>>,
}

impl From<Vec<u32>> for Picks {
    fn from(places: Vec<u32>) -> Self {
        Self { places, weights: None }
    }
}

/// A way to select: its settings, and a pure function.
pub(crate) trait Selector:
    Clone + Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name in a pipeline file.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// The revision of its results.
    const REVISION: u32 = 1;
    /// The random streams it may draw from.
    const STREAMS: &'static [&'static str] = &[];
    /// What it looks at.
    const READS: Reads;
    /// Whether it computes on an accelerator where there is one.
    const ON_DEVICE: bool = false;
    /// Whether it keeps everything, whatever the budget.
    const WHOLE: bool = false;

    /// The random streams these settings draw from: with none, the seed is not in the key.
    fn streams(&self) -> &'static [&'static str] {
        Self::STREAMS
    }

    /// Returns what is wrong with the settings as a whole, named from inside `rule`.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Picks `budget` samples of `group`, which has at least so many.
    ///
    /// # Errors
    ///
    /// Fails if the method cannot be applied to the group, or the run was stopped.
    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError>;
}

/// Every method of the family.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        stage::method::<bottom::Bottom>(),
        stage::method::<cal::Cal>(),
        stage::method::<ccs::Ccs>(),
        stage::method::<contextual_diversity::ContextualDiversity>(),
        stage::method::<craig::Craig>(),
        stage::method::<facility_location::FacilityLocation>(),
        stage::method::<full::Full>(),
        stage::method::<glister::Glister>(),
        stage::method::<gradmatch::GradMatch>(),
        stage::method::<graph_cut::GraphCut>(),
        stage::method::<herding::Herding>(),
        import::method(),
        stage::method::<k_center::KCenter>(),
        stage::method::<log_det::LogDet>(),
        stage::method::<moderate::Moderate>(),
        stage::method::<random::Random>(),
        stage::method::<top::Top>(),
        stage::method::<window::Window>(),
    ]
}
