//! Saturated coverage: every sample is covered up to a share, and none beyond.

use super::{
    Group, Picks, SelectInput, Selector,
    greedy::{self, Objective, Search},
    similarity::{self, Features},
};
use crate::linalg::{Gram, Pairwise, RowPrefetcher, TILE, in_widest, largest};
use artifacts::units::Fraction;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Keeps samples so that every sample is covered to a share, and not more than that.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct SaturatedCoverage {
    /// The share of its similarity to all that covers a sample; half the share that is kept if left out.
    alpha: Option<Fraction>,
    /// What similarity is of: `gradient` or `embedding`.
    features: Features,
    /// How the picks are found.
    search: Search,
}

/// `sum_i min(C_i(S), alpha C_i(V))`, as seen from the picks S so far: all gains, kept up to date.
struct Saturation {
    cosines: Gram<'static>,
    /// How much each sample can still be covered.
    room: Vec<f32>,
    gains: Vec<f64>,
    /// What is no more than rounding leaves of a gain: it counts as 0.
    least: Vec<f64>,
    taken: Vec<bool>,
    ahead: RowPrefetcher<f32>,
    /// The similarities of samples that are nearly covered, whose rows are asked for again until they are.
    nearly: BTreeMap<u32, Vec<f32>>,
    /// How many of those may be held.
    held: usize,
}

/// The largest similarity there is, with what rounding adds to it.
const MOST: f32 = 1.001;

/// The share of a sum of similarities that rounding may leave of it once all of it was taken away.
const ROUNDING: f64 = 1e-5;

/// The losses of so many rows are summed up before the gains are lowered by them.
const SUMMED: usize = 256;

/// How many similarities are computed together, about.
const TOGETHER: usize = 1 << 25;

impl Saturation {
    /// Holds rows in up to `memory` bytes.
    fn new(cosines: Gram<'static>, alpha: f64, memory: usize) -> Self {
        let n = cosines.len();
        let gains = similarity::sums(&cosines);
        let least = gains.iter().map(|gain| ROUNDING * gain).collect();
        let room: Vec<f32> = gains.iter().map(|sum| (alpha * sum) as f32).collect();
        let ahead = RowPrefetcher::new(false);
        let taken = vec![false; n];
        let mut made = Self {
            cosines,
            room: vec![f32::INFINITY; n],
            gains,
            least,
            taken,
            ahead,
            nearly: BTreeMap::new(),
            held: memory / (n.max(1) * size_of::<f32>()),
        };
        made.lower(room);
        made
    }

    /// Lowers the room of every sample to this, and the gains with it. Where there is more room than any
    /// pick can fill, before and after, none changes.
    fn lower(&mut self, room: Vec<f32>) {
        let lowered = |i: &u32| {
            let i = *i as usize;
            room[i] < MOST && room[i] < self.room[i]
        };
        let rows: Vec<u32> = (0..room.len() as u32).filter(lowered).collect();
        let together = (TOGETHER / room.len().max(1)).max(1).next_multiple_of(SUMMED);
        for rows in rows.chunks(together) {
            self.compute(rows);
            self.subtract(rows, &room);
            for i in rows {
                if room[*i as usize] == 0.0 || self.nearly.len() > self.held {
                    self.nearly.remove(i);
                }
            }
        }
        self.room = room;
    }

    /// Computes those of `rows` that are not held.
    fn compute(&mut self, rows: &[u32]) {
        let missing = rows.iter().copied().filter(|i| !self.nearly.contains_key(i));
        let missing: Vec<u32> = missing.collect();
        let blocks = self.cosines.map_tiles(&missing, |rows, start, width, out| {
            for (i, values) in rows.iter().zip(out.chunks_exact_mut(width)) {
                Pairwise::SIMILARITY.finish_row(*i as usize, start, values);
            }
            (width, out.to_vec())
        });
        let rows = blocks.into_par_iter().flat_map_iter(|tiles| {
            let count = tiles.first().map_or(0, |(width, values)| values.len() / width);
            (0..count).map(move |row| {
                let parts = tiles.iter();
                let parts = parts.map(|(width, values)| &values[row * width..(row + 1) * width]);
                parts.collect::<Vec<&[f32]>>().concat()
            })
        });
        let rows: Vec<Vec<f32>> = rows.collect();
        self.nearly.extend(missing.into_iter().zip(rows));
    }

    /// Lowers all gains by what `rows`, which are at hand, lose of their room.
    fn subtract(&mut self, rows: &[u32], room: &[f32]) {
        let lost = |i: &u32| {
            let at = *i as usize;
            (&self.nearly[i][..], self.room[at], room[at])
        };
        let rows: Vec<(&[f32], f32, f32)> = rows.iter().map(lost).collect();
        self.gains.par_chunks_mut(TILE).enumerate().for_each(|(tile, gains)| {
            let mut losses = vec![0.0f64; gains.len()];
            for block in rows.chunks(SUMMED) {
                losses.fill(0.0);
                for (row, before, after) in block {
                    lose(&mut losses, &row[tile * TILE..], *before, *after);
                }
                gains.iter_mut().zip(&losses).for_each(|(gain, loss)| *gain -= loss);
            }
        });
    }
}

