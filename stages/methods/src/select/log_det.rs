//! The log-determinant: the mode of a determinantal point process.

use super::{
    Compat, Group, Picks, SelectInput, Selector,
    greedy::{self, Greedy, Objective, Optimizer},
    similarity::{self, Features},
};
use crate::linalg::{Gram, PartialCholesky, largest};
use artifacts::units::{Fraction, NonNegative};
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
    /// `naive`, `lazy`, `approximate-lazy`, or `stochastic`.
    pub(crate) optimizer: Optimizer,
    /// For `approximate-lazy`: which share of its former gain is good enough.
    pub(crate) beta: Fraction,
    /// For `stochastic`: the share of the optimum that may be lost to the draw.
    pub(crate) epsilon: Fraction,
    /// `deepcore` picks the most redundant samples, with no ridge, as that release does.
    pub(crate) compat: Compat,
}

impl Default for LogDet {
    fn default() -> Self {
        Self {
            ridge: NonNegative::try_from(1e-3).expect("it is not negative"),
            features: Features::default(),
            optimizer: Optimizer::default(),
            beta: greedy::beta(),
            epsilon: greedy::epsilon(),
            compat: Compat::default(),
        }
    }
}

/// What of each place is outside the span of those picked, kept up to date.
pub(super) struct Volume {
    cosines: Gram<'static>,
    factor: PartialCholesky,
    /// The squared length of each place inside the span.
    inside: Vec<f64>,
    taken: Vec<bool>,
    gain: Gain,
}

impl Volume {
    /// Expects up to `most` choices. With `redundant` the gain is what is inside the span:
    /// DeepCore's sign.
    pub(super) fn new(cosines: Gram<'static>, most: usize, ridge: f64, redundant: bool) -> Self {
        let n = cosines.len();
        let factor = PartialCholesky::new(n).on(cosines.compute(), most);
        Self {
            cosines,
            factor,
            inside: vec![0.0; n],
            taken: vec![false; n],
            gain: Gain { ridge, redundant },
        }
    }
}

impl Objective for Volume {
    fn len(&self) -> usize {
        self.inside.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.iter().map(|place| self.gain.of(self.inside[*place as usize])).collect()
    }

    fn choose(&mut self, place: usize) {
        self.taken[place] = true;
        let open = |i: usize| {
            if self.taken[i] { f64::NEG_INFINITY } else { self.gain.of(self.inside[i]) }
        };
        let likely = |count: usize| largest(self.inside.len(), count, open);
        let kernel = |places: &[u32]| similarity::several(&self.cosines, places);
        let (new, _) = self.factor.choose(place, self.gain.ridge, &kernel, likely);
        for (inside, part) in self.inside.iter_mut().zip(new) {
            *inside += f64::from(*part).powi(2);
        }
    }
}

/// What counts as a gain.
struct Gain {
    ridge: f64,
    redundant: bool,
}

impl Gain {
    /// Returns the gain of a place of which `inside` is inside the span. The logarithm would not
    /// change which is largest.
    fn of(&self, inside: f64) -> f64 {
        if self.redundant { inside } else { 1.0 + self.ridge - inside }
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

DeepCore has the sign the other way round and picks the most redundant samples, and where its lazy greedy
meets that it returns samples 0, 1, 2, ...: `rule.compat = \"deepcore\"` repeats both.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const REVISION: u32 = 2;
    const READS: SelectInput = SelectInput::Outputs;
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        Greedy::streams(self.optimizer)
    }

    fn variants() -> Vec<Self> {
        let each = |compat| {
            move |optimizer, features| Self { optimizer, features, compat, ..Self::default() }
        };
        let mut all = similarity::with_features(each(Compat::None));
        all.extend(similarity::with_features(each(Compat::Deepcore)));
        all
    }

    fn avoids_copies(&self) -> Option<usize> {
        // Beyond the rank of the similarities all samples are equally new.
        let plain = self.optimizer == Optimizer::default() && self.compat == Compat::None;
        plain.then_some(super::laws::WIDTH)
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let cosines = similarity::cosines(group, self.features, self.compat, false);
        let redundant = self.compat != Compat::None;
        let ridge = if redundant { 0.0 } else { self.ridge.into() };
        let mut volume = Volume::new(cosines, budget, ridge, redundant);
        let Self { optimizer, beta, epsilon, .. } = *self;
        if redundant && optimizer == Optimizer::Lazy {
            return Ok(greedy::lazy_as_deepcore(&mut volume, budget, group)?.into());
        }
        let greedy = Greedy { optimizer, beta, epsilon };
        Ok(greedy::maximize(&mut volume, budget, greedy, group)?.into())
    }
}
