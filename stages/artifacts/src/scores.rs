//! The `scores` artifact: one difficulty a training sample, larger is harder.

use crate::{
    ArtifactError, dataset,
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
};
use cache::{Artifact, Blob, Store};
use engine::{StageCtx, StageError};
use serde_json::Value;

/// The scores of all samples, in sample order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Difficulties: larger is harder. NaN where there is none.
    pub scores: Vec<f32>,
    /// The values as the method's paper gives them, if they run the other way.
    pub published: Option<Vec<f32>>,
    /// The difficulties as 64-bit floats (f64, double), if 32 bits make some equal that are not.
    pub exact: Option<Vec<f64>>,
}

impl Scores {
    /// Values of a method published as difficulties.
    pub fn harder_when_high(scores: Vec<f32>) -> Self {
        Self { scores, published: None, exact: None }
    }

    /// Values of a method published so that the lowest are the hardest.
    pub fn harder_when_low(published: Vec<f32>) -> Self {
        let scores = published.iter().map(|value| -value).collect();
        Self { scores, published: Some(published), exact: None }
    }

    /// Difficulties that another program made. They are kept as f64 if as f32 some would be equal that are not.
    pub fn of_doubles(values: Vec<f64>) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.dedup();
        let apart = sorted.windows(2).all(|pair| (pair[0] as f32) < (pair[1] as f32));
        let scores = values.iter().map(|value| *value as f32).collect();
        Self { scores, published: None, exact: (!apart).then_some(values) }
    }

    /// Takes them for values of which the lowest are the hardest.
    #[must_use]
    pub fn turned_round(self) -> Self {
        let exact = self.exact.map(|exact| exact.iter().map(|value| -value).collect());
        Self { exact, ..Self::harder_when_low(self.scores) }
    }
}

/// Stores the values that `name` gave samples of `classes`, whose labels and columns are `shared`.
pub fn put(
    ctx: &StageCtx<'_>,
    name: &str,
    values: &Scores,
    shared: Parts,
    classes: usize,
) -> Result<Parts, StageError> {
    let shape = [values.scores.len()];
    let mut tensors = vec![match &values.exact {
        None => StoredTensor::f32("scores", &shape, &values.scores),
        Some(exact) => StoredTensor::f64("scores", exact),
    }];
    tensors.extend(match (&values.published, &values.exact) {
        (None, _) => None,
        (Some(published), None) => Some(StoredTensor::f32("published", &shape, published)),
        (Some(_), Some(exact)) => {
            let published: Vec<f64> = exact.iter().map(|value| -value).collect();
            Some(StoredTensor::f64("published", &published))
        }
    });
    let meta = serde_json::json!({ "name": name, "n": shape[0], "classes": classes });
    let mut parts = shared;
    parts.insert("scores".to_owned(), parts::put_tensors(ctx, &tensors)?);
    parts.insert("meta".to_owned(), parts::put_json(ctx, &meta)?);
    Ok(parts)
}

/// Reads the scores on `port`: one for each of `n` samples.
///
/// # Errors
///
/// Fails if a sample has none, or there are not `n`.
pub fn read(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Vec<f64>, StageError> {
    let scores = read_some(ctx, port, n)?;
    match scores.iter().position(|score| score.is_nan()) {
        Some(sample) => Err(ArtifactError::NoScore { sample }.into()),
        None => Ok(scores),
    }
}

/// Reads the scores on port `port`: one for each of `n` samples, NaN where there is none.
///
/// # Errors
///
/// Fails if there are not `n`.
pub fn read_some(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Vec<f64>, StageError> {
    let input = dataset::input(ctx, port)?;
    let part = parts::part(ctx, port, input, "scores")?;
    let scores = part.without_port().f64("scores").map_err(|error| part.wrong(error))?;
    if scores.len() == n {
        Ok(scores)
    } else {
        Err(part.wrong(PartError::Scores { found: scores.len(), n }))
    }
}

/// Returns the name of the method that made the scores on `port`, if their summary tells it.
///
/// # Errors
///
/// Fails if the summary does not read.
pub fn made_by(ctx: &StageCtx<'_>, port: &str) -> Result<Option<String>, StageError> {
    let input = dataset::input(ctx, port)?;
    let summary: Value = parts::part(ctx, port, input, "meta")?.json()?;
    Ok(summary["name"].as_str().map(str::to_owned))
}

/// Returns the part that holds the labels behind an artifact, to be shared with another.
///
/// # Errors
///
/// Fails if there is none.
pub fn labels_blob(port: &str, artifact: &Artifact) -> Result<Blob, StageError> {
    artifact.parts.get("labels").copied().ok_or_else(|| parts::absent(port, "labels"))
}

/// Returns the scores of a `scores` artifact in `store`, one for each training sample.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open(store: &Store, artifact: &Artifact) -> Result<Vec<f64>, PartError> {
    PartBytes::open(store, artifact, "scores")?.f64("scores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_differ_stay_apart() {
        let fine = Scores::of_doubles(vec![2.5, -1.0, 2.5, 0.1]);
        assert_eq!((fine.scores, fine.exact), (vec![2.5, -1.0, 2.5, 0.1], None));
        // Beyond 2^24 a 32-bit float has no odd numbers.
        let large = vec![16_777_217.0, 16_777_216.0, 16_777_219.0];
        let found = Scores::of_doubles(large.clone());
        assert_eq!(found.exact.as_ref(), Some(&large));
        let turned = found.turned_round();
        assert_eq!(turned.exact, Some(vec![-16_777_217.0, -16_777_216.0, -16_777_219.0]));
        assert_eq!(turned.published, Some(vec![16_777_216.0, 16_777_216.0, 16_777_220.0]));
    }
}
