//! Which training samples to keep.
//!
//! A method is a settings struct and a function from a group of samples and a budget to the samples
//! it picks. Stores and ports are in `stage.rs`, budgets of classes in `budget.rs`, and neither is
//! known to a method.

mod balance;
mod beta;
mod bottom;
mod budget;
mod bws;
mod cal;
mod ccs;
#[cfg(test)]
pub(crate) mod conformance;
mod contextual_diversity;
mod craig;
mod crust;
mod d2;
mod dedup;
pub(crate) mod deepcore;
mod double_end;
mod dpp;
mod draw;
mod facility_location;
mod farthest;
mod feature_based;
mod full;
mod glister;
mod gm_matching;
mod gradmatch;
mod graph_cut;
mod greedy;
mod group;
mod gumbel_top;
mod herding;
mod import;
mod infomax;
mod inputs;
mod k_center;
#[doc(hidden)]
pub mod laws;
mod length_matched;
mod log_det;
mod mig;
mod moderate;
mod mutual_information;
mod nearest_query;
mod novelty;
mod prune4rel;
mod prune_issues;
mod query;
mod query_volume;
mod random;
mod residuals;
mod robust;
mod saturated_coverage;
mod sensitivity;
mod similarity;
mod sparse;
mod stage;
#[cfg(test)]
mod timing;
mod top;
mod trajectory_clusters;
mod unit;
mod window;

use artifacts::{InGroup, units::Count};
use engine::{Method, Problem, Renamed, StageError};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

pub(crate) use budget::{divide, rounded};
pub(crate) use group::{Group, TrainingSet, Watch};
pub(crate) use inputs::outputs;
pub(crate) use query::Query;
pub(crate) use residuals::residuals;

/// One of the things a method may look at, beside the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SelectInput {
    /// One score a sample.
    Scores,
    /// Scores on a port of their own, which may stay open, that tell whom to leave out.
    Cut,
    /// The proxy's final logits.
    Logits,
    /// The proxy's final embeddings, or the features of a data set.
    Embeddings,
    /// The mean probability of each label, from the record of the proxy's training.
    Probabilities,
    /// The loss after each epoch, from the record of the proxy's training.
    Losses,
    /// The neighbours of every sample on a port of their own, which may stay open.
    Graph,
    /// What the selection is aimed at: picks of the training set, or another data set.
    Query,
    /// A column of counts of the data, and a subset of it that is to be like.
    Like,
}

/// What a method picked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Picks {
    /// Places within the group, in the order they were picked.
    pub(crate) places: Vec<InGroup>,
    /// How much each counts in training, if they differ.
    pub(crate) weights: Option<Vec<f32>>,
}

impl Picks {
    /// Returns the picks at these rows of the group's matrices: row i is the sample at place i.
    pub(crate) fn at_rows(rows: Vec<u32>, weights: Option<Vec<f32>>) -> Self {
        Self { places: rows.into_iter().map(InGroup::from).collect(), weights }
    }

    /// Returns the rows of the group's matrices that were picked, in order.
    #[cfg(test)]
    fn rows(&self) -> Vec<u32> {
        self.places.iter().map(|place| u32::from(*place)).collect()
    }
}

impl From<Vec<u32>> for Picks {
    fn from(rows: Vec<u32>) -> Self {
        Self::at_rows(rows, None)
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
    /// What it looks at, all of it: the ports of its stage follow. With nothing here it knows the
    /// labels alone.
    const READS: &'static [SelectInput];
    /// What of it the settings that look at least need.
    const READS_AT_LEAST: &'static [SelectInput] = Self::READS;
    /// Whether it computes on an accelerator where there is one.
    const ON_DEVICE: bool = false;
    /// Whether it keeps everything, whatever the budget.
    const WHOLE: bool = false;

    /// The random streams these settings draw from: with none, the seed is not in the key.
    fn streams(&self) -> &'static [&'static str] {
        Self::STREAMS
    }

