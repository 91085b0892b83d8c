//! ZCore: coverage of the embedding space less redundancy, told by random draws.

use super::{ScoreInput, Scorer, TrainedProxy, usable_embeddings};
use crate::linalg::in_widest;
use artifacts::{
    Matrix, draw,
    scores::Scores,
    units::{Count, Positive},
};
use engine::{StageError, Streams};
use rand::Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What random points of two dimensions of the embedding say of the samples near them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ZCore {
    /// How many points are drawn; ten for each sample, but no more than 1,000,000, if left out.
    draws: Option<Count>,
    /// How many neighbours share the loss of a draw.
    neighbors: Count,
    /// The power of the distance that a neighbour's share falls with.
    exponent: Positive,
}

impl Default for ZCore {
    fn default() -> Self {
        Self {
            draws: None,
            neighbors: Count::try_from(1000).expect("1000 is above 0"),
            exponent: Positive::try_from(4.0).expect("4 is above 0"),
        }
    }
}

/// One dimension of all embeddings.
struct Dimension {
    values: Vec<f32>,
    /// The samples in ascending order of their values, of equal ones the earlier first.
    order: Vec<u32>,
    /// Their values, in that order.
    sorted: Vec<f32>,
}

impl Dimension {
    fn of(x: &Matrix<'_>, at: usize) -> Self {
        let values: Vec<f32> = (0..x.rows()).map(|i| x.row(i)[at]).collect();
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
        let sorted = order.iter().map(|i| values[*i as usize]).collect();
        Self { values, order, sorted }
    }

    /// Returns a number of the triangular distribution from the least to the largest value, with its peak
    /// at their median, for a uniform `unit`.
    fn triangular(&self, unit: f64) -> f64 {
        let at = |place: usize| f64::from(self.sorted[place]);
        let n = self.sorted.len();
        let (low, high) = (at(0), at(n - 1));
        let peak = (at((n - 1) / 2) + at(n / 2)) / 2.0;
        if unit * (high - low) < peak - low {
            low + (unit * (high - low) * (peak - low)).sqrt()
        } else {
            high - ((1.0 - unit) * (high - low) * (high - peak)).sqrt()
        }
    }
}

/// A plane of two dimensions.
struct Plane<'a> {
    a: &'a Dimension,
    b: &'a Dimension,
}

/// How many samples are looked at together, where many are.
const STRIP: usize = 256;

/// And where few are.
const FEW: usize = 16;

/// Of how many samples the reach of the nearest ones is estimated.
const PROBES: usize = 1024;

