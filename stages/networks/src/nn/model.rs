//! A trained network, read back from a `proxy` or a `model`.

use super::{
    Tensor,
    epoch::{self, Outputs},
    feed::{Feed, InputNormalisation},
    forward::{Batch, Forward as _, ForwardOutput, Mode},
    host,
    training::device,
    values::NetworkValues,
};
use crate::{NetworkError, device::Device};
use artifacts::architecture::Network;
use artifacts::network::NetworkSummary;
use artifacts::{dataset::Inputs, parts};
use cache::Artifact;
use engine::{StageCtx, StageError, StageProgress};

/// A network with its values, on the device of the run.
pub(crate) struct Model {
    pub(crate) network: Network,
    pub(crate) form: InputNormalisation,
    pub(crate) classes: usize,
    pub(crate) device: Device,
    values: NetworkValues,
}

impl Model {
    /// Returns the weights for the CPU's own kernels, where they take the network.
    pub(super) fn on_host(&self) -> Option<host::Weights> {
        let there = self.device.capabilities().host_kernels && host::supports(&self.network);
        there.then(|| host::Weights::of(&self.values))
    }

    /// Reads the network of the `proxy` or `model` that came in on `port`.
    ///
    /// # Errors
    ///
    /// Fails if its parts do not decode or do not fit each other.
    pub(crate) fn load(
        ctx: &StageCtx<'_>,
        port: &str,
        artifact: &Artifact,
    ) -> Result<Self, StageError> {
        let meta = parts::part(ctx, port, artifact, "meta")?;
        let NetworkSummary { model, classes, sample, mean, std } = meta.json()?;
        let network = Network::new(model, &sample, classes).map_err(|why| meta.wrong(why))?;
        let weights = parts::part(ctx, port, artifact, "weights")?;
        let device = device(ctx)?;
        let values = NetworkValues::read(&network, device, &weights.tensors()?)
            .map_err(|why| weights.wrong(why))?;
        Ok(Self::new(network, InputNormalisation { sample, mean, std }, classes, (device, values)))
    }

    pub(super) fn new(
        network: Network,
        form: InputNormalisation,
        classes: usize,
        (device, values): (Device, NetworkValues),
    ) -> Self {
        Self { network, form, classes, device, values }
    }

    /// Takes samples of the network's own shape, to be normalised as it expects.
    ///
    /// # Errors
    ///
    /// Fails if they are of another shape.
    pub(crate) fn feed(&self, sample: &[usize], inputs: Inputs) -> Result<Feed, NetworkError> {
        if sample != self.form.sample {
            let (trained, found) = (self.form.sample.clone(), sample.to_vec());
            return Err(NetworkError::SampleShape { trained, found });
        }
        Ok(Feed::new(self.device, &self.form, inputs))
    }

    /// Runs normalised samples through the network in evaluation mode. A batch that is recorded gives
    /// a recorded pass.
    pub(super) fn forward(&self, input: Batch) -> ForwardOutput {
        let recorded = input.is_recorded();
        let lift = |param: &Tensor<1>| {
            if recorded { Tensor::from_inner(param.clone()) } else { param.clone() }
        };
        let params: Vec<Tensor<1>> = self.values.params.iter().map(lift).collect();
        self.network.forward(&params, &self.values.stats, input, Mode::Eval)
    }

    /// Returns the logits of every sample of `feed`, in evaluation mode, and its embeddings if they
    /// are asked for.
    ///
    /// # Errors
    ///
    /// Fails if the run was stopped.
    pub(crate) fn outputs(
        &self,
        ctx: &StageCtx<'_>,
        feed: &Feed,
        embeddings: bool,
    ) -> Result<Outputs, StageError> {
        epoch::outputs(&self.network, &self.values, feed, embeddings, &mut pause(ctx, feed.len()))
    }
}

/// Returns a callback for between two batches of `n` samples: checks for cancellation and reports progress.
pub(crate) fn pause<'a>(
    ctx: &'a StageCtx<'_>,
    n: usize,
) -> impl FnMut(usize) -> Result<(), StageError> + 'a {
    move |done| {
        ctx.check_cancelled()?;
        let (done, total) = (done as u64, n as u64);
        ctx.progress(StageProgress::new(done, total, "sample"));
        Ok(())
    }
}