in_widest! {
    /// Adds what each similarity of a row gives less once the row's room is not `before` but `after`.
    fn lose(losses: &mut [f64], row: &[f32], before: f32, after: f32) {
        for (loss, s) in losses.iter_mut().zip(row) {
            *loss += f64::from(s.min(before) - s.min(after));
        }
    }
}

impl Objective for Saturation {
    fn len(&self) -> usize {
        self.gains.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let gain = |place: &u32| {
            let at = *place as usize;
            if self.gains[at] > self.least[at] { self.gains[at] } else { 0.0 }
        };
        places.iter().map(gain).collect()
    }

    fn choose(&mut self, place: usize) {
        if self.room.iter().all(|room| *room == 0.0) {
            // Every sample is covered: whatever is picked changes nothing.
            self.taken[place] = true;
            return;
        }
        let open = |i: usize| if self.taken[i] { f64::NEG_INFINITY } else { self.gains[i] };
        let likely = |count: usize| largest(self.gains.len(), count, open);
        let rows = |places: &[u32]| similarity::several(&self.cosines, places);
        let row = self.ahead.row(place as u32, likely, rows);
        let room = self.room.iter().zip(row).map(|(room, s)| (room - s).max(0.0)).collect();
        self.taken[place] = true;
        self.lower(room);
    }
}

impl Selector for SaturatedCoverage {
    const NAME: &'static str = "select.saturated-coverage";
    const SUMMARY: &'static str = "covers every sample to a share, and none more than that";
    const MANUAL: &'static str = "\
Greedily maximises `f(S) = sum_i min(C_i(S), alpha C_i(V))` with `C_i(S) = sum_{j in S} s_ij`, i over the
whole group V and the similarity s = (1 + cosine) / 2 of last-layer gradients (or of embeddings): a sample
is covered by all picks together, but once it has the share alpha of what all samples would give it, more of
its like brings nothing. Within 1 - 1/e of the best; of equal gains the earlier sample is picked.

With an alpha above the share that is kept nothing saturates, and the picks are those most like all others;
a small one spreads them. Left out it is half that share.

Lin & Bilmes, *A Class of Submodular Functions for Document Summarization*, ACL 2011. Cost: O(n (C + d)) a
pick, and O(n (C + d)) for each step in which a sample comes near to its share, of which there are some for
every sample: O(n^2 (C + d)) in all. The similarities of samples that are nearly covered are held while they
fit into `--memory`, and computed once; beside them and the vectors memory is O(n). `naive` and `lazy` are the
same here: every gain is kept up to date.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const READS_AT_LEAST: &'static [SelectInput] = &[SelectInput::Embeddings];

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn reads(&self) -> &'static [SelectInput] {
        self.features.reads()
    }

    fn variants() -> Vec<Self> {
        let all = similarity::with_features(|search, features| Self {
            search,
            features,
            ..Self::default()
        });
        let small = Self { alpha: Fraction::try_from(0.001).ok(), ..Self::default() };
        all.into_iter().chain([small]).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let cosines = similarity::cosines(group, self.features, false);
        let half = budget as f64 / (2.0 * group.len() as f64);
        let alpha = self.alpha.map_or(half, f64::from);
        let mut saturation = Saturation::new(cosines, alpha, group.compute.memory);
        Ok(greedy::maximize(&mut saturation, budget, self.search, group)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::{Compute, noise},
        select::TrainingSet,
    };
    use artifacts::{ClassId, Matrix, SampleId};
    use engine::Streams;

    #[test]
    fn picks_are_those_of_a_slow_greedy_search() {
        const N: usize = 30;
        let x = noise(N * 3, 4);
        let unit = crate::linalg::unit(&Matrix::new(&x[..], N, 3));
        let s = |i: usize, j: usize| -> f64 {
            let products = unit.row(i).iter().zip(unit.row(j));
            0.5 + 0.5 * products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        let ground = TrainingSet {
            labels: &[ClassId::at(0); N],
            embeddings: Some(Matrix::new(&x[..], N, 3)),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(N).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        let nothing_held = Compute::new(None, 0);
        let other = Group { compute: &nothing_held, ..group };
        // The smallest saturates within two picks, after which no pick gains, the largest never.
        for alpha in [0.04, 0.15, 1.0] {
            let value = |picks: &[usize]| -> f64 {
                let covered = |i: usize, by: &mut dyn Iterator<Item = usize>| -> f64 {
                    by.map(|j| s(i, j)).sum()
                };
                let one = |i: usize| {
                    covered(i, &mut picks.iter().copied()).min(alpha * covered(i, &mut (0..N)))
                };
                (0..N).map(one).sum()
            };
            let mut slow: Vec<usize> = vec![];
            for _ in 0..4 {
                let open = (0..N).filter(|i| !slow.contains(i));
                let with = |i: usize| value(&[&slow[..], &[i]].concat());
                let best = open.reduce(|a, b| if with(b) > with(a) { b } else { a });
                slow.push(best.expect("there are some left"));
            }
            let rule = SaturatedCoverage {
                alpha: Fraction::try_from(alpha).ok(),
                features: Features::Embedding,
                ..SaturatedCoverage::default()
            };
            let fast = rule.select(&group, 4).expect("nobody stops it").rows();
            let slow: Vec<u32> = slow.iter().map(|i| *i as u32).collect();
            assert_eq!(fast, slow, "alpha {alpha}");
            assert_eq!(rule.select(&other, 4).expect("nobody stops it").rows(), slow);
        }
    }
}
