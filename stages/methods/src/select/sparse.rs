//! What is asked of the pairs that a graph of neighbours joins, and of no others.

use super::{
    Group,
    greedy::Objective,
    similarity::{self, Features},
};
use crate::linalg::{Pairwise, dot};
use rayon::prelude::*;

/// A number for each pair of which one is among the other's neighbours, by row, ascending.
pub(super) struct SparseRows(pub(super) Vec<Vec<(u32, f64)>>);

impl SparseRows {
    /// Returns what `value` makes of each pair; it is the same both ways.
    pub(super) fn new(neighbours: &[Vec<u32>], value: impl Fn(usize, usize) -> f64 + Sync) -> Self {
        let mut joined: Vec<Vec<u32>> = neighbours.to_vec();
        for (i, others) in neighbours.iter().enumerate() {
            for j in others {
                joined[*j as usize].push(i as u32);
            }
        }
        let row = |(i, mut others): (usize, Vec<u32>)| {
            others.sort_unstable();
            others.dedup();
            others.into_iter().map(|j| (j, value(i, j as usize))).collect()
        };
        Self(joined.into_par_iter().enumerate().map(row).collect())
    }

    /// Returns the similarities `(1 + cosine) / 2` of members that the graph joins, or `None` if there is no
    /// graph.
    pub(super) fn similarities(group: &Group<'_>, of: Features) -> Option<Self> {
        let neighbours = group.graph_neighbours()?;
        let spaces = similarity::spaces(group, of);
        let similarity = |i: usize, j: usize| {
            let cosine = spaces.iter().map(|space| dot(space.row(i), space.row(j))).product();
            f64::from(Pairwise::SIMILARITY.element(i, j, cosine))
        };
        Some(Self::new(&neighbours, similarity))
    }

    /// Returns the numbers of row `at`.
    pub(super) fn row(&self, at: usize) -> &[(u32, f64)] {
        &self.0[at]
    }

    /// Returns how many rows there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// How like a sample is to itself.
const ITSELF: f64 = 1.0;

/// How many gains are asked for at once: they are cheap.
const BATCH: [usize; 2] = [4, 64];

/// Facility location over similarities that are 0 where nothing joins two samples.
pub(super) struct SparseCoverage {
    similarities: SparseRows,
    /// How like the most similar pick is to each.
    covered: Vec<f64>,
}

impl SparseCoverage {
    pub(super) fn new(similarities: SparseRows) -> Self {
        Self { covered: vec![0.0; similarities.len()], similarities }
    }
}

impl Objective for SparseCoverage {
    fn len(&self) -> usize {
        self.covered.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        Some(BATCH)
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        let gain = |place: &u32| {
            let more = |i: usize, similarity: f64| (similarity - self.covered[i]).max(0.0);
            let row = self.similarities.row(*place as usize).iter();
            let others: f64 = row.map(|(i, similarity)| more(*i as usize, *similarity)).sum();
            more(*place as usize, ITSELF) + others
        };
        places.par_iter().with_min_len(256).map(gain).collect()
    }

    fn choose(&mut self, place: usize) {
        self.covered[place] = ITSELF;
        for (i, similarity) in self.similarities.row(place) {
            let covered = &mut self.covered[*i as usize];
            *covered = covered.max(*similarity);
        }
    }
}

/// Graph cut over similarities that are 0 where nothing joins two samples.
pub(super) struct SparseCut {
    similarities: SparseRows,
    gains: Vec<f64>,
    lambda: f64,
}

impl SparseCut {
    pub(super) fn new(similarities: SparseRows, lambda: f64) -> Self {
        let sum = |at: usize| similarities.row(at).iter().map(|(_, one)| one).sum::<f64>();
        let gains = (0..similarities.len()).map(|at| ITSELF + sum(at)).collect();
        Self { similarities, gains, lambda }
    }
}

impl Objective for SparseCut {
    fn len(&self) -> usize {
        self.gains.len()
    }

    fn batch(&self) -> Option<[usize; 2]> {
        Some(BATCH)
    }

    fn gains(&mut self, places: &[u32]) -> Vec<f64> {
        places.iter().map(|place| self.gains[*place as usize]).collect()
    }

