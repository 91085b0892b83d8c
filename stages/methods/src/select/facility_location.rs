//! Facility location: every sample is to have one like it among those kept.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
    similarity::{self, Features},
    sparse::{SparseCoverage, SparseRows},
};
use crate::linalg::{CoverageGains, Gram};
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples so that every sample has one like it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct FacilityLocation {
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
}

/// `sum_i max_{j in S} s_ij`, over rows of s that are the higher the better a place is served; the
/// floor is how well it is served so far.
pub(super) struct Coverage(pub(super) CoverageGains<'static>);

impl Objective for Coverage {
    fn len(&self) -> usize {
        self.0.rows().len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        Some(self.0.rows().batch())
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        self.0.excess(places)
    }

    fn choose(&mut self, place: usize) {
        self.0.raise(place as u32);
    }
}

/// Returns the picks by these `cosines`.
pub(super) fn facilities(
    cosines: Gram<'static>,
    budget: usize,
    search: Search,
    group: &Group<'_>,
) -> Result<Vec<u32>, StageError> {
    let rows = similarity::rows(cosines);
    let gains = CoverageGains::new(rows, 0.0, &mut group.compute.memory.clone());
    greedy::maximize(&mut Coverage(gains), budget, search, group)
}

impl Selector for FacilityLocation {
    const NAME: &'static str = "select.facility-location";
    const SUMMARY: &'static str = "keeps samples so that every sample has one like it";
    const MANUAL: &'static str = "\
Greedily maximises `f(S) = sum_i max_{j in S} s_ij`, with the similarity s = (1 + cosine) / 2 of last-layer
gradients (or of embeddings) within the group: within 1 - 1/e of the best. Of equal gains the earlier
sample is picked.

Wei, Iyer & Bilmes, *Submodularity in Data Subset Selection and Active Learning*, ICML 2015; Mirzasoleiman
et al. 2013; on gradients as in DeepCore. Cost: O(n^2 (C + d)) for the similarities, which are kept
whole while they fit into `--memory`, and O(n) a gain. Beyond, a row is kept once few of its places are served worse
than by it, and a gain costs as much as those are; in the first steps rows are computed anew, O(n (C + d)) each.
`naive` computes n gains a pick, `lazy` a few.

With a graph of neighbours on port `graph` (`graph.knn`), samples that it does not join are not alike at all, s = 0:
O(n k) memory and O(k) a gain for k neighbours, which a million samples allow. The sparse form is that of Lin &
Bilmes, *How to Select a Good Training-data Subset for Transcription*, Interspeech 2009, section 4, and of apricot.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] =
        &[SelectInput::Logits, SelectInput::Embeddings, SelectInput::Graph];
    const READS_AT_LEAST: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn reads(&self) -> &'static [SelectInput] {
        self.features.reads()
    }

    fn variants() -> Vec<Self> {
        similarity::with_features(|search, features| Self { search, features })
    }

    fn avoids_copies(&self) -> Option<usize> {
        self.search.is_lazy().then_some(usize::MAX)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        if let Some(similarities) = SparseRows::similarities(group, self.features) {
            let mut coverage = SparseCoverage::new(similarities);
            return Ok(greedy::maximize(&mut coverage, budget, self.search, group)?.into());
        }
        let cosines = similarity::cosines(group, self.features, true);
        Ok(facilities(cosines, budget, self.search, group)?.into())
    }
}
