//! State dicts under the names of others: taken in, and written for them.

use super::{Architecture, Family, LayerError, Network, Role};
use crate::{
    ArtifactError,
    formats::{FormatError, Scalar, tensor},
    parts,
};
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use serde::Deserialize;
use thiserror::Error;

/// A state dict from elsewhere, as ours.
pub struct AdoptedWeights {
    /// The state dict under our names, as safetensors.
    pub weights: Vec<u8>,
    /// The name of the head's weight, such as `fc.weight`.
    pub head: String,
    /// How many features the head takes.
    pub embedding: usize,
}

/// What is wrong with a state dict from elsewhere: a clause that follows the file's name.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// The architecture does not take the samples.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// It does not read.
    #[error("is not whole safetensors: {0}")]
    Format(SafeTensorError),
    /// A tensor does not read.
    #[error(transparent)]
    Array(#[from] FormatError),
    /// A tensor of the architecture is not there.
    #[error("has no tensor `{0}`")]
    Missing(String),
    /// A tensor has another type or shape.
    #[error("has `{name}` as {scalar:?} {shape:?}: expected floats of {wanted:?}")]
    Unfit {
        /// The tensor, as the file calls it.
        name: String,
        /// The type of its elements.
        scalar: Scalar,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape the architecture has.
        wanted: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error("has a value in `{0}` that is not finite")]
    NotFinite(String),
    /// A tensor is not one of the architecture.
    #[error("has a tensor `{0}`, which the architecture does not")]
    Extra(String),
    /// The tensors cannot be written again.
    #[error(transparent)]
    Encode(#[from] ArtifactError),
}

const COUNTER: &str = "num_batches_tracked";

/// Takes in the safetensors `bytes`, a state dict of `architecture` under our names or
/// torchvision's.
///
/// # Errors
///
/// Says, as a clause that follows the file's name, which tensor is missing, too many, of another
/// shape, or not finite.
pub fn adopt(
    architecture: Architecture,
    sample: &[usize],
    classes: usize,
    bytes: &[u8],
) -> Result<AdoptedWeights, AdoptError> {
    let network = Network::new(architecture, sample, classes)?;
    let all = SafeTensors::deserialize(bytes).map_err(AdoptError::Format)?;
    let mut left: Vec<String> = all.names().into_iter().map(|name| name.to_string()).collect();
    let (mut found_values, mut counters) = (vec![], vec![]);
    let specs = network.specs();
    for spec in specs {
        let theirs = architecture.name.torchvision(&spec.name);
        let names = [&spec.name, &theirs];
        let Some(at) = left.iter().position(|name| names.contains(&name)) else {
            return Err(AdoptError::Missing(spec.name.clone()));
        };
        let name = left.swap_remove(at);
        let found = tensor(bytes, &name)?;
        let values = found.floats().filter(|_| found.shape == spec.shape).ok_or_else(|| {
            let (name, wanted) = (name.clone(), spec.shape.clone());
            AdoptError::Unfit { name, scalar: found.scalar, shape: found.shape.clone(), wanted }
        })?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(AdoptError::NotFinite(name));
        }
        found_values.push(values);
        if spec.role == Role::Mean {
            let counter = name.replace("running_mean", COUNTER);
            let found = left.iter().position(|one| *one == counter).map(|at| left.swap_remove(at));
            let seen = found.and_then(|name| tensor(bytes, &name).ok()?.wholes()?.first().copied());
            let seen = i64::try_from(seen.unwrap_or(0)).unwrap_or(0);
            counters.push((spec.name.replace("running_mean", COUNTER), seen.to_le_bytes()));
        }
    }
    left.sort();
    if let Some(name) = left.first() {
        return Err(AdoptError::Extra(name.clone()));
    }
    let mut tensors = vec![];
    for (spec, values) in specs.iter().zip(&found_values) {
        tensors.push(parts::StoredTensor::f32(&spec.name, &spec.shape, values));
    }
    tensors.extend(counters.iter().map(|(name, bytes)| parts::StoredTensor {
        name,
        dtype: Dtype::I64,
        shape: vec![],
        bytes: bytes.as_slice().into(),
    }));
    let weights = parts::encode_tensors(&tensors)?;
    Ok(AdoptedWeights { weights, head: network.head(), embedding: network.embedding() })
}

/// Returns the state dict `weights` under torchvision's names; `meta` is the summary of the model
/// or proxy it is of. `None` if either does not read.
#[must_use]
pub fn with_torchvision_names(meta: &[u8], weights: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Summary {
        model: LayerCase,
    }
    #[derive(Deserialize)]
    struct LayerCase {
        name: Family,
    }
    let Summary { model } = serde_json::from_slice(meta).ok()?;
    let all = SafeTensors::deserialize(weights).ok()?;
    let views: Vec<(String, TensorView<'_>)> =
        all.iter().map(|(name, view)| (model.name.torchvision(name), view)).collect();
    safetensors::serialize(views, None).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_are_taken_and_come_back() {
        let width = Some(4_u64.try_into().expect("it is above 0"));
        let architecture = Architecture { name: Family::Resnet18, width };
        let (sample, classes) = ([3, 8, 8], 5);
        let network = Network::new(architecture, &sample, classes).expect("it fits");
        let mut rng = rand_chacha_rng();
        let values = network.start(&mut rng);
        let tensors: Vec<_> = network
            .specs()
            .iter()
            .zip(&values)
            .map(|(spec, values)| parts::StoredTensor::f32(&spec.name, &spec.shape, values))
            .collect();
        let ours = parts::encode_tensors(&tensors).expect("tensors");
        let meta = serde_json::json!({ "model": architecture }).to_string();
        let theirs = with_torchvision_names(meta.as_bytes(), &ours).expect("it reads");
        let names = SafeTensors::deserialize(&theirs).expect("tensors");
        for name in ["fc.weight", "layer2.0.downsample.1.running_var", "layer1.0.bn1.weight"] {
            assert!(names.tensor(name).is_ok(), "{name}");
        }
        let adopt = |bytes: &[u8]| adopt(architecture, &sample, classes, bytes);
        let (one, two) = (adopt(&ours).expect("ours"), adopt(&theirs).expect("theirs"));
        assert_eq!(one.weights, two.weights);
        // Every normalisation has its counter, as PyTorch wants it.
        let whole = SafeTensors::deserialize(&one.weights).expect("tensors");
        let counters = whole.names().iter().filter(|name| name.ends_with(COUNTER)).count();
        assert_eq!(whole.len(), tensors.len() + counters);
        assert_eq!(counters, 20);
        let fewer = parts::encode_tensors(&tensors[1..]).expect("tensors");
        let says = adopt(&fewer).err().map(|error| error.to_string());
        assert_eq!(says.as_deref(), Some("has no tensor `conv1.weight`"));
        let other = Architecture { name: Family::Lenet, width: None };
        assert!(super::adopt(other, &[3, 32, 32], classes, &ours).is_err());
    }

    fn rand_chacha_rng() -> impl rand::Rng {
        engine::Streams::new(1, &["init"]).get("init")
    }
}
