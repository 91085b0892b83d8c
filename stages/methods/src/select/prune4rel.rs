//! Prune4ReL: neighbours that are sure of their labels.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
};
use crate::linalg::{Compute, Gram, Pairwise, PairwiseRows, unit};
use artifacts::{
    Matrix,
    logits::softmax,
    units::{Fraction, Positive},
};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples so that as many as possible have neighbours that the proxy is sure of.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Prune4Rel {
    /// What a pick adds.
    gain: Gain,
    /// From which cosine on two samples are neighbours.
    tau: Fraction,
    /// How much confidence from neighbours a sample has use for.
    eta: Positive,
    /// How the picks are found.
    search: Search,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Gain {
    /// What all its neighbours gain, as the paper has it.
    #[default]
    Paper,
    /// What it would gain itself from its own confidence, as the authors' code has it.
    Released,
}

impl Default for Prune4Rel {
    fn default() -> Self {
        Self {
            gain: Gain::default(),
            tau: Fraction::try_from(0.975).expect("0.975 is a fraction"),
            eta: Positive::try_from(1.0).expect("1 is above 0"),
            search: Search::default(),
        }
    }
}

/// The neighbours of each sample, itself included, and their cosines: listed where there is room.
struct Neighbours {
    rows: PairwiseRows<'static>,
    tau: f32,
    lists: Option<Vec<Neighbourhood>>,
}

type Neighbourhood = Vec<(u32, f32)>;

/// The inner products of unit vectors; 1 with itself.
const COSINE: Pairwise = Pairwise::Affine { scale: 1.0, shift: 0.0, diagonal: 1.0 };

/// How many rows are looked at between two looks at the clock.
const SLAB: usize = 4096;

impl Neighbours {
    fn new(
        unit: Matrix<'static>,
        tau: f32,
        compute: &Compute,
        step: impl Fn() -> Result<(), StageError>,
    ) -> Result<Self, StageError> {
        let n = unit.rows();
        let rows = PairwiseRows::new(Gram::new(vec![unit]).on(compute, true), COSINE);
        let mut found = Self { rows, tau, lists: None };
        let mut room = compute.memory / size_of::<(u32, f32)>();
        let mut lists = Vec::with_capacity(n);
        let all: Vec<u32> = (0..n as u32).collect();
        for slab in all.chunks(SLAB) {
            step()?;
            let new = found.of(slab);
            let count: usize = new.iter().map(Vec::len).sum();
            if count > room {
                return Ok(found);
            }
            room -= count;
            lists.extend(new);
        }
        found.lists = Some(lists);
        Ok(found)
    }

    /// Returns the neighbours of each of `places`.
    fn of(&self, places: &[u32]) -> Vec<Neighbourhood> {
        if let Some(lists) = &self.lists {
            return places.iter().map(|place| lists[*place as usize].clone()).collect();
        }
        let mut all = Vec::with_capacity(places.len());
        self.rows.for_each(places, |_, row| {
            let near = (0..).zip(row).filter(|(_, cosine)| **cosine >= self.tau);
            all.push(near.map(|(place, cosine)| (place, *cosine)).collect());
        });
        all
    }
}

/// `sum_j tanh(N_j / eta)`, N_j the confidence of j's picked neighbours, each times its cosine.
struct Confidence {
    neighbours: Neighbours,
    gain: Gain,
    eta: f64,
    /// How sure the proxy is of each sample.
    own: Vec<f64>,
    /// N.
    received: Vec<f64>,
}

impl Confidence {
    /// Returns what a sample that has `received` so much has of `more`.
    fn use_of(&self, received: f64, more: f64) -> f64 {
        ((received + more) / self.eta).tanh() - (received / self.eta).tanh()
    }
}

impl Objective for Confidence {
    fn len(&self) -> usize {
        self.own.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        match self.gain {
            Gain::Paper => Some([64, 512]),
            Gain::Released => None,
        }
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        if self.gain == Gain::Released {
            let one = |place: &u32| {
                let at = *place as usize;
                self.use_of(self.received[at], self.own[at])
            };
            return places.iter().map(one).collect();
        }
        // So many lists at once lie beside the others.
        let some = |places: &[u32]| {
            let one = |(place, list): (&u32, Neighbourhood)| {
                let own = self.own[*place as usize];
                let each = list.iter().map(|(j, cosine)| {
                    self.use_of(self.received[*j as usize], f64::from(*cosine) * own)
                });
                each.sum()
            };
            let lists = self.neighbours.of(places);
            places.par_iter().zip(lists).map(one).collect::<Vec<f64>>()
        };
        places.chunks(SLAB).flat_map(some).collect()
    }

    fn choose(&mut self, place: usize) {
        let own = self.own[place];
        for (j, cosine) in self.neighbours.of(&[place as u32]).into_iter().flatten() {
            self.received[j as usize] += f64::from(cosine) * own;
        }
    }
}

impl Selector for Prune4Rel {
    const NAME: &'static str = "select.prune4rel";
    const SUMMARY: &'static str = "neighbours the proxy is sure of, for training that relabels";
    const MANUAL: &'static str = "\
Samples are neighbours where the cosine s of their embeddings is at least `rule.tau`. A sample receives from
its picked neighbours, itself included, the proxy's confidence c in each, `max p`, times the cosine: `N_j =
sum_{i in S} s_ij c_i`. Greedily maximises `sum_j tanh(N_j / eta)`: every sample should have neighbours that
are predicted with confidence, by which a training that relabels can correct it. The surest are picked
first; of equal gains the earlier.

With `rule.gain = \"released\"` the gain of a sample is that of the authors' code, `tanh((N_i + c_i) / eta)
- tanh(N_i / eta)`: it looks at the sample's own N only, where the paper's sum is over all its neighbours'.

Park, Choi, Kim, Song & Lee, *Robust Data Pruning under Label Noise via Maximizing Re-labeling Accuracy*,
NeurIPS 2023. They pick in turns from the classes of the noisy labels: `balance = \"equal\"`, where
neighbours are those of the class. Their proxy is trained for ten epochs and predicts strongly augmented
images. Trained plainly, without relabelling, its picks are easy samples. tau and eta are the release's.
Cost: O(n^2 d) for the neighbours, which are listed where they fit into `--memory`; then the number of
neighbours a gain.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn variants() -> Vec<Self> {
        let wide = Self {
            gain: Gain::Released,
            tau: Fraction::try_from(0.3).expect("0.3 is a fraction"),
            ..Self::default()
        };
        let paper = Self { gain: Gain::Paper, ..wide.clone() };
        let searches = Search::each().map(|search| Self { search, ..Self::default() });
        searches.into_iter().chain([wide, paper]).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let logits = group.logits();
        let surest = |i: usize| softmax(logits.row(i)).into_iter().fold(0.0, f64::max);
        let own: Vec<f64> = (0..group.len()).into_par_iter().with_min_len(64).map(surest).collect();
        let (vectors, tau) = (unit(&group.embeddings()), f64::from(self.tau) as f32);
        let step = || group.watch.step(0, budget);
        let mut confidence = Confidence {
            neighbours: Neighbours::new(vectors, tau, group.compute, step)?,
            gain: self.gain,
            eta: self.eta.into(),
            received: vec![0.0; own.len()],
            own,
        };
        Ok(greedy::maximize(&mut confidence, budget, self.search, group)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::noise, select::TrainingSet};
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    const N: usize = 40;

    fn select(rule: &Prune4Rel, budget: usize) -> Vec<u32> {
        let (x, z) = (noise(N * 2, 1), noise(N * 3, 2));
        let ground = TrainingSet {
            labels: &[ClassId::at(0); N],
            logits: Some(Matrix::new(&z[..], N, 3)),
            embeddings: Some(Matrix::new(&x[..], N, 2)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(N).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    #[test]
    fn picks_are_those_of_a_slow_greedy_search() {
        let (x, z) = (unit(&Matrix::new(noise(N * 2, 1), N, 2)), noise(N * 3, 2));
        let own = |i: usize| softmax(&z[i * 3..][..3]).into_iter().fold(0.0, f64::max);
        let s = |i: usize, j: usize| {
            let cosine: f64 =
                x.row(i).iter().zip(x.row(j)).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            if cosine >= 0.9 { cosine } else { 0.0 }
        };
        let received =
            |picks: &[usize], j: usize| -> f64 { picks.iter().map(|i| s(*i, j) * own(*i)).sum() };
        let tau = Fraction::try_from(0.9).expect("it is a fraction");
        for gain in [Gain::Paper, Gain::Released] {
            let value = |picks: &[usize], i: usize| match gain {
                Gain::Paper => {
                    let with = [picks, &[i]].concat();
                    (0..N).map(|j| received(&with, j).tanh()).sum::<f64>()
                }
                Gain::Released => (received(picks, i) + own(i)).tanh() - received(picks, i).tanh(),
            };
            let mut slow: Vec<usize> = vec![];
            for _ in 0..12 {
                let open = (0..N).filter(|i| !slow.contains(i));
                let best =
                    open.reduce(|a, b| if value(&slow, b) > value(&slow, a) { b } else { a });
                slow.push(best.expect("there are some left"));
            }
            let slow: Vec<u32> = slow.iter().map(|i| *i as u32).collect();
            let rule = Prune4Rel { gain, tau, ..Prune4Rel::default() };
            assert_eq!(select(&rule, 12), slow, "{gain:?}");
        }
    }
}