impl Plane<'_> {
    fn point(&self, sample: u32) -> (f64, f64) {
        (self.a.values[sample as usize].into(), self.b.values[sample as usize].into())
    }

    /// Returns the sample at `place` of the first dimension's order, and its L1 distance from `point`.
    #[inline(always)]
    fn near(&self, place: usize, point: (f64, f64)) -> Near {
        let sample = self.a.order[place];
        let across = (f64::from(self.b.values[sample as usize]) - point.1).abs();
        Near { distance: (f64::from(self.a.sorted[place]) - point.0).abs() + across, sample }
    }

    /// Returns the sample nearest to `point`.
    fn nearest(&self, point: (f64, f64)) -> Option<Near> {
        let (sorted, n) = (&self.a.sorted, self.a.sorted.len());
        let along = |place: usize| (f64::from(sorted[place]) - point.0).abs();
        let mut low = sorted.partition_point(|value| f64::from(*value) < point.0);
        let mut high = low;
        let mut best: Option<Near> = None;
        // Outwards in the first dimension, a few at a time, for as long as that alone is no farther than
        // the best.
        loop {
            let within = best.map_or(f64::INFINITY, |best| best.distance);
            let down = if low > 0 { along(low - 1) } else { f64::INFINITY };
            let up = if high < n { along(high) } else { f64::INFINITY };
            if down.min(up) > within || (low == 0 && high == n) {
                return best;
            }
            let places = if high == n || (low > 0 && down <= up) {
                let places = low.saturating_sub(FEW)..low;
                low = places.start;
                places
            } else {
                let places = high..n.min(high + FEW);
                high = places.end;
                places
            };
            for place in places {
                let near = self.near(place, point);
                if best.is_none_or(|best| near.is_before(&best)) {
                    best = Some(near);
                }
            }
        }
    }

    /// Returns the first sample at the same point as `sample`, other than itself.
    fn twin(&self, sample: u32) -> Option<u32> {
        let (a, b) = (self.a.values[sample as usize], self.b.values[sample as usize]);
        let from = self.a.sorted.partition_point(|value| *value < a);
        let level = self.a.sorted[from..].iter().take_while(|value| **value == a);
        let others = level.zip(&self.a.order[from..]).map(|(_, other)| *other);
        let mut twins =
            others.filter(|other| *other != sample && self.b.values[*other as usize] == b);
        // In ascending order, unless there are zeros of both signs: those above 0 come later.
        let signs = a == 0.0 && self.a.sorted[from].is_sign_negative();
        if signs { twins.min() } else { twins.next() }
    }

    /// Puts the `count` samples nearest to `sample`, other than itself, into `found`: in no order of distance,
    /// but in the same one every time.
    fn neighbours(&self, sample: u32, count: usize, found: &mut NearRoom) {
        let count = count.min(self.a.sorted.len() - 1);
        let point = self.point(sample);
        self.within(point, self.reach(point, count), sample, &mut found.near);
        if found.near.len() < count {
            self.within(point, f64::INFINITY, sample, &mut found.near);
        }
        if (1..found.near.len()).contains(&count) {
            found.keep_nearest(count);
        }
    }

    /// Puts all samples up to `reach` from `point`, other than `except`, into `found`.
    fn within(&self, point: (f64, f64), reach: f64, except: u32, found: &mut Vec<Near>) {
        let sorted = &self.a.sorted;
        let off = |value: &f32| f64::from(*value) - point.0;
        let low = sorted.partition_point(|value| off(value) < 0.0 && -off(value) > reach);
        let high = sorted.partition_point(|value| off(value) <= reach);
        found.clear();
        let (mut across, mut distances) = ([0.0f32; STRIP], [0.0f64; STRIP]);
        let mut strip = [Near { distance: 0.0, sample: 0 }; STRIP];
        for start in (low..high).step_by(STRIP) {
            let places = start..high.min(start + STRIP);
            let (samples, along) = (&self.a.order[places.clone()], &sorted[places]);
            for (across, sample) in across.iter_mut().zip(samples) {
                *across = self.b.values[*sample as usize];
            }
            distances_from(point, along, &across, &mut distances);
            // Which are near is no pattern that a processor could foresee: every one is written, and the
            // next over it where it is none.
            let mut count = 0;
            for (sample, distance) in samples.iter().zip(&distances) {
                strip[count] = Near { distance: *distance, sample: *sample };
                count += usize::from((*distance <= reach) & (*sample != except));
            }
            found.extend_from_slice(&strip[..count]);
        }
    }

    /// Returns a distance from `point` that more than `count` samples are probably within.
    fn reach(&self, point: (f64, f64), count: usize) -> f64 {
        let n = self.a.sorted.len();
        if n < 4 * PROBES {
            return f64::INFINITY;
        }
        let mut probes: [u64; PROBES] =
            std::array::from_fn(|at| self.near(at * n / PROBES, point).distance.to_bits());
        let expected = (count * PROBES) as f64 / n as f64;
        let rank = (expected + 3.0 * expected.sqrt() + 3.0) as usize;
        if rank >= PROBES {
            return f64::INFINITY;
        }
        f64::from_bits(*probes.select_nth_unstable(rank).1)
    }
}

