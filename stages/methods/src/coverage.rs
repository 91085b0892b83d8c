//! `evaluate.coverage`: how near the kept samples are to all.

use crate::{linalg::nearest_among, select::outputs};
use artifacts::{
    ClassId, Matrix, SampleId,
    parts::{self, DATA, METRICS, PROXY, Parts, SUBSET},
    record::LabelledSamples,
    subset::Subset,
};
use engine::{ArtifactKind, Method, Port, Stage, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What `evaluate.coverage` takes: nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct EvaluateCoverage {}

const MANUAL: &str = "\
Measures how well a subset covers the training set it is of, in the Euclidean distances of a proxy's
embeddings, or of a data set's features. It trains nothing and says nothing of accuracy: at a budget of a tenth, coresets that cover well
are often above random, and subsets of the hardest samples cover badly.

- `mean_distance`: the mean over all samples of the distance to the nearest kept one, which k-medoids and
  facility location bring down.
- `radius`: the largest of these distances, the radius of k-center (Sener and Savarese, 2018).
- `same_class_distance`: the mean distance to the nearest kept sample of the same label, over the samples
  whose class has any; `uncovered` is the share of the samples whose class has none.
- `kept`, `samples`: how many samples were kept, of how many.

A subset of no sample covers nothing, and only its size is told. Cost: O(n k d) in tiles.";

/// Returns the registry entry.
pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: "evaluate.coverage",
        summary: "measures how near the kept samples are to all, in a proxy's embeddings",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<EvaluateCoverage>()?)),
        schema: || schemars::schema_for!(EvaluateCoverage),
    }]
}

/// How well some samples cover all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
struct CoverageFigures {
    mean_distance: f64,
    radius: f64,
    /// `None` where no sample has a kept one of its label.
    same_class_distance: Option<f64>,
    uncovered: f64,
}

impl CoverageFigures {
    /// Returns how well `kept`, at least one of them, cover the samples with these embeddings.
    fn of(
        embeddings: &Matrix<'_>,
        labels: &[ClassId],
        kept: &[SampleId],
        step: impl Fn() -> Result<(), StageError> + Sync,
    ) -> Result<Self, StageError> {
        let nearest = |from: &Matrix<'_>, to: &[SampleId]| -> Result<Vec<f64>, StageError> {
            let near = nearest_among(from, &embeddings.gather(to), 1, &step)?;
            Ok(near.iter().flatten().map(|(_, squared)| f64::from(*squared).sqrt()).collect())
        };
        let all = nearest(embeddings, kept)?;
        let classes = labels.iter().max().map_or(0, |largest| largest.index() + 1);
        let (mut sum, mut covered) = (0.0, 0);
        for class in ClassId::all(classes) {
            let of_class = |sample: &SampleId| labels[sample.index()] == class;
            let members: Vec<SampleId> = SampleId::all(labels.len()).filter(of_class).collect();
            let kept: Vec<SampleId> = kept.iter().copied().filter(of_class).collect();
            if !kept.is_empty() {
                sum += nearest(&embeddings.gather(&members), &kept)?.iter().sum::<f64>();
                covered += members.len();
            }
        }
        let n = labels.len() as f64;
        Ok(Self {
            mean_distance: all.iter().sum::<f64>() / n,
            radius: all.iter().copied().fold(0.0, f64::max),
            same_class_distance: (covered > 0).then(|| sum / covered as f64),
            uncovered: 1.0 - covered as f64 / n,
        })
    }
}

impl Stage for EvaluateCoverage {
    fn method(&self) -> &'static str {
        "evaluate.coverage"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("subset", SUBSET), Port::one_of("proxy", PROXY), Port::one_of("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        METRICS
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let labels = LabelledSamples::read(ctx, &["proxy", "data"])?.labels;
        let n = labels.len();
        let embeddings = outputs(ctx, "embeddings", n)?;
        let kept = Subset::read(ctx, n)?;
        let mut metrics = json!({ "kept": kept.len(), "samples": n });
        if !kept.is_empty() {
            let step = || ctx.check_cancelled();
            let found = CoverageFigures::of(&embeddings, &labels, kept.samples(), step)?;
            metrics["mean_distance"] = found.mean_distance.into();
            metrics["radius"] = found.radius.into();
            metrics["uncovered"] = found.uncovered.into();
            if let Some(distance) = found.same_class_distance {
                metrics["same_class_distance"] = distance.into();
            }
        }
        Ok(Parts::from([("metrics".to_owned(), parts::put_json(ctx, &metrics)?)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_worked_by_hand() {
        // On a line, kept are 0 and 4: the distances of 0 1 4 9 are 0 1 0 5.
        let line = Matrix::new(vec![0.0, 1.0, 4.0, 9.0], 4, 1);
        let kept = [SampleId::from(0), SampleId::from(2)];
        let of = |labels: [u32; 4]| {
            let labels = ClassId::list(labels);
            CoverageFigures::of(&line, &labels, &kept, || Ok(())).expect("nobody stops it")
        };
        let found = of([0, 1, 1, 1]);
        // In class 1 only 4 is kept: 1 is at 3.
        let wanted = CoverageFigures {
            mean_distance: 1.5,
            radius: 5.0,
            same_class_distance: Some(2.0),
            uncovered: 0.0,
        };
        assert_eq!(found, wanted);
        let found = of([0, 1, 1, 2]);
        assert_eq!((found.same_class_distance, found.uncovered), (Some(1.0), 0.25));
    }
}
