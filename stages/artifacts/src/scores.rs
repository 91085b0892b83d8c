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
}

impl Scores {
    /// Values of a method published as difficulties.
    pub fn harder_when_high(scores: Vec<f32>) -> Self {
        Self { scores, published: None }
    }

    /// Values of a method published so that the lowest are the hardest.
    pub fn harder_when_low(published: Vec<f32>) -> Self {
        let scores = published.iter().map(|value| -value).collect();
        Self { scores, published: Some(published) }
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
    let mut tensors = vec![StoredTensor::f32("scores", &shape, &values.scores)];
    if let Some(published) = &values.published {
        tensors.push(StoredTensor::f32("published", &shape, published));
    }
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
pub fn read(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Vec<f32>, StageError> {
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
pub fn read_some(ctx: &StageCtx<'_>, port: &str, n: usize) -> Result<Vec<f32>, StageError> {
    let input = dataset::input(ctx, port)?;
    let part = parts::part(ctx, port, input, "scores")?;
    let (_, scores) = part.f32("scores")?;
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
pub fn open(store: &Store, artifact: &Artifact) -> Result<Vec<f32>, PartError> {
    Ok(PartBytes::open(store, artifact, "scores")?.f32("scores")?.1)
}
