//! The `subset` artifact: the samples that were kept, sorted, and their weights if there are any.

use crate::{
    ArtifactError,
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
};
use cache::{Artifact, Store};
use engine::{StageCtx, StageError};
use serde::Deserialize;

/// A sample that was picked, and its weight if the picks are weighted.
pub type PickedSample = (u32, Option<f32>);

/// Stores what was `picked`, sorted by position, out of samples with these `labels`.
pub fn put(
    ctx: &StageCtx<'_>,
    labels: &[u32],
    classes: usize,
    budget: usize,
    picked: &[PickedSample],
) -> Result<Parts, StageError> {
    let (mut kept, mut available) = (vec![0; classes], vec![0; classes]);
    labels.iter().for_each(|label| available[*label as usize] += 1);
    picked.iter().for_each(|(at, _)| kept[labels[*at as usize] as usize] += 1);
    let indices: Vec<u32> = picked.iter().map(|(at, _)| *at).collect();
    let mut tensors = vec![StoredTensor::indices("indices", &indices)];
    // A group whose method gives no weights beside one that does counts each sample once.
    if picked.iter().any(|(_, weight)| weight.is_some()) {
        let weights: Vec<f32> = picked.iter().map(|(_, weight)| weight.unwrap_or(1.0)).collect();
        tensors.push(StoredTensor::f32("weights", &[weights.len()], &weights));
    }
    let meta = serde_json::json!({
        "n": labels.len(),
        "budget": budget,
        "keep": budget as f64 / (labels.len().max(1)) as f64,
        "per_class": { "kept": kept, "available": available },
    });
    Ok(Parts::from([
        ("subset".to_owned(), parts::put_tensors(ctx, &tensors)?),
        ("meta".to_owned(), parts::put_json(ctx, &meta)?),
    ]))
}

/// Positions in the training split, and the weight of each if there are any.
pub type KeptSamples = (Vec<u32>, Option<Vec<f32>>);

/// Returns the subset, or all of the `n` samples if none is connected.
pub fn read(ctx: &StageCtx<'_>, n: usize) -> Result<KeptSamples, StageError> {
    let Some(artifact) = ctx.input("subset") else {
        return Ok(((0..n as u32).collect(), None));
    };
    let part = parts::part(ctx, "subset", artifact, "subset")?;
    let rows = part.indices("indices")?;
    if rows.iter().any(|row| *row as usize >= n) {
        return Err(ArtifactError::OtherDataset { n }.into());
    }
    if !part.tensors()?.names().contains(&"weights") {
        return Ok((rows, None));
    }
    let (_, weights) = part.f32("weights")?;
    let fine = |w: &f32| w.is_finite() && *w >= 0.0;
    if weights.len() == rows.len() && weights.iter().all(fine) {
        Ok((rows, Some(weights)))
    } else {
        Err(part.wrong(PartError::Weights))
    }
}

/// Returns the positions of a `subset` artifact in `store`, sorted.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open(store: &Store, artifact: &Artifact) -> Result<Vec<u32>, PartError> {
    PartBytes::open(store, artifact, "subset")?.indices("indices")
}

/// Returns of how many training samples a `subset` artifact in `store` is.
///
/// # Errors
///
/// Fails if its summary does not read.
pub fn samples(store: &Store, artifact: &Artifact) -> Result<usize, PartError> {
    #[derive(Deserialize)]
    struct SubsetMeta {
        n: usize,
    }
    let SubsetMeta { n } = PartBytes::open(store, artifact, "meta")?.json()?;
    Ok(n)
}