in_widest! {
    /// Puts the L1 distances of points, by their coordinates, from `point` into `distances`.
    fn distances_from(point: (f64, f64), along: &[f32], across: &[f32], distances: &mut [f64]) {
        for ((distance, along), across) in distances.iter_mut().zip(along).zip(across) {
            *distance = (f64::from(*along) - point.0).abs() + (f64::from(*across) - point.1).abs();
        }
    }
}

/// A sample and how far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Near {
    distance: f64,
    sample: u32,
}

impl Near {
    /// Whether this is nearer than the other; of equally near ones the earlier is.
    #[inline(always)]
    fn is_before(&self, other: &Self) -> bool {
        self.distance < other.distance
            || self.distance == other.distance && self.sample < other.sample
    }
}

/// Room for the samples near one, used again from draw to draw.
#[derive(Default)]
struct NearRoom {
    near: Vec<Near>,
    /// Distances as bits, which are in the same order as long as none is negative.
    distances: Vec<u64>,
}

impl NearRoom {
    /// Keeps the `count` nearest, at least one of those there are and fewer than all, in their order.
    fn keep_nearest(&mut self, count: usize) {
        self.distances.clear();
        self.distances.extend(self.near.iter().map(|near| near.distance.to_bits()));
        // Of numbers alone, which are told apart faster than samples.
        let (nearer, last, _) = self.distances.select_nth_unstable(count - 1);
        let last = *last;
        let places = count - nearer.iter().filter(|distance| **distance < last).count();
        let last = f64::from_bits(last);
        let tied = self.near.iter().filter(|near| near.distance == last);
        let mut tied: Vec<u32> = tied.map(|near| near.sample).collect();
        tied.sort_unstable();
        let last = Near { distance: last, sample: tied[places - 1] };
        self.near.retain(|near| !last.is_before(near));
    }
}

/// What one draw gains and costs the samples.
struct Drawn {
    gains: u32,
    costs: Vec<(u32, f64)>,
}

/// Returns `base` to the power of `exponent`; for the usual one without a logarithm.
fn power(base: f64, exponent: f64) -> f64 {
    if exponent == 4.0 { (base * base) * (base * base) } else { base.powf(exponent) }
}

impl ZCore {
    fn look(&self, plane: &Plane<'_>, point: (f64, f64), found: &mut NearRoom) -> Option<Drawn> {
        let gains = plane.nearest(point)?.sample;
        if let Some(twin) = plane.twin(gains) {
            return Some(Drawn { gains, costs: vec![(twin, 1.0)] });
        }
        plane.neighbours(gains, self.neighbors.get(), found);
        let nearest = found.near.iter().map(|near| near.distance).fold(f64::INFINITY, f64::min);
        let exponent = f64::from(self.exponent);
        // In units of the least distance, so that no power is infinite.
        let share = |near: &Near| (near.sample, power(nearest / near.distance, exponent));
        let mut costs: Vec<(u32, f64)> = found.near.iter().map(share).collect();
        let total: f64 = costs.iter().map(|(_, share)| share).sum();
        costs.iter_mut().for_each(|(_, share)| *share /= total);
        Some(Drawn { gains, costs })
    }
}

// How many draws are looked at together.
const BATCH: usize = 256;

