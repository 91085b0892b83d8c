//! Graph cut: samples like the rest and unlike each other.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
    similarity::{self, Features},
    sparse::{SparseCut, SparseRows},
};
use crate::linalg::{Gram, RowPrefetcher, largest};
use artifacts::units::NonNegative;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples that are like the rest and unlike each other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct GraphCut {
    /// How much likeness among the kept counts against them. Above 0.5 the function is no longer
    /// monotone; 1 is DeepCore's.
    pub(crate) lambda: NonNegative,
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
}

impl Default for GraphCut {
    fn default() -> Self {
        Self {
            lambda: NonNegative::try_from(1.0).expect("1 is not negative"),
            features: Features::default(),
            search: Search::default(),
        }
    }
}

/// The gains of all places, kept up to date.
pub(super) struct Cut {
    cosines: Gram<'static>,
    gains: Vec<f64>,
    taken: Vec<bool>,
    ahead: RowPrefetcher<f32>,
    lambda: f64,
}

impl Cut {
    pub(super) fn new(cosines: Gram<'static>, lambda: f64) -> Self {
        let gains = similarity::sums(&cosines);
        // An accelerator is as fast with a row alone.
        let ahead = RowPrefetcher::new(cosines.on_device().is_some());
        Self { cosines, taken: vec![false; gains.len()], gains, ahead, lambda }
    }
}

impl Objective for Cut {
    fn len(&self) -> usize {
        self.gains.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.iter().map(|place| self.gains[*place as usize]).collect()
    }

    fn choose(&mut self, place: usize) {
        let open = |i: usize| if self.taken[i] { f64::NEG_INFINITY } else { self.gains[i] };
        let likely = |count: usize| largest(self.gains.len(), count, open);
        let rows = |places: &[u32]| similarity::several(&self.cosines, places);
        let row = self.ahead.row(place as u32, likely, rows);
        self.taken[place] = true;
        for (gain, row) in self.gains.iter_mut().zip(row) {
            *gain -= 2.0 * self.lambda * f64::from(*row);
        }
    }
}

impl Selector for GraphCut {
    const NAME: &'static str = "select.graph-cut";
    const SUMMARY: &'static str = "keeps samples that are like the rest and unlike each other";
    const MANUAL: &'static str = "\
Greedily maximises `f(S) = sum_{i, j in S} s_ij - lambda sum_{j, k in S} s_jk`, i over the whole group, with
the similarity s = (1 + cosine) / 2 of last-layer gradients (or of embeddings). Of equal gains the earlier
sample is picked. Once gains turn negative the least bad is still picked, up to the budget.

Iyer, Khargoankar, Bilmes & Asnani, *Submodular Combinatorial Information Measures*, ALT 2021; on gradients
as in DeepCore. The gain of j, less a constant, is `sum_i s_ij - 2 lambda sum_{k in S} s_jk`. Cost:
O(n C d) to start, for the sums are taken inside the product, then O(n (C + d)) a pick; memory O(n) beside
the gradients' factors. `naive` and `lazy` are the same here: every gain is kept up to date.

With a graph of neighbours on port `graph` (`graph.knn`), samples that it does not join are not alike at all, s = 0:
O(n k) memory and O(k) a pick for k neighbours.";
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
        similarity::with_features(|search, features| Self { search, features, ..Self::default() })
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        if let Some(similarities) = SparseRows::similarities(group, self.features) {
            let mut cut = SparseCut::new(similarities, self.lambda.into());
            return Ok(greedy::maximize(&mut cut, budget, self.search, group)?.into());
        }
        let cosines = similarity::cosines(group, self.features, false);
        let mut cut = Cut::new(cosines, self.lambda.into());
        Ok(greedy::maximize(&mut cut, budget, self.search, group)?.into())
    }
}
