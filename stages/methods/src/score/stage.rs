//! The stage around every scoring method: what it reads, repeats, and what it writes.

use super::{ScoreInput, Scorer, TrainedProxy, euclidean_neighbours};
use crate::{MethodError, graph::check_count};
use artifacts::{
    ClassId, Matrix, SampleId, dataset,
    graph::KnnGraph,
    parts::{self, PartError, Parts},
    record::{self, EpochRow, LabelledSamples},
    scores::{self, Scores},
    subset::Subset,
};
use cache::Artifact;
use engine::{ArtifactKind, Method, Port, Problem, Stage, StageCtx, StageError, StageProgress};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{ops::RangeInclusive, sync::OnceLock};

/// What every score is told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case", bound = "S: Scorer")]
#[schemars(rename = "{S}", bound = "S: Scorer")]
pub(super) struct Score<S> {
    /// The method's own settings.
    rule: S,
}

/// Returns the registry entry of `S`.
pub(super) fn method<S: Scorer>() -> Method {
    Method {
        name: S::NAME,
        summary: S::SUMMARY,
        manual: S::MANUAL,
        parse: |with| Ok(Box::new(with.read::<Score<S>>()?)),
        schema: || schemars::schema_for!(Score<S>),
    }
}

impl<S: Scorer> Stage for Score<S> {
    fn method(&self) -> &'static str {
        S::NAME
    }

    fn revision(&self) -> u32 {
        S::REVISION
    }

    fn settings(&self) -> Value {
        serde_json::json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        match S::READS {
            ScoreInput::Labels => {
                vec![Port::one_of("data", parts::DATA), Port::one_of("proxy", parts::PROXY)]
            }
            ScoreInput::Proxy => vec![Port::many("proxy", parts::PROXY)],
            ScoreInput::ProxyAndScores => {
                vec![Port::one("proxy", parts::PROXY), Port::one("scores", parts::SCORES)]
            }
            ScoreInput::ProxyAndQuery => {
                vec![Port::one("proxy", parts::PROXY), Port::one("query", parts::SUBSET)]
            }
            ScoreInput::Embeddings => {
                vec![Port::many_of("proxy", parts::PROXY), Port::one_of("data", parts::DATA)]
            }
            ScoreInput::Neighbours => vec![
                Port::many_of("proxy", parts::PROXY),
                Port::one_of("data", parts::DATA),
                Port::optional("graph", parts::GRAPH),
            ],
        }
    }

    fn output(&self) -> ArtifactKind {
        parts::SCORES
    }

    fn streams(&self) -> &'static [&'static str] {
        S::STREAMS
    }

    fn problems(&self) -> Vec<Problem> {
        let inside = |problem: Problem| Problem {
            setting: format!("rule.{}", problem.setting).trim_end_matches('.').to_owned(),
            ..problem
        };
        self.rule.problems().into_iter().map(inside).collect()
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let port = ["proxy", "data"].into_iter().find(|port| ctx.input(port).is_some());
        let port = port.ok_or(MethodError::NoInput)?;
        let mut repeats = ProxyScores::new(ctx, port)?;
        let all = ctx.inputs(port);
        for (at, artifact) in all.iter().enumerate() {
            ctx.check_cancelled()?;
            repeats.check(at, artifact)?;
            let stored = Stored {
                ctx,
                port,
                artifact,
                labels: &repeats.labels,
                classes: repeats.classes,
                logits: Default::default(),
                embeddings: Default::default(),
            };
            let values = self.rule.score(&stored, ctx.streams())?;
            repeats.add(values);
            ctx.progress(StageProgress::new(at as u64 + 1, all.len() as u64, port));
        }
        repeats.publish(S::NAME)
    }
}

/// The values that one proxy after the other gives, and what they share.
pub struct ProxyScores<'a> {
    ctx: &'a StageCtx<'a>,
    port: &'a str,
    shared: Parts,
    labels: Vec<ClassId>,
    classes: usize,
    total: Totals,
}

