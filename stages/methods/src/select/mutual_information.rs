//! Submodular mutual information with a query, and gain beyond one.

use super::{
    Group, Picks, SelectInput, Selector,
    facility_location::Coverage,
    greedy::{self, Objective, Search},
    nearest_query::{largest_products, mean_products},
    query::query_last,
    query_volume::QueryVolume,
};
use crate::linalg::{
    CoverageGains, Gram, Pairwise, PairwiseRows, cross_rows, excess, unit, unit_of,
};
use artifacts::{Matrix, units::NonNegative};
use engine::{Problem, StageError};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps what tells most of a query, or most beyond it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct MutualInformation {
    /// What is made large.
    function: Function,
    /// For `flqmi`: how much a pick's own likeness to the query counts beside the query's being covered.
    /// For `log-det`, where it is at most 1: how much the query counts.
    eta: NonNegative,
    /// For `flcg`: how well the query counts as covering what is like it.
    nu: NonNegative,
    /// For `log-det`: what is added to the diagonal of the similarities.
    ridge: NonNegative,
    /// How the picks are found.
    search: Search,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Function {
    /// Facility location between query and picks: `sum_q max_a s_qa + eta sum_a max_q s_qa`.
    #[default]
    Flqmi,
    /// Graph cut: `sum_q sum_a s_qa`, which the picks' likeness to each other does not change.
    Gcmi,
    /// Log-determinant: `log det S_A - log det (S_A - eta^2 S_AQ S_Q^-1 S_QA)`.
    LogDet,
    /// Facility location beyond the query, which is avoided: `sum_i max(max_a s_ia - nu max_q s_iq, 0)`.
    Flcg,
}

impl Default for MutualInformation {
    fn default() -> Self {
        let number = |value: f64| NonNegative::try_from(value).expect("it is not below 0");
        Self {
            function: Function::default(),
            eta: number(1.0),
            nu: number(1.0),
            ridge: number(1e-3),
            search: Search::default(),
        }
    }
}

/// How like each place is to each sample of the query, \[places, q\], held where there is room.
struct QueryLikeness<'a> {
    pool: &'a Matrix<'a>,
    query: &'a Matrix<'a>,
    held: Option<Vec<f32>>,
}

impl<'a> QueryLikeness<'a> {
    fn new(pool: &'a Matrix<'a>, query: &'a Matrix<'a>, memory: usize) -> Self {
        let mut likeness = Self { pool, query, held: None };
        let whole = pool.rows().saturating_mul(query.rows()).saturating_mul(size_of::<f32>());
        if whole <= memory {
            let all: Vec<u32> = (0..pool.rows() as u32).collect();
            likeness.held = Some(likeness.computed(&all));
        }
        likeness
    }

    fn computed(&self, places: &[u32]) -> Vec<f32> {
        let mut all = cross_rows(self.pool, places, self.query);
        all.par_iter_mut().with_min_len(4096).for_each(|value| *value = *value * 0.5 + 0.5);
        all
    }

    /// Returns what `each` makes of the row of each of `places`.
    fn map<T: Send>(&self, places: &[u32], each: impl Fn(&[f32]) -> T + Sync) -> Vec<T> {
        let q = self.query.rows();
        match &self.held {
            Some(all) => {
                let row = |place: &u32| each(&all[*place as usize * q..][..q]);
                places.par_iter().with_min_len(16).map(row).collect()
            }
            None => {
                let some = |places: &[u32]| {
                    self.computed(places).par_chunks_exact(q).map(&each).collect::<Vec<T>>()
                };
                places.chunks(SOME).flat_map(some).collect()
            }
        }
    }
}

/// How many rows are computed together where they are not held.
const SOME: usize = 4096;

/// FLQMI, as seen from the picks so far.
struct QueryCoverage<'a> {
    likeness: QueryLikeness<'a>,
    /// How like the nearest pick is to each sample of the query.
    best: Vec<f32>,
    /// What each place brings by its own likeness to the query.
    own: Vec<f64>,
}

impl<'a> QueryCoverage<'a> {
    fn new(likeness: QueryLikeness<'a>, eta: f64) -> Self {
        let all: Vec<u32> = (0..likeness.pool.rows() as u32).collect();
        let largest = |row: &[f32]| row.iter().copied().fold(0.0, f32::max);
        let own = likeness.map(&all, |row| eta * f64::from(largest(row)));
        let best = vec![0.0; likeness.query.rows()];
        Self { likeness, best, own }
    }
}

impl Objective for QueryCoverage<'_> {
    fn len(&self) -> usize {
        self.own.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        Some([64, 512])
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let covers = self.likeness.map(places, |row| f64::from(excess(row, &self.best)));
        let own = places.iter().map(|place| self.own[*place as usize]);
        covers.into_iter().zip(own).map(|(covers, own)| covers + own).collect()
    }

    fn choose(&mut self, place: usize) {
        let row = self.likeness.map(&[place as u32], <[f32]>::to_vec).swap_remove(0);
        for (best, value) in self.best.iter_mut().zip(row) {
            *best = best.max(value);
        }
    }
}

