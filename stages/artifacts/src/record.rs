//! The training record: what each epoch of a proxy said of every sample.
//!
//! One run of a proxy serves every score that watches training. An epoch is stored either as its
//! logits (f16) or, where those would grow too large, as one row of figures per sample. A sample
//! the epoch did not see is NaN throughout, never 0. What a score makes of the rows is not here.

use crate::{
    ArtifactError, ClassId, Matrix,
    columns::{COLUMNS, SampleColumns},
    parts::{self, Part, PartBytes, PartError, Parts, StoredTensor},
    rows::ROW_PARTS,
};
use cache::{Artifact, Blob, Store};
use engine::{StageCtx, StageError};
use rayon::prelude::*;
use safetensors::Dtype;
use std::ops::RangeInclusive;
use thiserror::Error;

/// What one epoch said of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochRow {
    /// The probability of the label.
    pub p_y: f32,
    /// The label's logit less the largest of the others.
    pub logit_margin: f32,
    /// The label's probability less the largest of the others.
    pub prob_margin: f32,
    /// The cross-entropy, in nats.
    pub loss: f32,
    /// The entropy of the prediction, in nats.
    pub entropy: f32,
    /// The Euclidean length of prediction minus one-hot label.
    pub el2n: f32,
    /// The most probable class; of equals the first. `None` for a sample not seen.
    pub top: Option<ClassId>,
}

impl EpochRow {
    /// The row of a sample that was not seen.
    pub const MISSING: Self = Self {
        p_y: f32::NAN,
        logit_margin: f32::NAN,
        prob_margin: f32::NAN,
        loss: f32::NAN,
        entropy: f32::NAN,
        el2n: f32::NAN,
        top: None,
    };

    /// Returns the row of a sample with these `logits` and this `label`, computed in f64. Logits
    /// that hold a NaN make a missing row. With a single class the margins are against 0.
    ///
    /// # Panics
    ///
    /// Panics if `label` is not a position in `logits`.
    pub fn of(logits: &[f32], label: ClassId) -> Self {
        let y = label.index();
        if logits.iter().any(|z| z.is_nan()) {
            return Self::MISSING;
        }
        let mut top = 0;
        for (class, z) in logits.iter().enumerate() {
            if *z > logits[top] {
                top = class;
            }
        }
        let largest = f64::from(logits[top]);
        let weight = |z: f32| (f64::from(z) - largest).exp();
        let total: f64 = logits.iter().map(|z| weight(*z)).sum();
        let (mut others, mut square, mut entropy) = (0.0, 0.0, 0.0);
        let mut rival = None;
        for (class, z) in logits.iter().enumerate() {
            let p = weight(*z) / total;
            if p > 0.0 {
                entropy -= p * (f64::from(*z) - largest - total.ln());
            }
            if class != y {
                others += p;
                square += p * p;
                if rival.is_none_or(|best| *z > best) {
                    rival = Some(*z);
                }
            }
        }
        let p_y = weight(logits[y]) / total;
        let (rival_z, rival_p) = rival.map_or((0.0, 0.0), |z| (f64::from(z), weight(z) / total));
        Self {
            p_y: p_y as f32,
            logit_margin: (f64::from(logits[y]) - rival_z) as f32,
            prob_margin: (p_y - rival_p) as f32,
            loss: (total.ln() + largest - f64::from(logits[y])) as f32,
            entropy: entropy as f32,
            // 1 - p_y as the sum of the others: exact where p_y is nearly 1.
            el2n: (square + others * others).sqrt() as f32,
            top: Some(ClassId::at(top)),
        }
    }

    /// Whether the epoch saw the sample.
    pub fn seen(&self) -> bool {
        self.top.is_some()
    }
}

/// How much of an epoch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The logits, as f16: 2 C bytes a sample.
    Logits,
    /// One [`EpochRow`] a sample: 28 bytes.
    Rows,
}

/// Returns the name of the part that holds `epoch`, counted from 1.
pub fn part_name(epoch: usize) -> String {
    format!("record.{epoch:04}")
}

/// Returns how many epochs `proxy` has on record.
pub fn epochs(proxy: &Artifact) -> usize {
    (1..).take_while(|epoch| proxy.parts.contains_key(&part_name(*epoch))).count()
}

