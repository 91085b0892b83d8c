//! What a selecting method sees: a group of training samples, and what is known of them.

use super::{query::Query, residuals};
use crate::{
    confident::{LabelIssues, label_issues, probabilities},
    graph::check_count,
    linalg::{Compute, neighbours},
};
use artifacts::{ClassId, InGroup, Matrix, SampleId, graph::KnnGraph};
use engine::{StageError, Streams};
use std::sync::OnceLock;

/// What is known of the whole training set, in sample order. What a method did not ask for is
/// absent.
#[derive(Default)]
pub(crate) struct TrainingSet<'a> {
    /// One label a sample.
    pub(crate) labels: &'a [ClassId],
    /// Difficulties, none of them NaN.
    pub(crate) scores: Option<&'a [f64]>,
    /// Which method made the scores, if it is known.
    pub(crate) scored_by: Option<&'a str>,
    /// Difficulties that tell whom to leave out, none of them NaN, if they are not the scores.
    pub(crate) cut: Option<&'a [f64]>,
    /// The probability of each label, averaged over epochs of the proxy's training, none of them NaN.
    pub(crate) probabilities: Option<&'a [f32]>,
    /// The proxy's logits, \[n, C\], finite.
    pub(crate) logits: Option<Matrix<'a>>,
    /// The proxy's embeddings, \[n, d\], finite.
    pub(crate) embeddings: Option<Matrix<'a>>,
    /// The loss of each sample after each epoch of the proxy's training, \[n, epochs\], finite.
    pub(crate) losses: Option<Matrix<'a>>,
    /// The neighbours of every sample, if they were found before.
    pub(crate) graph: Option<&'a KnnGraph>,
    /// What the selection is aimed at.
    pub(crate) query: Option<Query<'a>>,
    /// A column of counts, such as tokens.
    pub(crate) counts: Option<&'a [u64]>,
    /// The samples of a subset that is to be like, ascending; at least one.
    pub(crate) like: Option<&'a [SampleId]>,
    /// What the logits say of the labels, once it was asked for.
    pub(crate) label_issues: OnceLock<LabelIssues>,
}

impl TrainingSet<'_> {
    /// Returns what confident learning says of the labels by the proxy's logits: estimated once, however
    /// many groups ask.
    pub(crate) fn label_issues(&self) -> &LabelIssues {
        self.label_issues.get_or_init(|| {
            let logits = self.logits.as_ref().expect("the method reads logits");
            label_issues(&probabilities(logits), self.labels, logits.cols())
        })
    }
}

/// Learns how far a selection is, and may stop it.
pub(crate) trait Watch: Sync {
    /// Called before pick `done` of `total`.
    ///
    /// # Errors
    ///
    /// Fails once the run is being stopped.
    fn step(&self, done: usize, total: usize) -> Result<(), StageError>;
}

/// The samples to pick from: the whole training set, or a class of it.
pub(crate) struct Group<'a> {
    /// The whole training set.
    pub(crate) ground: &'a TrainingSet<'a>,
    /// Its samples, ascending.
    pub(crate) members: &'a [SampleId],
    /// The class, or 0 for the whole.
    pub(crate) index: u64,
    /// The random streams the method declared.
    pub(crate) streams: Streams,
    /// Progress, and cancellation.
    pub(crate) watch: &'a dyn Watch,
    /// Where products of many samples are computed, and how much memory they may take.
    pub(crate) compute: &'a Compute,
}