/// Gains that no pick changes.
struct Modular(Vec<f64>);

impl Objective for Modular {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        None
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.iter().map(|place| self.0[*place as usize]).collect()
    }

    fn choose(&mut self, _: usize) {}
}

impl MutualInformation {
    /// Returns the default settings with each function.
    pub(super) fn functions() -> [Self; 4] {
        let all = [Function::Flqmi, Function::Gcmi, Function::LogDet, Function::Flcg];
        all.map(|function| Self { function, ..Self::default() })
    }

    /// Returns the positions of `count` picks in `pool`.
    fn pick(
        &self,
        pool: Matrix<'_>,
        query: &Matrix<'_>,
        count: usize,
        group: &Group<'_>,
    ) -> Result<Vec<u32>, StageError> {
        let memory = group.compute.memory;
        match self.function {
            Function::Flqmi => {
                let likeness = QueryLikeness::new(&pool, query, memory);
                let mut coverage = QueryCoverage::new(likeness, self.eta.into());
                greedy::maximize(&mut coverage, count, self.search, group)
            }
            Function::Gcmi => {
                let sums = mean_products(&pool, query);
                let mut gains = Modular(sums.into_iter().map(f64::from).collect());
                greedy::maximize(&mut gains, count, self.search, group)
            }
            Function::LogDet => {
                let mut volume = QueryVolume::new(&pool, query, self.eta.into(), self.ridge.into());
                greedy::maximize(&mut volume, count, self.search, group)
            }
            Function::Flcg => {
                let near = largest_products(&pool, query, || group.watch.step(0, count))?;
                let nu = f64::from(self.nu);
                let floor = |near: f32| (nu * (0.5 + 0.5 * f64::from(near))) as f32;
                let floors = near.into_iter().map(floor).collect();
                let pool = Matrix::new(pool.data().to_vec(), pool.rows(), pool.cols());
                let cosines = Gram::new(vec![pool]).on(group.compute, true);
                let rows = PairwiseRows::new(cosines, Pairwise::SIMILARITY);
                let mut gains = CoverageGains::new(rows, 0.0, &mut group.compute.memory.clone());
                gains.begin_at(floors);
                greedy::maximize(&mut Coverage(gains), count, self.search, group)
            }
        }
    }
}