    /// What of [`Self::READS`] these settings look at.
    fn reads(&self) -> &'static [SelectInput] {
        Self::READS
    }

    /// How many epochs of the training record it looks at, from the first: all of them if `None`.
    fn epochs(&self) -> Option<Count> {
        None
    }

    /// Which column of counts is looked at, with [`SelectInput::Like`].
    fn column(&self) -> Option<&str> {
        None
    }

    /// Returns what is wrong with the settings as a whole, named from inside `rule`.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns what to know of these inputs before the picks are trusted: lines for the log.
    fn remarks(&self, _: &TrainingSet<'_>) -> Vec<String> {
        vec![]
    }

    /// Returns settings that take different paths through the method: the laws are checked for each.
    fn variants() -> Vec<Self> {
        vec![Self::default()]
    }

    /// Whether fewer samples than the budget may be kept, because more would weigh nothing.
    fn may_keep_fewer(&self) -> bool {
        false
    }

    /// Whether a sample and its exact copy are kept together only after every other sample, up to this
    /// many picks.
    fn avoids_copies(&self) -> Option<usize> {
        None
    }

    /// Picks `budget` samples of `group`, which has at least so many.
    ///
    /// # Errors
    ///
    /// Fails if the method cannot be applied to the group, or the run was stopped.
    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError>;
}

/// A selector with its settings: what it picks of a group for a budget. It is no type parameter where it does not
/// have to be one, so that what stands around selectors is compiled once and not for each.
pub(crate) type SelectFn<'a> =
    dyn Fn(&Group<'_>, usize) -> Result<Picks, StageError> + Send + Sync + 'a;

/// A registered selector: its entry for pipeline files, and the check of its laws.
struct Registered {
    method: Method,
    subjects: fn() -> Vec<laws::Subject>,
}

fn selector<S: Selector>() -> Registered {
    Registered { method: stage::method::<S>(), subjects: laws::Subject::of::<S> }
}

/// Every selector. A new one is a file, its `mod` above and a line here.
fn registered() -> Vec<Registered> {
    vec![
        selector::<beta::Beta>(),
        selector::<bottom::Bottom>(),
        selector::<bws::Bws>(),
        selector::<cal::Cal>(),
        selector::<ccs::Ccs>(),
        selector::<contextual_diversity::ContextualDiversity>(),
        selector::<craig::Craig>(),
        selector::<crust::Crust>(),
        selector::<d2::D2>(),
        selector::<dedup::Dedup>(),
        selector::<deepcore::cal::DeepCoreCal>(),
        selector::<deepcore::craig::DeepCoreCraig>(),
        selector::<deepcore::facility_location::DeepCoreFacilityLocation>(),
        selector::<deepcore::glister::DeepCoreGlister>(),
        selector::<deepcore::gradmatch::DeepCoreGradMatch>(),
        selector::<deepcore::graph_cut::DeepCoreGraphCut>(),
        selector::<deepcore::herding::DeepCoreHerding>(),
        selector::<deepcore::k_center::DeepCoreKCenter>(),
        selector::<deepcore::log_det::DeepCoreLogDet>(),
        selector::<deepcore::random::DeepCoreRandom>(),
        selector::<double_end::DoubleEnd>(),
        selector::<dpp::Dpp>(),
        selector::<facility_location::FacilityLocation>(),
        selector::<feature_based::FeatureBased>(),
        selector::<full::Full>(),
        selector::<glister::Glister>(),
        selector::<gm_matching::GmMatching>(),
        selector::<gradmatch::GradMatch>(),
        selector::<graph_cut::GraphCut>(),
        selector::<gumbel_top::GumbelTop>(),
        selector::<herding::Herding>(),
        selector::<infomax::InfoMax>(),
        selector::<k_center::KCenter>(),
        selector::<length_matched::LengthMatched>(),
        selector::<log_det::LogDet>(),
        selector::<mig::Mig>(),
        selector::<moderate::Moderate>(),
        selector::<mutual_information::MutualInformation>(),
        selector::<nearest_query::NearestQuery>(),
        selector::<novelty::Novelty>(),
        selector::<prune4rel::Prune4Rel>(),
        selector::<prune_issues::PruneIssues>(),
        selector::<random::RandomSubset>(),
        selector::<robust::Robust>(),
        selector::<saturated_coverage::SaturatedCoverage>(),
        selector::<sensitivity::Sensitivity>(),
        selector::<top::Top>(),
        selector::<trajectory_clusters::TrajectoryClusters>(),
        selector::<window::Window>(),
    ]
}

/// Returns every method of the family: the selectors, and what takes a subset from a file.
pub(crate) fn methods() -> Vec<Method> {
    let selectors = registered().into_iter().map(|one| one.method);
    selectors.chain([import::method()]).collect()
}

/// Returns the former ways to write methods of the family.
pub(crate) fn renamed() -> Vec<Renamed> {
    [deepcore::renamed(), greedy::renamed()].concat()
}