impl Group<'_> {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns the sample at `place`.
    pub(crate) fn sample(&self, place: InGroup) -> SampleId {
        self.members[place.index()]
    }

    /// Returns the place of `sample`, if it is a member.
    pub(crate) fn place(&self, sample: SampleId) -> Option<InGroup> {
        self.members.binary_search(&sample).ok().map(InGroup::at)
    }

    /// Returns the labels of the members.
    pub(crate) fn labels(&self) -> Vec<ClassId> {
        self.members.iter().map(|sample| self.ground.labels[sample.index()]).collect()
    }

    /// Returns the scores of the members.
    pub(crate) fn scores(&self) -> Vec<f64> {
        self.of_members(self.ground.scores.expect("the method reads scores"))
    }

    /// Returns the difficulties by which members are left out, if there are such.
    pub(crate) fn cut(&self) -> Option<Vec<f64>> {
        self.ground.cut.map(|cut| self.of_members(cut))
    }

    /// Returns the mean probability of each member's label in training.
    pub(crate) fn probabilities(&self) -> Vec<f32> {
        self.of_members(self.ground.probabilities.expect("the method reads the record"))
    }

    fn of_members<T: Copy>(&self, values: &[T]) -> Vec<T> {
        self.members.iter().map(|sample| values[sample.index()]).collect()
    }

    /// Returns the logits of the members, \[members, C\].
    pub(crate) fn logits(&self) -> Matrix<'_> {
        self.ground.logits.as_ref().expect("the method reads logits").gather(self.members)
    }

    /// Returns the embeddings of the members, \[members, d\].
    pub(crate) fn embeddings(&self) -> Matrix<'_> {
        self.ground.embeddings.as_ref().expect("the method reads embeddings").gather(self.members)
    }

    /// Returns the `count` nearest others of each member among the members, nearest first: those of the graph of
    /// neighbours, where there is one, or else of `vectors`, the members' rows, by Euclidean distance. `step` is
    /// told how many rows of how many are done.
    ///
    /// # Errors
    ///
    /// Fails if the graph has fewer neighbours, or as `step` does.
    pub(crate) fn neighbours(
        &self,
        vectors: &Matrix<'_>,
        count: usize,
        step: impl Fn(usize, usize) -> Result<(), StageError>,
    ) -> Result<Vec<Vec<u32>>, StageError> {
        let Some(graph) = self.ground.graph else {
            return neighbours(vectors, count, self.compute, step);
        };
        check_count(graph, count)?;
        let mut found = self.graph_neighbours().expect("there is a graph");
        found.iter_mut().for_each(|row| row.truncate(count));
        Ok(found)
    }

    /// Returns the members among the neighbours that the graph gives each member, nearest first; `None` if there
    /// is no graph.
    pub(crate) fn graph_neighbours(&self) -> Option<Vec<Vec<u32>>> {
        let graph = self.ground.graph?;
        let whole = self.len() == self.ground.labels.len();
        let place = |other: &u32| {
            let inside = || self.place(SampleId::from(*other)).map(u32::from);
            if whole { Some(*other) } else { inside() }
        };
        let row = |member: &SampleId| graph.neighbours(*member).iter().filter_map(place).collect();
        Some(self.members.iter().map(row).collect())
    }

    /// Returns the losses of the members after each epoch, \[members, epochs\].
    pub(crate) fn losses(&self) -> Matrix<'_> {
        self.ground.losses.as_ref().expect("the method reads losses").gather(self.members)
    }

    /// Returns the count of each member.
    pub(crate) fn counts(&self) -> Vec<u64> {
        self.of_members(self.ground.counts.expect("the method reads counts"))
    }

    /// Returns the counts of the members of the subset that is to be like, or of all of it if the group has none of them.
    pub(crate) fn like_counts(&self) -> Vec<u64> {
        let (counts, like) = (self.ground.counts, self.ground.like);
        let counts = counts.expect("the method reads counts");
        let like = like.expect("the method reads a subset to be like");
        let count = |sample: &SampleId| counts[sample.index()];
        let inside = like.iter().filter(|sample| self.place(**sample).is_some());
        let found: Vec<u64> = inside.map(count).collect();
        if found.is_empty() { like.iter().map(count).collect() } else { found }
    }

    /// Returns what the selection is aimed at.
    pub(crate) fn query(&self) -> &Query<'_> {
        self.ground.query.as_ref().expect("the method reads a query")
    }

    /// Returns the embeddings of the members with a 1 before each, \[members, 1 + d\]: what the last
    /// layer, bias included, is a linear function of.
    pub(crate) fn inputs_of_last_layer(&self) -> Matrix<'static> {
        let embeddings = self.ground.embeddings.as_ref().expect("the method reads embeddings");
        let cols = embeddings.cols() + 1;
        let mut data = Vec::with_capacity(self.members.len() * cols);
        for sample in self.members {
            data.push(1.0);
            data.extend_from_slice(embeddings.row(sample.index()));
        }
        Matrix::new(data, self.members.len(), cols)
    }

    /// Returns the gradient of each member's loss in its logits, \[members, C\].
    pub(crate) fn residuals(&self) -> Matrix<'static> {
        residuals(&self.logits(), &self.labels())
    }
}

#[cfg(test)]
static HOST: std::sync::LazyLock<Compute> = std::sync::LazyLock::new(Compute::default);

/// Progress that nobody looks at, and no cancellation: for the laws and the tests.
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn step(&self, _: usize, _: usize) -> Result<(), StageError> {
        Ok(())
    }
}

#[cfg(test)]
impl<'a> Group<'a> {
    /// Returns a group on the CPU that nobody looks at.
    pub(crate) fn unwatched(
        ground: &'a TrainingSet<'a>,
        members: &'a [SampleId],
        index: u64,
        streams: Streams,
    ) -> Self {
        Self { ground, members, index, streams, watch: &Unwatched, compute: &HOST }
    }
}
