//! Feature-based functions: as much of every feature.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
};
use artifacts::Matrix;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples that have as much as possible of every feature.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct FeatureBased {
    /// What makes more of a feature count for less.
    concave: Concave,
    /// What is made of features below 0.
    negative: Negatives,
    /// How the picks are found.
    search: Search,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Concave {
    /// The square root.
    #[default]
    Sqrt,
    /// `log(1 + x)`.
    Log,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Negatives {
    /// A feature becomes two: how far it is above 0, and how far below.
    #[default]
    Split,
    /// They count as 0, as behind a ReLU.
    Clip,
}

impl Concave {
    #[inline(always)]
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Sqrt => value.sqrt(),
            Self::Log => value.ln_1p(),
        }
    }
}

/// Returns `features` without a number below 0.
fn from_zero_up(features: &Matrix<'_>, negative: Negatives) -> Matrix<'static> {
    let any = features.data().par_iter().any(|value| *value < 0.0);
    let (n, d) = (features.rows(), features.cols());
    if negative == Negatives::Clip || !any {
        let data = features.data().iter().map(|value| value.max(0.0)).collect::<Vec<f32>>();
        return Matrix::new(data, n, d);
    }
    let mut data = Vec::with_capacity(2 * n * d);
    for i in 0..n {
        data.extend(features.row(i).iter().map(|value| value.max(0.0)));
        data.extend(features.row(i).iter().map(|value| (-value).max(0.0)));
    }
    Matrix::new(data, n, 2 * d)
}

/// `sum_u g(sum_{j in S} x_ju)`, as seen from the picks S so far.
struct Amounts {
    features: Matrix<'static>,
    concave: Concave,
    /// How much of each feature the picks have.
    sums: Vec<f64>,
    /// What the concave function makes of it.
    values: Vec<f64>,
}

impl Amounts {
    fn new(features: Matrix<'static>, concave: Concave) -> Self {
        let zeros = vec![0.0; features.cols()];
        Self { features, concave, sums: zeros.clone(), values: zeros }
    }

    #[inline]
    fn gain(&self, place: u32) -> f64 {
        let row = self.features.row(place as usize);
        let mut gain = 0.0;
        for (u, x) in row.iter().enumerate() {
            gain += self.concave.of(self.sums[u] + f64::from(*x)) - self.values[u];
        }
        gain
    }
}

impl Objective for Amounts {
    fn len(&self) -> usize {
        self.features.rows()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        Some([32, 512])
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.par_iter().with_min_len(16).map(|place| self.gain(*place)).collect()
    }

    fn choose(&mut self, place: usize) {
        let row = self.features.row(place);
        for ((sum, value), x) in self.sums.iter_mut().zip(&mut self.values).zip(row) {
            *sum += f64::from(*x);
            *value = self.concave.of(*sum);
        }
    }
}

impl Selector for FeatureBased {
    const NAME: &'static str = "select.feature-based";
    const SUMMARY: &'static str = "samples that have as much as possible of every feature";
    const MANUAL: &'static str = "\
Greedily maximises `f(S) = sum_u g(sum_{j in S} x_ju)` over the features u of the embeddings, g concave and
all weights 1: what has much of a feature is kept until others have had their share. Features are taken as
they are, so a scale of their own is a weight. They must be from 0 up: one below 0 is made two, what is
above 0 and what is below, or with `rule.negative = \"clip\"` counts as 0; embeddings behind a ReLU stay as
they are. Within 1 - 1/e of the best; of equal gains the earlier sample is picked.

No similarities are computed, so it scales as no other method of coverage does. Cost: O(n d) to start, then
O(d) a gain; memory O(n d).

Kirchhoff & Bilmes, *Submodularity for Data Selection in Machine Translation*, EMNLP 2014, whose features
are weighted n-grams: such come in by `load.features`. g is the square root, as there, or `log(1 + x)`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn variants() -> Vec<Self> {
        let searches = Search::each().map(|search| Self { search, ..Self::default() });
        let other = Self { concave: Concave::Log, negative: Negatives::Clip, ..Self::default() };
        searches.into_iter().chain([other]).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let features = from_zero_up(&group.embeddings(), self.negative);
        let mut amounts = Amounts::new(features, self.concave);
        Ok(greedy::maximize(&mut amounts, budget, self.search, group)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::TrainingSet;
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    fn select(rule: &FeatureBased, x: &[f32], budget: usize) -> Vec<u32> {
        let n = x.len() / 2;
        let labels = vec![ClassId::at(0); n];
        let ground = TrainingSet {
            labels: &labels,
            embeddings: Some(Matrix::new(x, n, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(n).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    #[test]
    fn picks_worked_by_hand() {
        // Roots: 3, 2.83 and 1.41; after the first, another 8 brings 1.12 and the first 2 still 1.41.
        let x = [9.0, 0.0, 8.0, 0.0, 0.0, 2.0];
        assert_eq!(select(&FeatureBased::default(), &x, 3), [0, 2, 1]);
        // Below 0: as two features (4, 0) and (0, 4) both are worth 2; clipped the second is worth 0.
        let x = [4.0, 0.0, -4.0, 0.0, 1.0, 0.0];
        assert_eq!(select(&FeatureBased::default(), &x, 2), [0, 1]);
        let clip = FeatureBased { negative: Negatives::Clip, ..FeatureBased::default() };
        assert_eq!(select(&clip, &x, 2), [0, 2]);
    }
}