    fn choose(&mut self, place: usize) {
        for (i, similarity) in self.similarities.row(place) {
            self.gains[*i as usize] -= 2.0 * self.lambda * similarity;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::laws::doubles;
    use crate::{
        linalg::{Compute, neighbours, noise},
        select::{
            Selector, TrainingSet, cal::Cal, d2::D2, dedup::Dedup,
            facility_location::FacilityLocation, graph_cut::GraphCut, infomax::InfoMax,
        },
    };
    use artifacts::{ClassId, Matrix, SampleId, graph::KnnGraph};
    use engine::Streams;

    fn picks<S: Selector>(rule: &S, ground: &TrainingSet<'_>, class: ClassId) -> Vec<u32> {
        let of_class = |one: &SampleId| ground.labels[one.index()] == class;
        let members: Vec<SampleId> = SampleId::all(ground.labels.len()).filter(of_class).collect();
        let group = Group::unwatched(ground, &members, 0, Streams::new(1, rule.streams()));
        rule.select(&group, members.len() / 3).expect("it can be applied").rows()
    }

    /// Returns the graph of all pairs of `x`, or of the nearest `count`.
    fn graph(x: &Matrix<'_>, count: usize) -> KnnGraph {
        let near = neighbours(x, count, &Compute::default(), |_, _| Ok(())).expect("it goes on");
        KnnGraph::new(
            count,
            near.into_iter().map(|row| row.into_iter().map(|j| (j, 0.0)).collect()),
        )
    }

    fn same<S: Selector>(without: &TrainingSet<'_>, graph: &KnnGraph) {
        let with = TrainingSet {
            labels: without.labels,
            scores: without.scores,
            logits: without.logits.as_ref().map(Matrix::view),
            embeddings: without.embeddings.as_ref().map(Matrix::view),
            graph: Some(graph),
            ..TrainingSet::default()
        };
        for rule in S::variants() {
            for class in ClassId::all(2) {
                let (with, without) = (picks(&rule, &with, class), picks(&rule, without, class));
                assert_eq!(with, without, "{}", serde_json::json!(rule));
            }
        }
    }

    #[test]
    fn a_graph_of_all_pairs_changes_nothing() {
        let (n, d, classes) = (120, 5, 2);
        let labels = ClassId::list((0..n as u32).map(|i| i % 3 / 2));
        let (embeddings, logits) = (noise(n * d, 1), noise(n * classes, 2));
        let scores = doubles(&noise(n, 3));
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            logits: Some(Matrix::new(&logits, n, classes)),
            embeddings: Some(Matrix::new(&embeddings, n, d)),
            ..TrainingSet::default()
        };
        let whole = graph(&Matrix::new(&embeddings, n, d), n - 1);
        same::<D2>(&ground, &whole);
        same::<Cal>(&ground, &whole);
        same::<FacilityLocation>(&ground, &whole);
        same::<GraphCut>(&ground, &whole);
        // By cosines, the neighbours are those of unit vectors.
        let whole = graph(&crate::linalg::unit(&Matrix::new(&embeddings, n, d)), n - 1);
        same::<InfoMax>(&ground, &whole);
    }

    #[test]
    fn of_joined_copies_the_later_goes() {
        let labels = [ClassId::at(0); 6];
        // 1 and 4 are copies, 0 and 3 are near; 2 and 5 are like nobody.
        let points = [[5.0, 0.0], [0.0, 3.0], [-1.0, -0.5], [5.0, 0.1], [0.0, 3.0], [2.0, -4.0]];
        let x = Matrix::new(points.concat(), 6, 2);
        let graph = graph(&x, 1);
        let ground = TrainingSet {
            labels: &labels,
            embeddings: Some(x.view()),
            graph: Some(&graph),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(6).collect();
        let rule = Dedup::default();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(1, rule.streams()));
        let kept = |budget| rule.select(&group, budget).expect("it can be applied").rows();
        assert_eq!(kept(5), [0, 1, 2, 3, 5]);
        assert_eq!(kept(4), [0, 1, 2, 5]);
    }

    #[test]
    fn a_graph_of_few_neighbours_is_told() {
        let x = Matrix::new(noise(40, 1), 20, 2);
        let (graph, labels, scores) = (graph(&x, 3), [ClassId::at(0); 20], [0.5; 20]);
        let ground = TrainingSet {
            labels: &labels,
            scores: Some(&scores),
            embeddings: Some(x.view()),
            graph: Some(&graph),
            ..TrainingSet::default()
        };
        let members: Vec<SampleId> = SampleId::all(20).collect();
        let group = Group::unwatched(&ground, &members, 0, Streams::new(1, &[]));
        let failure = D2::default().select(&group, 4).expect_err("it asks for five");
        assert_eq!(
            failure.to_string(),
            "the graph has 3 neighbours of each sample, but 5 are asked for"
        );
    }
}
