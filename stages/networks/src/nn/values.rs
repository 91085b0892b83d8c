//! The values of a network: on the device, and as a state dict that PyTorch loads.

use super::Tensor;
use crate::device::{Device, beside};
use artifacts::architecture::{Network, Role};
use artifacts::{ArtifactError, parts};
use burn::tensor::TensorData;
use rand::Rng;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use thiserror::Error;

/// The tensors of a network, flat, in the order of its specs.
#[derive(Clone)]
pub(crate) struct NetworkValues {
    /// What is trained.
    pub(super) params: Vec<Tensor<1>>,
    /// The running means and variances.
    pub(super) stats: Vec<Tensor<1>>,
}

impl NetworkValues {
    /// Returns the values before training, drawn from `rng`.
    pub(super) fn start(network: &Network, device: Device, rng: &mut impl Rng) -> Self {
        Self::upload(network, device, network.start(rng))
    }

    fn upload(network: &Network, device: Device, values: Vec<Vec<f32>>) -> Self {
        let (mut params, mut stats) = (vec![], vec![]);
        for (spec, values) in network.specs().iter().zip(values) {
            let tensor = upload(values, device);
            if spec.trained() { params.push(tensor) } else { stats.push(tensor) }
        }
        Self { params, stats }
    }

    /// Returns them with each tensor turned into another.
    pub(super) fn map(&self, turn: fn(&Tensor<1>) -> Tensor<1>) -> Self {
        let all = |tensors: &[Tensor<1>]| tensors.iter().map(turn).collect();
        Self { params: all(&self.params), stats: all(&self.stats) }
    }

    /// Returns the same values on `device`.
    pub(super) fn moved(&self, device: Device) -> Self {
        let all = |tensors: &[Tensor<1>]| {
            tensors.iter().map(|tensor| upload(download(tensor), device)).collect()
        };
        Self { params: all(&self.params), stats: all(&self.stats) }
    }

    /// Returns the state dict: the tensors by name, and how many batches each normalisation saw,
    /// which PyTorch expects beside its running statistics.
    pub(super) fn tensors<'a>(&self, network: &'a Network, steps: u64) -> StateDict<'a> {
        let (mut params, mut stats) = (self.params.iter(), self.stats.iter());
        let mut tensors = vec![];
        let mut counters = vec![];
        for spec in network.specs() {
            let next = if spec.trained() { params.next() } else { stats.next() };
            let values = download(next.expect("there is a value for every spec"));
            tensors.push(parts::StoredTensor::f32(&spec.name, &spec.shape, values));
            if spec.role == Role::Mean {
                let module = spec.name.trim_end_matches("running_mean");
                counters.push(format!("{module}num_batches_tracked"));
            }
        }
        StateDict { tensors, counters, steps: i64::try_from(steps).unwrap_or(i64::MAX) }
    }

    /// Returns the values stored as a state dict.
    ///
    /// # Errors
    ///
    /// Says which tensor is missing or has another shape than the network's.
    pub(super) fn read(
        network: &Network,
        device: Device,
        stored: &SafeTensors<'_>,
    ) -> Result<Self, StateError> {
        let read = |spec: &artifacts::architecture::Spec| floats(stored, &spec.name, &spec.shape);
        let values = network.specs().iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self::upload(network, device, values))
    }
}

/// Why stored values or a checkpoint do not fit a network.
#[derive(Debug, Error)]
pub(crate) enum StateError {
    /// A tensor is not there.
    #[error("tensor `{tensor}`: {reason}")]
    Missing { tensor: String, reason: SafeTensorError },
    /// A tensor has another type or shape.
    #[error("tensor `{tensor}` is {dtype:?} {found:?}, not F32 {wanted:?}")]
    Unfit { tensor: String, dtype: Dtype, found: Vec<usize>, wanted: Vec<usize> },
    /// The number of steps is none.
    #[error("tensor `steps` is not one whole number")]
    Steps,
    /// The history has other columns.
    #[error("the history is not five columns of f64")]
    History,
}

/// A state dict on its way into the store.
pub(super) struct StateDict<'a> {
    tensors: Vec<parts::StoredTensor<'a>>,
    counters: Vec<String>,
    steps: i64,
}

impl StateDict<'_> {
    /// Returns it as safetensors.
    pub(super) fn encode(self) -> Result<Vec<u8>, ArtifactError> {
        let bytes = self.steps.to_le_bytes();
        let counter = |name| parts::StoredTensor {
            name,
            dtype: Dtype::I64,
            shape: vec![],
            bytes: bytes.as_slice().into(),
        };
        let mut tensors = self.tensors;
        tensors.extend(self.counters.iter().map(|name| counter(name.as_str())));
        parts::encode_tensors(&tensors)
    }
}

/// Puts `values` on `device`.
pub(super) fn upload(values: Vec<f32>, device: Device) -> Tensor<1> {
    let n = values.len();
    beside(|| Tensor::from_data(TensorData::new(values, [n]), &device.inner()))
}

/// Returns the values of `tensor`, row-major.
pub(crate) fn download<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    let data = beside(|| tensor.try_to_data()).map_err(|error| format!("{error:?}"));
    let values = data.and_then(|data| data.try_to_vec().map_err(|error| format!("{error:?}")));
    // A device that failed is told as a panic, which `guarded` turns into the error of a stage.
    values.unwrap_or_else(|error| panic!("Error while reading data: {error}"))
}

/// Returns tensor `name` of `stored`, which must be f32 and of this shape.
pub(super) fn floats(
    stored: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, StateError> {
    let missing = |reason| StateError::Missing { tensor: name.to_owned(), reason };
    let view = stored.tensor(name).map_err(missing)?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let (tensor, wanted) = (name.to_owned(), shape.to_vec());
        let (dtype, found) = (view.dtype(), view.shape().to_vec());
        return Err(StateError::Unfit { tensor, dtype, found, wanted });
    }
    let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Ok(values.collect())
}