impl Scorer for ZCore {
    const NAME: &'static str = "score.zcore";
    const SUMMARY: &'static str = "coverage less redundancy in random planes of the embedding";
    const MANUAL: &'static str = "\
Each of M draws takes two different dimensions of the embedding and a point whose coordinates have triangular
distributions from the least to the largest value, with the peak at the median. The sample nearest to the
point (L1) gains 1. Of its 1000 nearest others in the same plane each loses its share `d^-4 / sum d^-4` of 1;
if the nearest is at distance 0, it alone loses 1. Of equally near samples the earlier is nearer. At the end
scores are shifted and scaled to [0, 1]. No label plays a part; high is kept.

Griffin, Marks & Corso, *Zero-Shot Coreset Selection: Efficient Pruning for Unlabeled Data*, 2024, and its
release. M is 10 n, at most 1,000,000; the release's script draws 1,000,000 whatever n. Left out is its noise
from Uniform(0, 1) under the scores, as it can be there. The release leaves to its sort which of several
samples at distance 0 loses, and fails on a dimension that is the same for all, which here is a coordinate
that tells nothing. In embeddings behind a ReLU many samples lie at 0 in both dimensions, and the first two of
them settle such draws between them: embeddings without one, as the paper's are, tell more.

Cost: O(M n) at worst, sorted dimensions shared by all draws so that a draw looks at those near in one of
them; 12 n d bytes of memory.";
    const STREAMS: &'static [&'static str] = &["draws"];
    const READS: ScoreInput = ScoreInput::Embeddings;

    fn score(&self, proxy: &dyn TrainedProxy, streams: Streams) -> Result<Scores, StageError> {
        let embeddings = usable_embeddings(proxy)?;
        let (n, d) = (embeddings.rows(), embeddings.cols());
        let columns: Vec<Dimension> =
            (0..d).into_par_iter().map(|at| Dimension::of(&embeddings, at)).collect();
        let mut stream = streams.get("draws");
        let mut values = vec![0.0f64; n];
        let mut left = self.draws.map_or((10 * n).min(1_000_000), Count::get);
        while left > 0 && n > 0 && d > 0 {
            proxy.check_cancelled()?;
            let batch: Vec<_> = (0..left.min(BATCH)).map(|_| plane(&mut stream, d)).collect();
            left -= batch.len();
            let look = |found: &mut NearRoom, ((a, b), (first, second)): ((usize, usize), _)| {
                let plane = Plane { a: &columns[a], b: &columns[b] };
                let point = (plane.a.triangular(first), plane.b.triangular(second));
                self.look(&plane, point, found)
            };
            let batch = batch.into_par_iter().map_init(NearRoom::default, look);
            let drawn: Vec<Option<Drawn>> = batch.collect();
            for Drawn { gains, costs } in drawn.into_iter().flatten() {
                values[gains as usize] += 1.0;
                for (sample, cost) in costs {
                    values[sample as usize] -= cost;
                }
            }
        }
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let factor = if most > least { 1.0 / (most - least) } else { 0.0 };
        let scores = values.iter().map(|value| ((value - least) * factor) as f32).collect();
        Ok(Scores::harder_when_high(scores))
    }
}