/// Fetches `epochs` of `proxy`, all of which are to be read, from a remote store at once.
pub fn fetch_ahead(ctx: &StageCtx<'_>, proxy: &Artifact, epochs: RangeInclusive<usize>) {
    ctx.fetch_ahead(epochs.filter_map(|epoch| proxy.parts.get(&part_name(epoch))));
}

/// Stores one epoch: `logits` is \[n, `classes`\], row-major in sample order; a sample the epoch did not
/// see has NaN logits.
///
/// # Errors
///
/// Fails if the shapes do not agree, a label is no class, or the store fails.
pub fn put_epoch(
    ctx: &StageCtx<'_>,
    detail: Detail,
    logits: &[f32],
    classes: usize,
    labels: &[ClassId],
) -> Result<Blob, StageError> {
    if logits.len() != labels.len() * classes {
        let n = labels.len();
        return Err(ArtifactError::LogitCount { logits: logits.len(), classes, n }.into());
    }
    match detail {
        Detail::Logits => {
            let bytes: Vec<u8> = logits.iter().flat_map(|z| half_of(*z).to_le_bytes()).collect();
            let shape = vec![labels.len(), classes];
            let tensor =
                StoredTensor { name: "logits", dtype: Dtype::F16, shape, bytes: bytes.into() };
            parts::put_tensors(ctx, &[tensor])
        }
        Detail::Rows => {
            check_labels(labels, classes).map_err(ArtifactError::from)?;
            put_rows(ctx, &rows_of(logits, classes, labels))
        }
    }
}

/// What stands on disk for the most probable class of a sample not seen.
const NOT_SEEN: u32 = u32::MAX;

/// Stores one epoch as one row of figures a sample.
///
/// # Errors
///
/// Fails if the store does.
pub fn put_rows(ctx: &StageCtx<'_>, rows: &[EpochRow]) -> Result<Blob, StageError> {
    let column = |value: fn(&EpochRow) -> f32| rows.iter().map(value).collect::<Vec<f32>>();
    let shape = [rows.len()];
    let top = |row: &EpochRow| row.top.map_or(NOT_SEEN, u32::from).to_le_bytes();
    let tops: Vec<u8> = rows.iter().flat_map(top).collect();
    parts::put_tensors(
        ctx,
        &[
            StoredTensor::f32("p_y", &shape, column(|row| row.p_y)),
            StoredTensor::f32("logit_margin", &shape, column(|row| row.logit_margin)),
            StoredTensor::f32("prob_margin", &shape, column(|row| row.prob_margin)),
            StoredTensor::f32("loss", &shape, column(|row| row.loss)),
            StoredTensor::f32("entropy", &shape, column(|row| row.entropy)),
            StoredTensor::f32("el2n", &shape, column(|row| row.el2n)),
            StoredTensor {
                name: "top",
                dtype: Dtype::U32,
                shape: shape.to_vec(),
                bytes: tops.into(),
            },
        ],
    )
}

/// Reads `epoch` of the `proxy` that came in on `port`: one row a sample, in sample order.
///
/// # Errors
///
/// Fails if the epoch is not on record or does not fit the labels.
pub fn epoch(
    ctx: &StageCtx<'_>,
    port: &str,
    proxy: &Artifact,
    epoch: usize,
    labels: &[ClassId],
) -> Result<Vec<EpochRow>, StageError> {
    let recorded = epochs(proxy);
    if epoch == 0 || epoch > recorded {
        return Err(ArtifactError::NotRecorded { epoch, recorded }.into());
    }
    let name = part_name(epoch);
    let part = parts::part(ctx, port, proxy, &name)?;
    if part.tensors()?.names().contains(&"logits") {
        let (shape, logits) = part.f32("logits")?;
        let [n, classes] = shape[..] else {
            return Err(part.wrong(PartError::NotAMatrix("logits".to_owned())));
        };
        if n != labels.len() {
            return Err(part.wrong(PartError::Samples { found: n, n: labels.len() }));
        }
        check_labels(labels, classes).map_err(|wrong| part.wrong(wrong))?;
        return Ok(rows_of(&logits, classes, labels));
    }
    stored_rows(&part, labels.len())
}

