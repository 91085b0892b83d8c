//! A proxy in memory, for tests.

use super::TrainedProxy;
use artifacts::{ClassId, Matrix, SampleId, record::EpochRow};
use engine::StageError;

/// What a proxy left behind, given directly.
pub(crate) struct InMemory {
    pub(crate) labels: Vec<ClassId>,
    pub(crate) classes: usize,
    pub(crate) logits: Vec<f32>,
    pub(crate) embeddings: Vec<f32>,
    pub(crate) epochs: Vec<Vec<EpochRow>>,
    pub(crate) epoch_logits: Vec<Vec<f32>>,
    pub(crate) held_out: Vec<SampleId>,
    pub(crate) known: Vec<f32>,
    pub(crate) query: Vec<SampleId>,
}

impl InMemory {
    /// A proxy that recorded `epochs`, each the logits of every sample.
    pub(crate) fn recorded(labels: &[u32], classes: usize, epochs: &[Vec<f32>]) -> Self {
        let labels = ClassId::list(labels.to_vec());
        let rows = |logits: &Vec<f32>| {
            let each = logits.chunks_exact(classes).zip(&labels);
            each.map(|(logits, label)| EpochRow::of(logits, *label)).collect()
        };
        let logits = epochs.last().cloned().unwrap_or_default();
        Self {
            epochs: epochs.iter().map(rows).collect(),
            labels,
            classes,
            logits,
            embeddings: vec![],
            epoch_logits: epochs.to_vec(),
            held_out: vec![],
            known: vec![],
            query: vec![],
        }
    }

    /// The same proxy, trained without these samples.
    pub(crate) fn holding_out(self, samples: &[u32]) -> Self {
        Self { held_out: samples.iter().copied().map(SampleId::from).collect(), ..self }
    }

    /// The same proxy, with these scores beside it.
    pub(crate) fn knowing(self, scores: &[f32]) -> Self {
        Self { known: scores.to_vec(), ..self }
    }

    /// The same proxy, with these samples for a query.
    pub(crate) fn asking(self, samples: &[u32]) -> Self {
        Self { query: samples.iter().copied().map(SampleId::from).collect(), ..self }
    }

    /// A proxy that left `embeddings`, those of one sample after those of the other.
    pub(crate) fn embedded(labels: &[u32], classes: usize, embeddings: &[f32]) -> Self {
        Self { embeddings: embeddings.to_vec(), ..Self::recorded(labels, classes, &[]) }
    }
}

impl TrainedProxy for InMemory {
    fn port(&self) -> &str {
        "proxy"
    }
    fn labels(&self) -> &[ClassId] {
        &self.labels
    }
    fn classes(&self) -> usize {
        self.classes
    }
    fn logits(&self) -> Result<Matrix<'_>, StageError> {
        Ok(Matrix::new(&self.logits, self.labels.len(), self.classes))
    }
    fn embeddings(&self) -> Result<Matrix<'_>, StageError> {
        let n = self.labels.len();
        Ok(Matrix::new(&self.embeddings, n, self.embeddings.len() / n))
    }
    fn neighbours(&self, count: usize) -> Result<Vec<Vec<u32>>, StageError> {
        super::euclidean_neighbours(self, count)
    }
    fn epochs(&self) -> usize {
        self.epochs.len()
    }
    fn rows(&self, epoch: usize) -> Result<Vec<EpochRow>, StageError> {
        Ok(self.epochs[epoch - 1].clone())
    }
    fn held_out(&self) -> Result<Vec<bool>, StageError> {
        let held = |one: SampleId| self.held_out.binary_search(&one).is_ok();
        Ok(SampleId::all(self.labels.len()).map(held).collect())
    }
    fn scores(&self) -> Result<Vec<f32>, StageError> {
        Ok(self.known.clone())
    }
    fn query(&self) -> Result<Vec<SampleId>, StageError> {
        Ok(self.query.clone())
    }
    fn check_cancelled(&self) -> Result<(), StageError> {
        Ok(())
    }
    fn epoch_logits(&self, epoch: usize) -> Result<Matrix<'_>, StageError> {
        Ok(Matrix::new(&self.epoch_logits[epoch - 1][..], self.labels.len(), self.classes))
    }
}