impl<'a> ProxyScores<'a> {
    /// ScoreInput the labels of what came in on `port`: proxies, or a data set standing in for one.
    ///
    /// # Errors
    ///
    /// Fails if nothing came in, or a label is no class.
    pub fn new(ctx: &'a StageCtx<'a>, port: &'a str) -> Result<Self, StageError> {
        let first = ctx.inputs(port).first();
        let first = first.ok_or(MethodError::NoInput)?;
        let samples = LabelledSamples::of(ctx, port, first)?;
        let LabelledSamples { labels, classes, shared, .. } = samples;
        Ok(Self { ctx, port, shared, labels, classes, total: Totals::default() })
    }

    /// Returns how many training samples there are.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }

    /// Checks that repeat `at`, counted from 0, was trained on the labels of the first.
    ///
    /// # Errors
    ///
    /// Fails if it was not.
    pub fn check(&self, at: usize, artifact: &Artifact) -> Result<(), StageError> {
        if scores::labels_blob(self.port, artifact)? == self.shared["labels"] {
            return Ok(());
        }
        let all = self.ctx.inputs(self.port).len();
        Err(MethodError::OtherLabels { repeat: at + 1, all }.into())
    }

    /// Adds the values of one repeat.
    pub fn add(&mut self, values: Scores) {
        self.total.add(values);
    }

    /// Writes the means over the repeats as what `name` found.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn publish(self, name: &str) -> Result<Parts, StageError> {
        let ctx = self.ctx;
        let values = self.total.mean();
        let missing = values.scores.iter().filter(|score| score.is_nan()).count();
        if missing > 0 {
            ctx.log(format!("{missing} samples have no score: no epoch saw them"));
        }
        let far = values.scores.iter().filter(|score| score.is_infinite()).count();
        if far > 0 {
            ctx.log(format!("{far} samples have an infinite score"));
        }
        scores::put(ctx, name, &values, self.shared, self.classes)
    }
}

/// The sums of values over repeats.
#[derive(Default)]
struct Totals {
    scores: Vec<f64>,
    published: Option<Vec<f64>>,
    repeats: usize,
}

impl Totals {
    fn add(&mut self, values: Scores) {
        let add = |sums: &mut Vec<f64>, values: &[f32]| {
            sums.resize(values.len(), 0.0);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += f64::from(*value);
            }
        };
        add(&mut self.scores, &values.scores);
        if let Some(published) = &values.published {
            add(self.published.get_or_insert_default(), published);
        }
        self.repeats += 1;
    }

    fn mean(self) -> Scores {
        let repeats = self.repeats as f64;
        let mean = |sums: Vec<f64>| sums.iter().map(|sum| (sum / repeats) as f32).collect();
        Scores { scores: mean(self.scores), published: self.published.map(mean), exact: None }
    }
}

/// A proxy, or a data set standing in for one, in the store.
struct Stored<'a> {
    ctx: &'a StageCtx<'a>,
    port: &'a str,
    artifact: &'a Artifact,
    labels: &'a [ClassId],
    classes: usize,
    logits: OnceLock<Matrix<'static>>,
    embeddings: OnceLock<Matrix<'static>>,
}

impl Stored<'_> {
    fn output<'b>(
        &self,
        cell: &'b OnceLock<Matrix<'static>>,
        name: &str,
    ) -> Result<Matrix<'b>, StageError> {
        if cell.get().is_none() {
            let read = match self.port {
                "data" => dataset::train_features(self.ctx, self.port, self.artifact)?,
                _ => record::outputs(self.ctx, self.port, self.artifact, name)?,
            };
            if read.rows() != self.labels.len() {
                let (port, output) = (self.port.to_owned(), name.to_owned());
                let (found, n) = (read.rows(), self.labels.len());
                return Err(MethodError::OutputSamples { port, output, found, n }.into());
            }
            // Another thread may have been faster; both read the same bytes.
            let _ = cell.set(read);
        }
        Ok(cell.get().expect("it was set above").view())
    }
}