fn stored_rows(part: &Part<'_>, n: usize) -> Result<Vec<EpochRow>, StageError> {
    let column = |name: &str| -> Result<Vec<f32>, StageError> {
        let (_, values) = part.f32(name)?;
        if values.len() == n {
            Ok(values)
        } else {
            Err(part.wrong(PartError::Samples { found: values.len(), n }))
        }
    };
    let p_y = column("p_y")?;
    let logit_margin = column("logit_margin")?;
    let prob_margin = column("prob_margin")?;
    let loss = column("loss")?;
    let entropy = column("entropy")?;
    let el2n = column("el2n")?;
    let all = part.tensors()?;
    let top = all.tensor("top").map_err(|error| part.wrong(error))?;
    if top.dtype() != Dtype::U32 || top.shape() != [n] {
        return Err(part.wrong(PartError::Unfit("top")));
    }
    let top = top.data().chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let rows = top.enumerate().map(|(i, top)| EpochRow {
        p_y: p_y[i],
        logit_margin: logit_margin[i],
        prob_margin: prob_margin[i],
        loss: loss[i],
        entropy: entropy[i],
        el2n: el2n[i],
        top: (top != NOT_SEEN).then(|| ClassId::from(top)),
    });
    Ok(rows.collect())
}

/// Returns what the proxy on `port` said of every training sample after its last epoch: `logits` or
/// `embeddings`, one row a sample.
///
/// # Errors
///
/// Fails if the proxy does not hold them as a matrix.
pub fn outputs(
    ctx: &StageCtx<'_>,
    port: &str,
    proxy: &Artifact,
    name: &str,
) -> Result<Matrix<'static>, StageError> {
    let part = parts::part(ctx, port, proxy, "outputs")?;
    if !part.tensors()?.names().contains(&name) {
        return Err(ArtifactError::NoOutput { output: name.to_owned() }.into());
    }
    let (shape, values) = part.into_floats(name)?;
    match shape[..] {
        [rows, cols] => Ok(Matrix::new(values, rows, cols)),
        _ => Err(parts::wrong(port, "outputs", PartError::NotAMatrix(name.to_owned()))),
    }
}

/// The training samples behind an artifact: their labels, each of them a class.
pub struct LabelledSamples {
    /// The labels, in sample order.
    pub labels: Vec<ClassId>,
    /// How many classes there are.
    pub classes: usize,
    /// The port that what they were read from came in on.
    port: String,
    /// The parts that an artifact made from them shares: their labels, columns and rows.
    pub shared: Parts,
}

impl LabelledSamples {
    /// Reads the labels of what came in on the first of `ports` that is connected.
    ///
    /// # Errors
    ///
    /// Fails if none is, or a label is no class.
    pub fn read(ctx: &StageCtx<'_>, ports: &[&str]) -> Result<Self, StageError> {
        let connected = ports.iter().find_map(|port| Some((*port, ctx.input(port)?)));
        let (port, input) = connected.ok_or(ArtifactError::NoSamples)?;
        Self::of(ctx, port, input)
    }

    /// Reads the labels of `artifact`, which came in on `port`.
    ///
    /// # Errors
    ///
    /// Fails if it has none, or a label is no class.
    pub fn of(ctx: &StageCtx<'_>, port: &str, artifact: &Artifact) -> Result<Self, StageError> {
        let part = parts::part(ctx, port, artifact, "labels")?;
        let labels = part.indices("train")?;
        let classes = classes(ctx, port, artifact)?;
        check_labels(&labels, classes).map_err(|wrong| part.wrong(wrong))?;
        Ok(Self { labels, classes, port: port.to_owned(), shared: shared_parts(artifact) })
    }

    /// Reads the ids and counts of the samples, if their data has any.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn columns(&self, ctx: &StageCtx<'_>) -> Result<Option<SampleColumns>, StageError> {
        SampleColumns::from_parts(ctx, &self.port, &self.shared)
    }

    /// Checks that there are as many of `what` as samples.
    pub fn one_each(&self, found: usize, what: &'static str) -> Result<(), ArtifactError> {
        let n = self.labels.len();
        if found == n { Ok(()) } else { Err(ArtifactError::NotOneEach { what, found, n }) }
    }
}

