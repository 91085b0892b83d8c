//! The state of a training: what a checkpoint holds, bit by bit.

use super::{
    Tensor,
    optim::{OptimizerState, Rule},
    values::{NetworkValues, StateError, floats, upload},
};
use crate::device::Device;
use artifacts::architecture::{Network, Spec};
use artifacts::network::TrainedEpoch;
use artifacts::{ArtifactError, parts};
use safetensors::{Dtype, SafeTensors};

/// A training between two epochs.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) values: NetworkValues,
    pub(super) optimizer: OptimizerState,
    pub(crate) history: Vec<TrainedEpoch>,
    /// The loss of each sample trained on when it was last seen, for samplers that look at it.
    pub(super) losses: Vec<f32>,
}

/// The three parts of a checkpoint, encoded.
pub(super) struct Encoded {
    pub(super) weights: Vec<u8>,
    pub(super) optimizer: Vec<u8>,
    pub(super) history: Vec<u8>,
}

impl State {
    /// Returns the state before the first step, where the samples have these losses.
    pub(super) fn start(values: NetworkValues, rule: Rule, losses: Vec<f32>) -> Self {
        let optimizer = OptimizerState::new(rule, &values.params);
        Self { values, optimizer, history: vec![], losses }
    }

    /// Returns how many steps were taken.
    pub(crate) fn steps(&self) -> u64 {
        self.optimizer.steps()
    }

    /// Returns the state as a checkpoint holds it.
    pub(super) fn encode(&self, network: &Network) -> Result<Encoded, ArtifactError> {
        let weights = self.values.tensors(network, self.steps()).encode()?;
        let mut slots = vec![];
        for (at, slot) in self.optimizer.slots().iter().enumerate() {
            for (spec, tensor) in trained(network).zip(slot) {
                slots.push((slot_name(at, spec), &spec.shape, super::values::download(tensor)));
            }
        }
        let steps = i64::try_from(self.steps()).unwrap_or(i64::MAX).to_le_bytes();
        let mut tensors: Vec<_> = slots
            .iter()
            .map(|(name, shape, values)| parts::StoredTensor::f32(name, shape, values))
            .collect();
        let (shape, bytes) = (vec![], steps.as_slice().into());
        tensors.push(parts::StoredTensor { name: "steps", dtype: Dtype::I64, shape, bytes });
        let optimizer = parts::encode_tensors(&tensors)?;
        // As bits: a number that went through text may come back with its last bit changed.
        let rows = self.history.iter().flat_map(|one| {
            let test = one.test_accuracy.unwrap_or(f64::NAN);
            [one.epoch as f64, one.lr, one.loss, one.train_accuracy, test]
        });
        let bytes: Vec<u8> = rows.flat_map(f64::to_le_bytes).collect();
        let mut tensors = vec![parts::StoredTensor {
            name: "epochs",
            dtype: Dtype::F64,
            shape: vec![self.history.len(), 5],
            bytes: bytes.into(),
        }];
        // What a sampler drew, and what it looks at.
        let seen: Option<Vec<u64>> = self.history.iter().map(|one| one.samples).collect();
        let seen = seen.filter(|seen| !seen.is_empty());
        let seen =
            seen.map(|seen| seen.into_iter().flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        if let Some(seen) = &seen {
            let (shape, bytes) = (vec![self.history.len()], seen.into());
            tensors.push(parts::StoredTensor { name: "samples", dtype: Dtype::U64, shape, bytes });
        }
        if !self.losses.is_empty() {
            tensors.push(parts::StoredTensor::f32("losses", &[self.losses.len()], &self.losses));
        }
        let history = parts::encode_tensors(&tensors)?;
        Ok(Encoded { weights, optimizer, history })
    }

    /// Returns the state that [`Self::encode`] wrote, of a training whose samples had `first_losses` at its start.
    ///
    /// # Errors
    ///
    /// Says what does not fit the network or the rule.
    pub(super) fn decode(
        network: &Network,
        rule: Rule,
        device: Device,
        first_losses: &[f32],
        [weights, optimizer, history]: [&SafeTensors<'_>; 3],
    ) -> Result<Self, StateError> {
        let values = NetworkValues::read(network, device, weights)?;
        let slot = |at: usize| -> Result<Vec<Tensor<1>>, StateError> {
            let read = |spec: &Spec| {
                let values = floats(optimizer, &slot_name(at, spec), &spec.shape)?;
                Ok(upload(values, device))
            };
            trained(network).map(read).collect()
        };
        let slots = (0..rule.slots()).map(slot).collect::<Result<_, _>>()?;
        let missing = |name: &str, reason| StateError::Missing { tensor: name.to_owned(), reason };
        let steps = optimizer.tensor("steps").map_err(|reason| missing("steps", reason))?;
        let steps = <[u8; 8]>::try_from(steps.data()).map_err(|_| StateError::Steps)?;
        let steps = u64::try_from(i64::from_le_bytes(steps)).map_err(|_| StateError::Steps)?;
        let rows = history.tensor("epochs").map_err(|reason| missing("epochs", reason))?;
        if rows.dtype() != Dtype::F64 || rows.shape().get(1) != Some(&5) {
            return Err(StateError::History);
        }
        let numbers: Vec<f64> = rows
            .data()
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
            .collect();
        let seen: Vec<Option<u64>> = match history.tensor("samples") {
            Ok(seen) => {
                let seen = seen.data().chunks_exact(8);
                seen.map(|b| [b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
                    .map(|bytes| Some(u64::from_le_bytes(bytes)))
                    .collect()
            }
            Err(_) => vec![None; numbers.len() / 5],
        };
        let losses = match first_losses.len() {
            0 => vec![],
            n => floats(history, "losses", &[n])?,
        };
        let history = numbers.chunks_exact(5).zip(seen).map(|(row, samples)| TrainedEpoch {
            epoch: row[0] as u64,
            lr: row[1],
            loss: row[2],
            train_accuracy: row[3],
            test_accuracy: (!row[4].is_nan()).then_some(row[4]),
            samples,
        });
        let optimizer = OptimizerState::restored(rule, slots, steps);
        Ok(Self { values, optimizer, history: history.collect(), losses })
    }
}

fn trained(network: &Network) -> impl Iterator<Item = &Spec> {
    network.specs().iter().filter(|spec| spec.trained())
}

fn slot_name(at: usize, spec: &Spec) -> String {
    format!("{at}.{}", spec.name)
}
