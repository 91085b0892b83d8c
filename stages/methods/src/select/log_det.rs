//! The log-determinant: the mode of a determinantal point process.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
    similarity::{self, Features},
};
use crate::linalg::{Gram, PartialCholesky, largest};
use artifacts::units::NonNegative;
use engine::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples that span the largest volume.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct LogDet {
    /// What is added to the diagonal, so that volumes stay above 0 beyond the rank of the features.
    pub(crate) ridge: NonNegative,
    /// What similarity is of: `gradient` or `embedding`.
    pub(crate) features: Features,
    /// How the picks are found.
    pub(crate) search: Search,
}

impl Default for LogDet {
    fn default() -> Self {
        Self {
            ridge: NonNegative::try_from(1e-3).expect("it is not negative"),
            features: Features::default(),
            search: Search::default(),
        }
    }
}

/// The span of the places picked, and what of each place is inside it, kept up to date.
pub(super) struct PickedSpan {
    cosines: Gram<'static>,
    factor: PartialCholesky,
    /// The squared length of each place inside the span.
    pub(super) inside: Vec<f64>,
    taken: Vec<bool>,
}

impl PickedSpan {
    /// Expects up to `most` choices.
    pub(super) fn new(cosines: Gram<'static>, most: usize) -> Self {
        let n = cosines.len();
        let factor = PartialCholesky::new(n).on(cosines.compute(), most);
        Self { cosines, factor, inside: vec![0.0; n], taken: vec![false; n] }
    }

    /// Adds `place`. Those of the largest `gain`, by what is inside, are likely to come next.
    pub(super) fn add(&mut self, place: usize, ridge: f64, gain: impl Fn(f64) -> f64) {
        self.taken[place] = true;
        let open = |i: usize| if self.taken[i] { f64::NEG_INFINITY } else { gain(self.inside[i]) };
        let likely = |count: usize| largest(self.inside.len(), count, open);
        let kernel = |places: &[u32]| similarity::several(&self.cosines, places);
        let (new, _) = self.factor.choose(place, ridge, &kernel, likely);
        for (inside, part) in self.inside.iter_mut().zip(new) {
            *inside += f64::from(*part).powi(2);
        }
    }
}

/// The volume: a place gains by what of it is outside the span. The logarithm would not change which
/// gain is largest.
struct Volume {
    span: PickedSpan,
    ridge: f64,
}

impl Objective for Volume {
    fn len(&self) -> usize {
        self.span.inside.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let inside = places.iter().map(|place| self.span.inside[*place as usize]);
        inside.map(|inside| 1.0 + self.ridge - inside).collect()
    }

    fn choose(&mut self, place: usize) {
        let ridge = self.ridge;
        self.span.add(place, ridge, |inside| 1.0 + ridge - inside);
    }
}

impl Selector for LogDet {
    const NAME: &'static str = "select.log-det";
    const SUMMARY: &'static str = "keeps samples that span the largest volume";
    const MANUAL: &'static str = "\
Greedily maximises `log det (s_SS + ridge I)`, with the similarity s = (1 + cosine) / 2 of last-layer
gradients (or of embeddings): each pick is the sample of which most is outside the span of those before.
Of equal ones the earlier is picked, so the first pick is the first sample.

Kulesza & Taskar, *Determinantal Point Processes for Machine Learning*, 2012; Chen, Zhang & Zhou, *Fast
Greedy MAP Inference for DPP*, NeurIPS 2018, algorithm 1: the Cholesky factor grows by a row a pick. Cost:
O(n (C + d + k)) a pick; memory O(n k). `naive` and `lazy` are the same here.

DeepCore has the sign the other way round: `select.deepcore.log-det`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
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

    fn avoids_copies(&self) -> Option<usize> {
        // Beyond the rank of the similarities all samples are equally new.
        self.search.is_lazy().then_some(super::laws::WIDTH)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let cosines = similarity::cosines(group, self.features, false);
        let span = PickedSpan::new(cosines, budget);
        let mut volume = Volume { span, ridge: self.ridge.into() };
        Ok(greedy::maximize(&mut volume, budget, self.search, group)?.into())
    }
}