/// Returns the parts of `artifact` that everything made from its samples has too: labels, columns, rows of texts.
#[must_use]
pub fn shared_parts(artifact: &Artifact) -> Parts {
    let parts = artifact.parts.iter();
    let is_shared = |name: &str| ["labels", COLUMNS].contains(&name) || ROW_PARTS.contains(&name);
    let shared = parts.filter(|(name, _)| is_shared(name));
    shared.map(|(name, blob)| (name.clone(), *blob)).collect()
}

/// Returns the training labels behind a data set, a proxy or scores in `store`.
///
/// # Errors
///
/// Fails if they do not read.
pub fn open_labels(store: &Store, artifact: &Artifact) -> Result<Vec<ClassId>, PartError> {
    PartBytes::open(store, artifact, "labels")?.indices("train")
}

/// A label that is no class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the label of sample {sample} is {label}, but there are {classes} classes")]
pub struct LabelOutOfRange {
    /// The position of the sample.
    pub sample: usize,
    /// Its label.
    pub label: ClassId,
    /// How many classes there are.
    pub classes: usize,
}

/// Checks that every label is below `classes`.
///
/// # Errors
///
/// Names the first that is not.
pub fn check_labels(labels: &[ClassId], classes: usize) -> Result<(), LabelOutOfRange> {
    match labels.iter().position(|label| label.index() >= classes) {
        None => Ok(()),
        Some(sample) => Err(LabelOutOfRange { sample, label: labels[sample], classes }),
    }
}

/// Returns how many classes the artifact on `port` (data, a proxy, or scores) says there are.
///
/// # Errors
///
/// Fails if its summary does not say.
pub fn classes(ctx: &StageCtx<'_>, port: &str, artifact: &Artifact) -> Result<usize, StageError> {
    let part = parts::part(ctx, port, artifact, "meta")?;
    let meta: serde_json::Value = part.json()?;
    // Data lists the names of its classes, the others count them.
    let count = match &meta["classes"] {
        serde_json::Value::Array(names) => Some(names.len()),
        other => other.as_u64().and_then(|count| usize::try_from(count).ok()),
    };
    count.ok_or_else(|| part.wrong(PartError::NoClasses))
}

fn rows_of(logits: &[f32], classes: usize, labels: &[ClassId]) -> Vec<EpochRow> {
    let each = logits.par_chunks_exact(classes.max(1)).zip(labels);
    each.map(|(logits, label)| EpochRow::of(logits, *label)).collect()
}

// A finite logit beyond f16's range stays finite: it is a confident sample, not a missing one.
fn half_of(z: f32) -> half::f16 {
    let most = half::f16::MAX.to_f32();
    half::f16::from_f32(if z.is_finite() { z.clamp(-most, most) } else { z })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_worked_by_hand() {
        // p = (1/4, 1/2, 1/4)
        let row = EpochRow::of(&[0.0, 2f32.ln(), 0.0], ClassId::at(0));
        let near = |a: f32, b: f32| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        near(row.p_y, 0.25);
        near(row.logit_margin, -(2f32.ln()));
        near(row.prob_margin, -0.25);
        near(row.loss, 4f32.ln());
        near(row.entropy, 1.5 * 2f32.ln());
        near(row.el2n, (0.75f32 * 0.75 + 0.25 + 0.0625).sqrt());
        assert_eq!(row.top, Some(ClassId::at(1)));
    }

    #[test]
    fn a_confident_row_keeps_its_digits() {
        let row = EpochRow::of(&[40.0, 0.0], ClassId::at(0));
        let q = f64::from(-40f32).exp();
        assert!((f64::from(row.el2n) / (q * 2f64.sqrt()) - 1.0).abs() < 1e-6);
        let far = EpochRow::of(&[1e30, -1e30], ClassId::at(1));
        assert!(far.loss.is_finite() && far.entropy == 0.0 && far.top == Some(ClassId::at(0)));
    }

    #[test]
    fn a_missing_sample_is_nan_and_ties_go_to_the_first_class() {
        assert!(!EpochRow::of(&[f32::NAN, 1.0], ClassId::at(0)).seen());
        assert!(EpochRow::of(&[f32::NAN, 1.0], ClassId::at(0)).loss.is_nan());
        assert_eq!(EpochRow::of(&[1.0, 3.0, 3.0], ClassId::at(0)).top, Some(ClassId::at(1)));
        assert_eq!(half_of(1e9), half::f16::MAX);
        assert!(half_of(f32::NAN).is_nan());
    }
}
