//! `evaluate.scores`: how well a score finds the samples that were corrupted.

use crate::MethodError;
use artifacts::{
    ClassId,
    dataset::{self, DatasetMeta, Origin},
    parts::{self, DATA, METRICS, Parts, SCORES},
    scores,
};
use engine::{ArtifactKind, Method, Port, Stage, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a score is to find.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct EvaluateScores {
    /// The samples that are to be found.
    #[serde(skip_serializing_if = "Sought::is_usual")]
    of: Sought,
}

/// The samples a score is to find.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Sought {
    /// Those whose label is not the clean one.
    #[default]
    WrongLabels,
    /// Those of another data set.
    Foreign,
    /// Copies of other samples.
    Duplicates,
    /// Those whose image was changed.
    Changed,
}

const MANUAL: &str = "\
Takes a score for a detector of corrupted samples: the hardest are called wrong. `data` is the corrupted data
set the score was made on, whose truth only an evaluation sees. By default a sample is wrong where its label
is not the clean one; with `of`, where it is `foreign` (`corrupt.outliers`), one of the `duplicates`
(`corrupt.duplicates`, the copies and not their originals) or `changed` (`corrupt.images`).

- `auroc`: the area under the ROC curve, the probability that a wrong sample scores above a right one, ties
  counting half (Hanley and McNeil, 1982). 0.5 is chance, below it the wrong ones are called easy.
- `average_precision`: the mean over the wrong samples of the precision at their rank, ties taken at once.
- `precision`: the share of wrong samples among as many of the hardest as are wrong; of equals the earlier.
- `wrong`, `samples`: how many are wrong, of how many. Where none or all are, there is nothing else to
  measure.

Cost: O(n log n).";

/// Returns the registry entry.
pub(crate) fn methods() -> Vec<Method> {
    vec![Method {
        name: "evaluate.scores",
        summary: "measures how well a score finds the samples that were corrupted",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<EvaluateScores>()?)),
        schema: || schemars::schema_for!(EvaluateScores),
    }]
}

/// How well scores, higher for harder, find the samples that are wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Detection {
    auroc: f64,
    average_precision: f64,
    precision: f64,
}

impl Detection {
    /// Returns what `scores`, none of them NaN, are worth; `None` where no sample is wrong, or each.
    fn of(scores: &[f64], wrong: &[bool]) -> Option<Self> {
        let all = wrong.iter().filter(|wrong| **wrong).count();
        if all == 0 || all == wrong.len() {
            return None;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        // Negative zero is zero, as it is to the selectors.
        let key = |at: usize| scores[at] + 0.0;
        order.sort_by(|a, b| key(*b).total_cmp(&key(*a)).then(a.cmp(b)));
        let hits = order[..all].iter().filter(|at| wrong[**at]).count();
        let (mut seen, mut found) = (0, 0);
        let (mut above, mut precisions) = (0.0, 0.0);
        for ties in order.chunk_by(|a, b| key(*a) == key(*b)) {
            let bad = ties.iter().filter(|at| wrong[**at]).count();
            let good = ties.len() - bad;
            // Each right sample is below the wrong ones before it, and level with those beside it.
            above += good as f64 * (found as f64 + bad as f64 / 2.0);
            seen += ties.len();
            found += bad;
            precisions += bad as f64 * found as f64 / seen as f64;
        }
        Some(Self {
            auroc: above / (all as f64 * (wrong.len() - all) as f64),
            average_precision: precisions / all as f64,
            precision: hits as f64 / all as f64,
        })
    }
}

impl Sought {
    /// Returns whether it is what a setting left out means: keys from before know no other.
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Returns of each training sample of the data set on port `data` whether it is sought.
    fn wrong(
        self,
        ctx: &StageCtx<'_>,
        meta: &DatasetMeta,
        labels: &[ClassId],
    ) -> Result<Vec<bool>, StageError> {
        let source = dataset::input(ctx, "data")?;
        let origin = match self {
            Self::WrongLabels => {
                let clean = dataset::clean(ctx, "data", source)?;
                let clean = clean.ok_or(MethodError::NoCleanLabels)?.labels;
                return Ok(labels
                    .iter()
                    .zip(&clean)
                    .map(|(label, clean)| label != clean)
                    .collect());
            }
            Self::Foreign => Origin::Foreign,
            Self::Duplicates => Origin::Duplicate,
            Self::Changed => Origin::Changed,
        };
        let known = dataset::origins(ctx, "data", source, meta)?;
        let kinds = known.ok_or(MethodError::NoOrigins)?.kinds;
        Ok(kinds.iter().map(|kind| *kind == origin).collect())
    }
}

impl Stage for EvaluateScores {
    fn method(&self) -> &'static str {
        "evaluate.scores"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("scores", SCORES), Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        METRICS
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let source = dataset::input(ctx, "data")?;
        let (meta, labels, _) = dataset::labels(ctx, "data", source)?;
        let wrong = self.of.wrong(ctx, &meta, &labels)?;
        let scores = scores::read(ctx, "scores", labels.len())?;
        let count = wrong.iter().filter(|wrong| **wrong).count();
        let mut metrics = json!({ "wrong": count, "samples": labels.len() });
        if let Some(found) = Detection::of(&scores, &wrong) {
            metrics["auroc"] = found.auroc.into();
            metrics["average_precision"] = found.average_precision.into();
            metrics["precision"] = found.precision.into();
        }
        Ok(Parts::from([("metrics".to_owned(), parts::put_json(ctx, &metrics)?)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detector_worked_by_hand() {
        // Ranked 4 3 3 1: wrong, right and wrong level, right.
        let found = Detection::of(&[3.0, 4.0, 1.0, 3.0], &[false, true, false, true]);
        // Pairs of wrong and right: 4>3, 4>1, 3>1, and 3=3 for a half, of four.
        let wanted = Detection {
            auroc: 3.5 / 4.0,
            average_precision: (1.0 + 2.0 / 3.0) / 2.0,
            precision: 0.5,
        };
        assert_eq!(found, Some(wanted));
        let turned = Detection::of(&[-3.0, -4.0, -1.0, -3.0], &[false, true, false, true]);
        assert_eq!(turned.map(|found| found.auroc), Some(0.5 / 4.0));
        assert_eq!(Detection::of(&[0.0, -0.0], &[true, false]).map(|found| found.auroc), Some(0.5));
        assert_eq!(Detection::of(&[1.0, 2.0], &[false, false]), None);
        assert_eq!(Detection::of(&[1.0, 2.0], &[true, true]), None);
    }

    #[test]
    fn what_is_sought_by_default_has_the_key_it_had() {
        assert_eq!(EvaluateScores::default().settings(), json!({}));
        let other: EvaluateScores =
            serde_json::from_str(r#"{"of": "duplicates"}"#).expect("the settings are read");
        assert_eq!(other.settings(), json!({ "of": "duplicates" }));
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let scores: Vec<f64> = (0..200_u32).map(|at| f64::from(at * 7919 % 23)).collect();
        let wrong: Vec<bool> = (0..200_u32).map(|at| at * 104_729 % 5 == 1).collect();
        let mut sum = 0.0;
        let mut pairs = 0.0;
        for (a, bad) in scores.iter().zip(&wrong).filter(|(_, wrong)| **wrong) {
            for (b, _) in scores.iter().zip(&wrong).filter(|(_, wrong)| *wrong != bad) {
                sum += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
                pairs += 1.0;
            }
        }
        let found = Detection::of(&scores, &wrong).expect("some are wrong");
        assert!((found.auroc - sum / pairs).abs() < 1e-12, "{found:?}");
    }
}
