//! The nearest neighbours of a query set: RDS+.

use super::{Group, Picks, SelectInput, Selector, Watch, query::query_last, top::hardest_first};
use crate::linalg::{column_sums, cross_rows, times, unit, unit_of};
use artifacts::Matrix;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps what is nearest to the samples of a query.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct NearestQuery {
    /// How the samples of the query share the budget.
    mode: QueryMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum QueryMode {
    /// They take turns: each takes the nearest sample that is left.
    #[default]
    RoundRobin,
    /// The samples of the largest mean cosine with them all are kept.
    Mean,
    /// The samples of the largest cosine with any of them are kept.
    Max,
}

/// How many samples of the query are compared with all of the group at once.
const BLOCK: usize = 64;

/// For each sample of the query the nearest that were left when it was last looked, the last of them
/// nearest.
struct NearestOfQuery<'a> {
    pool: &'a Matrix<'a>,
    query: &'a Matrix<'a>,
    /// How many are listed for one.
    depth: usize,
    lists: Vec<Vec<u32>>,
    taken: Vec<bool>,
}

impl NearestOfQuery<'_> {
    /// Takes the nearest that is left to sample `at` of the query.
    fn take(&mut self, at: usize) -> u32 {
        loop {
            while let Some(place) = self.lists[at].pop() {
                if !std::mem::replace(&mut self.taken[place as usize], true) {
                    return place;
                }
            }
            self.look(at / BLOCK);
        }
    }

    /// Lists anew for a block of the query: those beside it have run out too, or soon will.
    fn look(&mut self, block: usize) {
        let rows = block * BLOCK..((block + 1) * BLOCK).min(self.query.rows());
        let asked: Vec<u32> = rows.clone().map(|row| row as u32).collect();
        let cosines = cross_rows(self.query, &asked, self.pool);
        let open: Vec<u32> =
            (0..self.taken.len() as u32).filter(|place| !self.taken[*place as usize]).collect();
        let depth = self.depth.min(open.len());
        let listed = cosines.par_chunks_exact(self.taken.len()).map(|cosines| {
            let key = |place: u32| cosines[place as usize] + 0.0;
            let nearer = |a: &u32, b: &u32| key(*b).total_cmp(&key(*a)).then(a.cmp(b));
            let mut list = open.clone();
            if depth < list.len() {
                list.select_nth_unstable_by(depth, nearer);
                list.truncate(depth);
            }
            list.sort_unstable_by(|a, b| nearer(b, a));
            list
        });
        let listed: Vec<Vec<u32>> = listed.collect();
        self.lists[rows].iter_mut().zip(listed).for_each(|(list, new)| *list = new);
    }
}

/// Returns the positions in `pool` that the rows of `query` take in turns.
fn in_turns(
    pool: &Matrix<'_>,
    query: &Matrix<'_>,
    count: usize,
    watch: &dyn Watch,
) -> Result<Vec<u32>, StageError> {
    let q = query.rows();
    let depth = (2 * count.div_ceil(q)).max(2 * BLOCK);
    let taken = vec![false; pool.rows()];
    let mut nearest = NearestOfQuery { pool, query, depth, lists: vec![vec![]; q], taken };
    let mut picks = Vec::with_capacity(count);
    while picks.len() < count {
        watch.step(picks.len(), count)?;
        picks.push(nearest.take(picks.len() % q));
    }
    Ok(picks)
}

/// Returns the mean of the products of each row of `pool` with all rows of `query`.
pub(super) fn mean_products(pool: &Matrix<'_>, query: &Matrix<'_>) -> Vec<f32> {
    let q = query.rows() as f64;
    let mean: Vec<f32> = column_sums(query).iter().map(|sum| (sum / q) as f32).collect();
    times(pool, &mean)
}

/// Returns the largest of the products of each row of `pool` with all rows of `query`.
pub(super) fn largest_products(
    pool: &Matrix<'_>,
    query: &Matrix<'_>,
    step: impl Fn() -> Result<(), StageError>,
) -> Result<Vec<f32>, StageError> {
    let mut largest = vec![f32::NEG_INFINITY; pool.rows()];
    let all: Vec<u32> = (0..query.rows() as u32).collect();
    for rows in all.chunks(BLOCK) {
        step()?;
        for products in cross_rows(query, rows, pool).chunks_exact(pool.rows().max(1)) {
            for i in 0..largest.len() {
                largest[i] = largest[i].max(products[i]);
            }
        }
    }
    Ok(largest)
}

