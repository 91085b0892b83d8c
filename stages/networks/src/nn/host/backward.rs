//! The backward pass.

use super::{TapeOp, Weights, conv, linear, norm, pool, rows::Activation};

/// The backward pass: walks the tape from its end and accumulates parameter gradients.
pub(super) struct HostBackward<'a> {
    pub(super) weights: &'a Weights,
    /// The parameters' gradients, where they are wanted.
    pub(super) gradients: Option<&'a mut [Vec<f32>]>,
    /// Whether these are the first gradients of the step.
    pub(super) first: bool,
}

impl HostBackward<'_> {
    /// Returns the gradient of the input of `tape`. If `wanted` is false it is not computed, and the value is
    /// unspecified.
    pub(super) fn all(
        &mut self,
        mut tape: Vec<TapeOp>,
        mut gradient: Activation,
        wanted: bool,
    ) -> Activation {
        while let Some(done) = tape.pop() {
            let learns =
                |done: &TapeOp| !matches!(done, TapeOp::Flatten { .. } | TapeOp::Relu { .. });
            let wanted = wanted || tape.iter().any(learns);
            gradient = self.one(done, gradient, wanted);
        }
        gradient
    }

    fn one(&mut self, done: TapeOp, mut gradient: Activation, wanted: bool) -> Activation {
        match done {
            TapeOp::Conv { conv, input, weight, bias } => {
                let gradient = gradient.maps();
                self.add(weight, || conv.to_weight(&gradient, &input));
                if let Some(bias) = bias {
                    self.add(bias, || conv::to_bias(&gradient));
                }
                let weight = &self.weights.params[weight];
                let wanted = wanted.then(|| conv.to_input(&gradient, weight, input.dims));
                Activation::MapBatch(wanted.unwrap_or(gradient))
            }
            TapeOp::Linear { input, weight } => {
                let gradient = gradient.rows();
                self.add(weight, || linear::to_weight(&gradient, &input));
                self.add(weight + 1, || linear::to_bias(&gradient));
                let weight = &self.weights.params[weight];
                let wanted = wanted.then(|| linear::to_input(&gradient, weight));
                Activation::VectorBatch(wanted.unwrap_or(gradient))
            }
            TapeOp::Norm { x, statistics, scale, relu } => {
                let mut gradient = gradient.maps();
                if let Some(y) = relu {
                    pool::relu_backward(gradient.change(), &y.data);
                }
                let values = &self.weights.params[scale];
                let (scales, shifts) = norm::backward(&mut gradient, &x, &statistics, values);
                self.add(scale, || scales);
                self.add(scale + 1, || shifts);
                Activation::MapBatch(gradient)
            }
            TapeOp::Affine { scales, relu } => {
                let mut gradient = gradient.maps();
                if let Some(y) = relu {
                    pool::relu_backward(gradient.change(), &y.data);
                }
                let none = vec![0.0; scales.len()];
                Activation::MapBatch(norm::affine(&gradient, &scales, &none, false))
            }
            TapeOp::Relu { y } => {
                gradient = gradient.like(&y);
                pool::relu_backward(gradient.change(), y.numbers());
                gradient
            }
            TapeOp::Pool { pool, x, y } => {
                Activation::MapBatch(pool.backward(&gradient.maps(), &x, &y))
            }
            TapeOp::Average { from } => {
                Activation::MapBatch(pool::average_backward(&gradient.maps(), from))
            }
            TapeOp::Flatten { from } => gradient.shaped(from),
            TapeOp::Residual { main, shortcut } => {
                let around = self.all(shortcut, gradient.clone(), true);
                let mut back = self.all(main, gradient, true);
                back.add(around);
                back
            }
        }
    }

    fn add(&mut self, param: usize, gradient: impl FnOnce() -> Vec<f32>) {
        let Some(gradients) = &mut self.gradients else { return };
        let gradient = gradient();
        if self.first {
            gradients[param] = gradient;
        } else {
            for (sum, value) in gradients[param].iter_mut().zip(gradient) {
                *sum += value;
            }
        }
    }
}
