//! Gradients of a network's logits with respect to its input.

use super::{Tensor, feed::Feed, forward::Batch, host, model::Model, values::download};
use artifacts::ClassId;
use burn::tensor::TensorData;
use methods::score::InputGradients;

/// Returns `model`, in evaluation mode, as a function of normalised samples.
pub(crate) fn input_gradients<'a>(model: &'a Model) -> Box<dyn InputGradients + 'a> {
    match model.on_host() {
        Some(weights) => Box::new(OnHost { model, weights }),
        None => recorded(model),
    }
}

/// The same, computed by the tensor library in any case.
pub(super) fn recorded<'a>(model: &'a Model) -> Box<dyn InputGradients + 'a> {
    Box::new(OfModel { model, d: features(model) })
}

fn features(model: &Model) -> usize {
    model.form.sample.iter().product()
}

/// Returns the samples of `feed` at `rows` as the network sees them, \[b, features\] row-major.
pub(crate) fn normalised(feed: &Feed, rows: &[u32]) -> Vec<f32> {
    download(&feed.batch(rows, None).flat())
}

/// With the CPU's own kernels.
struct OnHost<'a> {
    model: &'a Model,
    weights: host::Weights,
}

impl InputGradients for OnHost<'_> {
    fn features(&self) -> usize {
        features(self.model)
    }

    fn classes(&self) -> usize {
        self.model.classes
    }

    fn logits(&mut self, x: &[f32]) -> Vec<f32> {
        if x.is_empty() {
            return vec![];
        }
        let sample = &self.model.form.sample;
        rayon::scope(|_| self.weights.outputs(&self.model.network, x.to_vec(), sample).0)
    }

    fn gradients(&mut self, x: &[f32], classes: &[ClassId]) -> Vec<f32> {
        if x.is_empty() {
            return vec![];
        }
        let sample = &self.model.form.sample;
        rayon::scope(|_| {
            self.weights.input_gradients(&self.model.network, x.to_vec(), sample, classes)
        })
    }
}

struct OfModel<'a> {
    model: &'a Model,
    d: usize,
}

impl OfModel<'_> {
    fn batch(&self, x: Tensor<1>, n: usize) -> Batch {
        match self.model.form.sample[..] {
            [c, h, w] => Batch::Map(x.reshape([n, c, h, w])),
            _ => Batch::Flat(x.reshape([n, self.d])),
        }
    }

    fn upload(&self, x: Vec<f32>) -> Tensor<1> {
        let n = x.len();
        Tensor::from_data(TensorData::new(x, [n]), &self.model.device.inner())
    }
}

impl InputGradients for OfModel<'_> {
    fn features(&self) -> usize {
        self.d
    }

    fn classes(&self) -> usize {
        self.model.classes
    }

    fn logits(&mut self, x: &[f32]) -> Vec<f32> {
        if x.is_empty() {
            return vec![];
        }
        let input = self.batch(self.upload(x.to_vec()), x.len() / self.d);
        download(&self.model.forward(input).logits)
    }

    fn gradients(&mut self, x: &[f32], classes: &[ClassId]) -> Vec<f32> {
        if x.is_empty() {
            return vec![];
        }
        // One copy of a sample for each logit: samples do not mix in evaluation mode, so one
        // backward pass over the copies gives every gradient.
        let k = classes.len() / (x.len() / self.d);
        let copies: Vec<f32> = x
            .chunks_exact(self.d)
            .flat_map(|x| std::iter::repeat_n(x, k))
            .flatten()
            .copied()
            .collect();
        let leaf = Tensor::from_inner(self.upload(copies)).require_grad();
        let input = self.batch(leaf.clone(), classes.len());
        let logits = self.model.forward(input).logits;
        let mut chosen = vec![0f32; classes.len() * self.model.classes];
        for (row, class) in chosen.chunks_exact_mut(self.model.classes).zip(classes) {
            row[class.index()] = 1.0;
        }
        let chosen = self.upload(chosen).reshape(logits.dims());
        let mut gradients = (logits * Tensor::from_inner(chosen)).sum().backward();
        let gradient = leaf.grad_remove(&mut gradients);
        gradient.map_or_else(|| vec![0.0; classes.len() * self.d], |slope| download(&slope))
    }
}