impl Selector for NearestQuery {
    const NAME: &'static str = "select.nearest-query";
    const SUMMARY: &'static str = "the nearest neighbours of the samples of a query";
    const MANUAL: &'static str = "\
Compares every sample with every sample of a query by the cosine of embeddings, and keeps the nearest. In
`round-robin` the samples of the query, in their order, take the nearest that is left to each, over and over
until the budget is full; `mean` and `max` rank by the mean or the largest cosine. Of equally near samples
the earlier is taken.

The query is the training split of a data set with features on port `query-data`, of the same width as the
embeddings, or picks of the training set itself on port `query`, such as those of `select.import`. The
second are kept only where the budget is larger than all the rest, for a query is apart from what is
selected from.

Ivison, Zhang, Brahman, Koh & Dasigi, *Large-Scale Data Selection for Instruction Tuning*, 2025, whose RDS+
is `round-robin` on embeddings that are means over the tokens of a text, later ones weighing more: those are
made elsewhere and come in by `load.features`. Cost: O(n q d) in tiles for n samples and q of the query, O(n
+ k) memory beside the embeddings; `mean` O((n + q) d).";
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings, SelectInput::Query];

    fn variants() -> Vec<Self> {
        [QueryMode::RoundRobin, QueryMode::Mean, QueryMode::Max].map(|mode| Self { mode }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let (vectors, query) = (group.embeddings(), unit(&group.query().vectors));
        let picks = query_last(group, budget, |places, count| {
            let pool = unit_of(&vectors, places);
            let scores = match self.mode {
                QueryMode::RoundRobin => return in_turns(&pool, &query, count, group.watch),
                QueryMode::Mean => mean_products(&pool, &query),
                QueryMode::Max => largest_products(&pool, &query, || group.watch.step(0, budget))?,
            };
            let mut order = hardest_first(&scores);
            order.truncate(count);
            Ok(order)
        })?;
        Ok(picks.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        linalg::noise,
        select::{Query, TrainingSet, group::Unwatched},
    };
    use artifacts::{ClassId, SampleId};
    use engine::Streams;

    fn picks(rule: &NearestQuery, samples: &[SampleId], budget: usize) -> Vec<u32> {
        // Directions at 0, 10, 20, 80 and 90 degrees, and a query at 0 and at 85.
        let at = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let x = [0.0, 10.0, 20.0, 80.0, 90.0].map(at).concat();
        let query = [0.0, 84.0].map(at).concat();
        let ground = TrainingSet {
            labels: &[ClassId::at(0); 5],
            embeddings: Some(Matrix::new(&x[..], 5, 2)),
            query: Some(Query { vectors: Matrix::new(&query[..], 2, 2), samples }),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(5).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(0, &[]));
        rule.select(&group, budget).expect("nobody stops it").rows()
    }

    #[test]
    fn picks_worked_by_hand() {
        let mode = |mode| NearestQuery { mode };
        assert_eq!(picks(&mode(QueryMode::RoundRobin), &[], 4), [0, 3, 1, 4]);
        // The largest cosines are those of 0, 4, 6, 10 and 20 degrees.
        assert_eq!(picks(&mode(QueryMode::Max), &[], 5), [0, 3, 4, 1, 2]);
        // The mean vector points to 42 degrees, to which 20 is nearest.
        assert_eq!(picks(&mode(QueryMode::Mean), &[], 3), [2, 1, 3]);
        // Those that are the query themselves come last.
        let own = [SampleId::from(0), SampleId::from(3)];
        assert_eq!(picks(&mode(QueryMode::RoundRobin), &own, 5), [1, 4, 2, 0, 3]);
    }

    #[test]
    fn turns_are_those_of_full_lists() {
        // Half of the query is one vector, so that lists run out before their turn comes.
        let (n, d, q) = (700, 3, 130);
        let mut query = noise(q * d, 2);
        (0..q / 2).for_each(|at| query.copy_within(0..d, at * d));
        let pool = unit(&Matrix::new(noise(n * d, 1), n, d));
        let query = unit(&Matrix::new(query, q, d));
        let fast = in_turns(&pool, &query, 600, &Unwatched).expect("nobody stops it");
        let all: Vec<u32> = (0..q as u32).collect();
        let cosines = cross_rows(&query, &all, &pool);
        let mut taken = vec![false; n];
        for (turn, pick) in fast.iter().enumerate() {
            let row = &cosines[turn % q * n..][..n];
            let mut best = None;
            for i in (0..n).filter(|i| !taken[*i]) {
                if best.is_none_or(|best: usize| row[i] > row[best]) {
                    best = Some(i);
                }
            }
            assert_eq!(Some(*pick as usize), best);
            taken[*pick as usize] = true;
        }
    }
}