impl Selector for MutualInformation {
    const NAME: &'static str = "select.mutual-information";
    const SUMMARY: &'static str = "picks that tell most of a query, or most beyond it";
    const MANUAL: &'static str = "\
Greedily maximises a submodular function of the picks A and a query Q, with the similarity s = (1 + cosine)
/ 2 of embeddings, the gains of `select.facility-location`, `select.graph-cut` and `select.log-det` seen
from a query:

- `flqmi`: `sum_q max_{a in A} s_qa + eta sum_{a in A} max_q s_qa`. Every sample of the query has a pick
  like it, and with a larger `rule.eta` picks are more like the query and less unlike each other.
- `gcmi`: `sum_q sum_{a in A} s_qa`, the samples most like the query in the mean; they may be copies.
- `log-det`: `log det S_A - log det (S_A - eta^2 S_AQ S_Q^-1 S_QA)`, `rule.ridge` on the diagonals.
- `flcg`: `sum_i max(max_{a in A} s_ia - nu max_q s_iq, 0)`: covers what the query does not. The query is
  avoided, as samples that must not leak or are kept already.

The query is the training split of a data set with features on port `query-data`, of the same width as the
embeddings, or picks of the training set itself on port `query`; those are kept only where the budget is
larger than all the rest. Of equal gains the earlier sample is picked.

Iyer, Khargoankar, Bilmes & Asnani, *Submodular Combinatorial Information Measures*, ALT 2021; Kothawade,
Kaushal, Ramakrishnan, Bilmes & Iyer, *PRISM: A Rich Class of Parameterized Submodular Information Measures
for Guided Data Subset Selection*, AAAI 2022. Constant factors that change no pick are left out. Cost for n
samples and q of the query: `flqmi` O(n q d), then O(q) a gain, with n q numbers held where they fit into
`--memory`; `gcmi` O((n + q) d); `log-det` O(n d^2), then O(n d) a pick; `flcg` O(n^2 d), as
`select.facility-location`.";
    const STREAMS: &'static [&'static str] = greedy::CANDIDATES;
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings, SelectInput::Query];
    const ON_DEVICE: bool = true;

    fn streams(&self) -> &'static [&'static str] {
        self.search.streams()
    }

    fn problems(&self) -> Vec<Problem> {
        let too_large = self.function == Function::LogDet && f64::from(self.eta) > 1.0;
        let problem = Problem {
            setting: "eta".to_owned(),
            message: "above 1 there is no such determinant".to_owned(),
            hint: Some("set it from 0 to 1, or take another `rule.function`".to_owned()),
        };
        too_large.then_some(problem).into_iter().collect()
    }

    fn variants() -> Vec<Self> {
        let searches = Search::each().map(|search| Self { search, ..Self::default() });
        Self::functions().into_iter().chain(searches).collect()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (vectors, query) = (group.embeddings(), unit(&group.query().vectors));
        let picks = query_last(group, budget, |places, count| {
            self.pick(unit_of(&vectors, places), &query, count, group)
        })?;
        Ok(picks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::noise,
        select::{Query, TrainingSet},
    };
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    const N: usize = 40;
    const D: usize = 4;
    const Q: usize = 5;

    fn select(rule: &MutualInformation, budget: usize) -> Vec<u32> {
        let (x, query) = (noise(N * D, 1), noise(Q * D, 2));
        let ground = TrainingSet {
            labels: &[ClassId::at(0); N],
            embeddings: Some(Matrix::new(&x[..], N, D)),
            query: Some(Query { vectors: Matrix::new(&query[..], Q, D), samples: &[] }),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(N).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    /// The similarities of all samples, those of the query behind the others.
    fn similarities() -> Vec<Vec<f64>> {
        let x = [noise(N * D, 1), noise(Q * D, 2)].concat();
        let unit = unit(&Matrix::new(x, N + Q, D));
        let one = |i: usize, j: usize| {
            let products = unit.row(i).iter().zip(unit.row(j));
            let cosine: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            0.5 + 0.5 * cosine
        };
        (0..N + Q).map(|i| (0..N + Q).map(|j| one(i, j)).collect()).collect()
    }

    /// The log-determinant of a matrix, by elimination.
    fn log_det(mut a: Vec<Vec<f64>>) -> f64 {
        let mut sum = 0.0;
        for at in 0..a.len() {
            sum += a[at][at].ln();
            for row in at + 1..a.len() {
                let (above, below) = a.split_at_mut(row);
                let factor = below[0][at] / above[at][at];
                for (value, pivot) in below[0].iter_mut().zip(&above[at]).skip(at) {
                    *value -= factor * pivot;
                }
            }
        }
        sum
    }

    fn value(rule: &MutualInformation, s: &[Vec<f64>], picks: &[usize]) -> f64 {
        let best =
            |i: usize, of: &mut dyn Iterator<Item = usize>| of.map(|j| s[i][j]).fold(0.0, f64::max);
        let query = || N..N + Q;
        match rule.function {
            Function::Flqmi => {
                let covered: f64 = query().map(|q| best(q, &mut picks.iter().copied())).sum();
                let own: f64 = picks.iter().map(|a| best(*a, &mut query())).sum();
                covered + f64::from(rule.eta) * own
            }
            Function::Gcmi => picks.iter().map(|a| query().map(|q| s[*a][q]).sum::<f64>()).sum(),
            Function::Flcg => (0..N)
                .map(|i| {
                    let beyond = best(i, &mut picks.iter().copied())
                        - f64::from(rule.nu) * best(i, &mut query());
                    beyond.max(0.0)
                })
                .sum(),
            Function::LogDet => {
                // With eta = 1: log det S_A + log det S_Q - log det S_(A and Q).
                let of = |all: &[usize]| {
                    let ridged = |i: &usize, j: &usize| {
                        s[*i][*j] + if i == j { f64::from(rule.ridge) } else { 0.0 }
                    };
                    let row = |i: &usize| all.iter().map(|j| ridged(i, j)).collect();
                    log_det(all.iter().map(row).collect())
                };
                let all = [picks, &query().collect::<Vec<_>>()].concat();
                of(picks) - of(&all)
            }
        }
    }

    #[test]
    fn picks_are_those_of_a_slow_greedy_search() {
        let s = similarities();
        for function in [Function::Flqmi, Function::Gcmi, Function::LogDet, Function::Flcg] {
            let ridge = NonNegative::try_from(0.05).expect("it is not below 0");
            let nu = NonNegative::try_from(0.8).expect("it is not below 0");
            let rule = MutualInformation { function, ridge, nu, ..MutualInformation::default() };
            let mut slow: Vec<usize> = vec![];
            for _ in 0..8 {
                let open = (0..N).filter(|i| !slow.contains(i));
                let with = |i: usize| value(&rule, &s, &[&slow[..], &[i]].concat());
                let best = open.reduce(|a, b| if with(b) > with(a) { b } else { a });
                slow.push(best.expect("there are some left"));
            }
            let slow: Vec<u32> = slow.iter().map(|i| *i as u32).collect();
            assert_eq!(select(&rule, 8), slow, "{function:?}");
        }
    }

    #[test]
    fn what_is_held_changes_nothing() {
        let (x, query) = (unit(&Matrix::new(noise(N * D, 1), N, D)), noise(Q * D, 2));
        let query = unit(&Matrix::new(query, Q, D));
        let all: Vec<u32> = (0..N as u32).collect();
        let sums = |memory| {
            let likeness = QueryLikeness::new(&x, &query, memory);
            likeness.map(&all, |row| row.iter().sum::<f32>())
        };
        assert_eq!(sums(usize::MAX), sums(0));
    }
}
