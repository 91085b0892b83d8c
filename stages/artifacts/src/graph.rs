//! The `graph` artifact: the nearest neighbours of every training sample (a kNN graph).

use crate::{
    ArtifactError, SampleId, dataset,
    parts::{self, PartError, Parts, StoredTensor},
    record::LabelledSamples,
};
use engine::{StageCtx, StageError};
use safetensors::Dtype;
use serde_json::Value;

/// The nearest others of every sample, nearest first, as many of each or fewer.
#[derive(Clone, Debug, PartialEq)]
pub struct KnnGraph {
    count: usize,
    /// \[n, count\]; a row with fewer neighbours ends in [`NOBODY`].
    neighbours: Vec<u32>,
    /// The Euclidean distances to them, \[n, count\].
    distances: Vec<f32>,
}

/// Fills a row that has fewer neighbours, -1 on disk; its distance is infinite.
const NOBODY: u32 = u32::MAX;

fn on_disk(neighbour: u32) -> [u8; 8] {
    let word = if neighbour == NOBODY { -1 } else { i64::from(neighbour) };
    word.to_le_bytes()
}

impl KnnGraph {
    /// Returns the graph in which row i has these neighbours, nearest first, each with its distance.
    ///
    /// # Panics
    ///
    /// Panics if a row has more than `count`.
    #[must_use]
    pub fn new(count: usize, rows: impl IntoIterator<Item = Vec<(u32, f32)>>) -> Self {
        let (mut neighbours, mut distances) = (vec![], vec![]);
        for row in rows {
            assert!(row.len() <= count, "a row has no more neighbours than the graph");
            let end = neighbours.len() + count;
            neighbours.extend(row.iter().map(|(other, _)| *other));
            distances.extend(row.iter().map(|(_, distance)| *distance));
            neighbours.resize(end, NOBODY);
            distances.resize(end, f32::INFINITY);
        }
        Self { count, neighbours, distances }
    }

    /// Returns how many neighbours a sample has at most.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns how many samples it is of.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.neighbours.len().checked_div(self.count).unwrap_or(0)
    }

    /// Returns the neighbours of `sample`, nearest first.
    ///
    /// # Panics
    ///
    /// Panics if there is no such sample.
    #[must_use]
    pub fn neighbours(&self, sample: SampleId) -> &[u32] {
        let from = sample.index() * self.count;
        let row = &self.neighbours[from..from + self.count];
        &row[..row.partition_point(|other| *other != NOBODY)]
    }

    /// Returns how many of the neighbours of `samples`, of which these are the true ones, it has: a share of all.
    #[must_use]
    pub fn recall(&self, samples: &[SampleId], truth: &[Vec<u32>]) -> f64 {
        let found = samples.iter().zip(truth).map(|(sample, truth)| {
            let row = self.neighbours(*sample);
            truth.iter().filter(|other| row.contains(other)).count()
        });
        let all: usize = truth.iter().map(Vec::len).sum();
        if all == 0 { 1.0 } else { found.sum::<usize>() as f64 / all as f64 }
    }

    /// Stores it beside what it shares with the data that `samples` are of; `facts` go into its summary.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn put(
        &self,
        ctx: &StageCtx<'_>,
        samples: LabelledSamples,
        facts: &Value,
    ) -> Result<Parts, StageError> {
        let shape = [self.samples(), self.count];
        let tensors = [
            StoredTensor {
                name: "neighbours",
                dtype: Dtype::I64,
                shape: shape.to_vec(),
                bytes: self.neighbours.iter().flat_map(|one| on_disk(*one)).collect(),
            },
            StoredTensor::f32("distances", &shape, &self.distances),
        ];
        let mut meta = facts.clone();
        meta["n"] = samples.labels.len().into();
        meta["classes"] = samples.classes.into();
        let mut all = samples.shared;
        all.insert("graph".to_owned(), parts::put_tensors(ctx, &tensors)?);
        all.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
        Ok(all)
    }

    /// Reads the graph on `port`, or `None` if nothing is connected there: that of `n` samples.
    ///
    /// # Errors
    ///
    /// Fails if it is of other samples, or does not read.
    pub fn read(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Option<Self>, StageError> {
        if ctx.input(port).is_none() {
            return Ok(None);
        }
        let input = dataset::input(ctx, port)?;
        let part = parts::part(ctx, port, input, "graph")?;
        let (shape, distances) = part.f32("distances")?;
        let neighbours = part.i64s("neighbours")?;
        let [samples, count] = shape[..] else {
            return Err(part.wrong(PartError::NotAMatrix("distances".to_owned())));
        };
        let position = |word: &i64| match u32::try_from(*word) {
            Ok(other) => ((other as usize) < samples).then_some(other),
            Err(_) => (*word == -1).then_some(NOBODY),
        };
        let neighbours: Option<Vec<u32>> = neighbours.iter().map(position).collect();
        let neighbours = neighbours.filter(|all| all.len() == distances.len());
        let unfit = || part.wrong(PartError::Unfit("neighbours"));
        let neighbours = neighbours.ok_or_else(unfit)?;
        if samples != n {
            let what = "rows of the graph";
            return Err(ArtifactError::NotOneEach { what, found: samples, n }.into());
        }
        Ok(Some(Self { count, neighbours, distances }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_be_short_and_recall_counts_what_is_found() {
        let graph =
            KnnGraph::new(2, [vec![(1, 0.5), (2, 1.0)], vec![(0, 0.5)], vec![], vec![(2, 0.1)]]);
        assert_eq!((graph.samples(), graph.count()), (4, 2));
        let row = |at: u32| graph.neighbours(SampleId::from(at));
        assert_eq!((row(0), row(1), row(2)), (&[1, 2][..], &[0][..], &[][..]));
        let samples = [SampleId::from(0), SampleId::from(3)];
        assert_eq!(graph.recall(&samples, &[vec![2, 3], vec![0, 2]]), 0.5);
    }
}