/// Draws two different dimensions of `d`, the only one twice, and two uniform numbers.
fn plane(stream: &mut impl Rng, d: usize) -> ((usize, usize), (f64, f64)) {
    let a = draw::below(stream, d as u32) as usize;
    let b = if d == 1 { 0 } else { draw::below(stream, d as u32 - 1) as usize };
    let b = b + usize::from(d > 1 && b >= a);
    let mut unit = || (stream.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let first = unit();
    // With one dimension both coordinates are the same number.
    let second = if d == 1 { first } else { unit() };
    ((a, b), (first, second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{linalg::noise, score::testing::InMemory};

    #[test]
    fn triangular_numbers_worked_by_hand() {
        // From 0 to 4 with the peak at 1: a quarter lies below it.
        let column = Dimension::of(&Matrix::new(&[4.0, 0.0, 1.0][..], 3, 1), 0);
        for (unit, wanted) in [(0.0, 0.0), (1.0 / 16.0, 0.5), (0.25, 1.0), (13.0 / 16.0, 2.5)] {
            assert!((column.triangular(unit) - wanted).abs() < 1e-12);
        }
        let flat = Dimension::of(&Matrix::new(&[2.0, 2.0][..], 2, 1), 0);
        assert_eq!(flat.triangular(0.3), 2.0);
    }

    #[test]
    fn near_ones_are_those_of_a_full_sort() {
        // Coarse numbers: many distances are equal.
        let n = 6000;
        let mut x = noise(2 * n, 5);
        x.iter_mut().for_each(|v| *v = (*v * 100.0).round());
        let x = Matrix::new(&x[..], n, 2);
        let (a, b) = (Dimension::of(&x, 0), Dimension::of(&x, 1));
        let plane = Plane { a: &a, b: &b };
        let order =
            |a: &Near, b: &Near| a.distance.total_cmp(&b.distance).then(a.sample.cmp(&b.sample));
        let sorted = |point: (f64, f64), except: Option<u32>| {
            let near = |sample: u32| {
                let (u, v) = plane.point(sample);
                Near { distance: (u - point.0).abs() + (v - point.1).abs(), sample }
            };
            let all = (0..n as u32).filter(|sample| Some(*sample) != except);
            let mut all: Vec<Near> = all.map(near).collect();
            all.sort_by(order);
            all
        };
        for sample in [0u32, 7, 1500, 5999] {
            let (point, off) = (plane.point(sample), (0.3 * f64::from(sample), -1.7));
            assert_eq!(plane.nearest(off), Some(sorted(off, None)[0]));
            let all = sorted(point, Some(sample));
            let twin = (all[0].distance == 0.0).then_some(all[0].sample);
            assert_eq!(plane.twin(sample), twin);
            for count in [1, 10, 600, 4000, 7000] {
                let mut found = NearRoom::default();
                plane.neighbours(sample, count, &mut found);
                found.near.sort_by(order);
                assert_eq!(found.near, all[..count.min(all.len())]);
            }
        }
    }

    #[test]
    fn draws_worked_by_hand() {
        // In one dimension, twice: 0, 1, 3. The point 0.2 is nearest to 0; 1 and 3 are at 2 and 6.
        let column = Dimension::of(&Matrix::new(&[0.0, 1.0, 3.0][..], 3, 1), 0);
        let plane = Plane { a: &column, b: &column };
        let drawn = ZCore::default()
            .look(&plane, (0.2, 0.2), &mut NearRoom::default())
            .expect("there are samples");
        assert_eq!(drawn.gains, 0);
        let mut costs = drawn.costs;
        costs.sort_by_key(|(sample, _)| *sample);
        let share = |at: usize| costs[at].1;
        assert!((share(0) - 81.0 / 82.0).abs() < 1e-12 && (share(1) - 1.0 / 82.0).abs() < 1e-12);
        // Of twins the other loses all.
        let column = Dimension::of(&Matrix::new(&[5.0, 1.0, 1.0, 1.5][..], 4, 1), 0);
        let plane = Plane { a: &column, b: &column };
        let drawn = ZCore::default()
            .look(&plane, (0.9, 0.9), &mut NearRoom::default())
            .expect("there are samples");
        assert_eq!((drawn.gains, drawn.costs), (1, vec![(2, 1.0)]));
        // Zeros are sorted by sign, and are equal nonetheless.
        let column = Dimension::of(&Matrix::new(&[0.0, -0.0, -0.0][..], 3, 1), 0);
        let plane = Plane { a: &column, b: &column };
        assert_eq!([0, 1, 2].map(|sample| plane.twin(sample)), [Some(1), Some(0), Some(0)]);
    }

    #[test]
    fn scores_reach_from_0_to_1_and_twins_are_low() {
        let n = 40;
        let mut x = noise(3 * n, 6);
        let first = x[..3].to_vec();
        x[3..6].copy_from_slice(&first);
        let proxy = InMemory::embedded(&vec![0; n], 1, &x);
        let streams = Streams::new(1, ZCore::STREAMS);
        let scores = ZCore::default().score(&proxy, streams).expect("it is embedded").scores;
        assert_eq!(scores.iter().copied().fold(1.0, f32::min), 0.0);
        assert_eq!(scores.iter().copied().fold(0.0, f32::max), 1.0);
        assert!(scores[1] < scores[0]);
        let alone = InMemory::embedded(&[0], 1, &[1.0, 2.0]);
        assert_eq!(ZCore::default().score(&alone, streams).expect("embedded").scores, [0.0]);
        let line = InMemory::embedded(&[0; 3], 1, &[0.0, 1.0, 3.0]);
        assert!(ZCore::default().score(&line, streams).is_ok());
    }
}