impl TrainedProxy for Stored<'_> {
    fn port(&self) -> &str {
        self.port
    }

    fn labels(&self) -> &[ClassId] {
        self.labels
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn logits(&self) -> Result<Matrix<'_>, StageError> {
        self.output(&self.logits, "logits")
    }

    fn embeddings(&self) -> Result<Matrix<'_>, StageError> {
        self.output(&self.embeddings, "embeddings")
    }

    fn neighbours(&self, count: usize) -> Result<Vec<Vec<u32>>, StageError> {
        let n = self.labels.len();
        let Some(graph) = KnnGraph::read(self.ctx, "graph", n)? else {
            return euclidean_neighbours(self, count);
        };
        let proxies = self.ctx.inputs(self.port).len();
        if proxies > 1 {
            return Err(MethodError::OneGraph { proxies }.into());
        }
        check_count(&graph, count)?;
        let row = |sample| {
            let near = graph.neighbours(sample);
            near[..count.min(near.len())].to_vec()
        };
        Ok(SampleId::all(n).map(row).collect())
    }

    fn epochs(&self) -> usize {
        record::epochs(self.artifact)
    }

    fn rows(&self, epoch: usize) -> Result<Vec<EpochRow>, StageError> {
        self.ctx.check_cancelled()?;
        record::epoch(self.ctx, self.port, self.artifact, epoch, self.labels)
    }

    fn fetch_ahead(&self, epochs: RangeInclusive<usize>) {
        record::fetch_ahead(self.ctx, self.artifact, epochs);
    }

    fn held_out(&self) -> Result<Vec<bool>, StageError> {
        let n = self.labels.len();
        if !self.artifact.parts.contains_key("subset") {
            return Ok(vec![false; n]);
        }
        Ok(Subset::of(self.ctx, self.port, self.artifact, n)?.leaves_out(n))
    }

    fn scores(&self) -> Result<Vec<f32>, StageError> {
        let scores = scores::read_some(self.ctx, "scores", self.labels.len())?;
        Ok(scores.into_iter().map(|score| score as f32).collect())
    }

    fn query(&self) -> Result<Vec<SampleId>, StageError> {
        let artifact = dataset::input(self.ctx, "query")?;
        let query = Subset::of(self.ctx, "query", artifact, self.labels.len())?;
        if query.is_empty() {
            Err(MethodError::EmptyQuery.into())
        } else {
            Ok(query.samples().to_vec())
        }
    }

    fn check_cancelled(&self) -> Result<(), StageError> {
        self.ctx.check_cancelled()
    }

    fn epoch_logits(&self, epoch: usize) -> Result<Matrix<'_>, StageError> {
        self.ctx.check_cancelled()?;
        let name = record::part_name(epoch);
        let part = parts::part(self.ctx, self.port, self.artifact, &name)?;
        if !part.tensors()?.names().contains(&"logits") {
            return Err(MethodError::NoRecordedLogits { epoch }.into());
        }
        let (shape, logits) = part.f32("logits")?;
        match shape[..] {
            [n, classes] if n == self.labels.len() => Ok(Matrix::new(logits, n, classes)),
            _ => Err(part.wrong(PartError::NotAMatrix("logits".to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_averaged_and_a_missing_value_stays_missing() {
        let mut total = Totals::default();
        total.add(Scores::harder_when_low(vec![1.0, f32::NAN]));
        total.add(Scores::harder_when_low(vec![2.0, 5.0]));
        let mean = total.mean();
        assert_eq!(mean.scores[0], -1.5);
        assert_eq!(mean.published.as_deref().map(|p| p[0]), Some(1.5));
        assert!(mean.scores[1].is_nan());
    }
}
