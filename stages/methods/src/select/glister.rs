//! GLISTER: samples whose step lowers the loss most.

use super::{Group, Picks, SelectInput, Selector};
use crate::linalg::{Compute, DeviceVectors, cross, product, times};
use artifacts::{
    ClassId, Matrix,
    logits::softmax,
    units::{Count, Positive},
};
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps samples that a gradient step on would lower the group's loss most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Glister {
    /// How large a step on the mean gradient of the picks is taken before the next pick.
    pub(crate) eta: Positive,
    /// After how many picks the step is taken anew.
    pub(crate) every: Count,
}

impl Default for Glister {
    fn default() -> Self {
        Self {
            eta: Positive::try_from(0.1).expect("it is above 0"),
            every: Count::try_from(1).expect("1 is above 0"),
        }
    }
}

/// The last layer: the gradient of a sample in it is `r h'`.
pub(super) struct LastLayer<'a> {
    logits: &'a Matrix<'a>,
    labels: &'a [ClassId],
    residuals: &'a Matrix<'a>,
    inputs: &'a Matrix<'a>,
    on_device: Option<Box<dyn DeviceVectors>>,
}

const RESIDUALS: usize = 0;
const INPUTS: usize = 1;

impl<'a> LastLayer<'a> {
    /// `logits` and `residuals` are \[n, C\], `inputs` are \[n, 1 + d\].
    pub(super) fn new(
        logits: &'a Matrix<'a>,
        labels: &'a [ClassId],
        residuals: &'a Matrix<'a>,
        inputs: &'a Matrix<'a>,
        compute: &Compute,
    ) -> Self {
        let on_device = compute.upload(&[residuals.view(), inputs.view()], true);
        Self { logits, labels, residuals, inputs, on_device }
    }

    /// Returns the inner product of every gradient with the mean of all `target_i h_i'`.
    pub(super) fn products(&self, target: &Matrix<'_>) -> Vec<f32> {
        let Self { residuals, inputs, .. } = self;
        let (classes, scale) = (residuals.cols(), 1.0 / inputs.rows() as f64);
        let mean = |sums: Vec<f64>| {
            let mean: Vec<f32> = sums.iter().map(|sum| (sum * scale) as f32).collect();
            Matrix::new(mean, classes, inputs.cols())
        };
        if let Some(on_device) = &self.on_device {
            let sums = on_device.cross(INPUTS, target).into_iter().map(f64::from).collect();
            return on_device.weighted(RESIDUALS, INPUTS, &mean(sums));
        }
        let along = product(inputs, &mean(cross(target, inputs)));
        let rows = along.par_chunks_exact(classes.max(1)).enumerate().with_min_len(256);
        let inner = |(i, along): (usize, &[f32])| {
            let parts = residuals.row(i).iter().zip(along);
            parts.map(|(r, a)| f64::from(*r) * f64::from(*a)).sum::<f64>() as f32
        };
        rows.map(inner).collect()
    }

    /// Returns the inner products of all inputs with that of sample `i`.
    fn along(&self, i: usize) -> Vec<f32> {
        match &self.on_device {
            Some(on_device) => on_device.times(&[(INPUTS, self.inputs.row(i))]),
            None => times(self.inputs, self.inputs.row(i)),
        }
    }

    /// Returns `p - onehot(y)` at the logits less `step` times `moved`.
    fn residuals_after(&self, step: f64, moved: &[f64]) -> Matrix<'static> {
        let (n, classes) = (self.logits.rows(), self.logits.cols());
        let mut now = vec![0.0f32; n * classes];
        let rows = now.par_chunks_exact_mut(classes).enumerate().with_min_len(64);
        rows.for_each(|(i, out)| {
            let moved = &moved[i * classes..(i + 1) * classes];
            let z = self.logits.row(i).iter().zip(moved);
            let z = z.map(|(z, m)| (f64::from(*z) - step * m) as f32);
            let p = softmax(&z.collect::<Vec<f32>>());
            for (c, (out, p)) in out.iter_mut().zip(p).enumerate() {
                *out = (p - f64::from(u8::from(c == self.labels[i].index()))) as f32;
            }
        });
        Matrix::new(now, n, classes)
    }

    /// Returns the picks, in order. Before a pick whose number is a multiple of `every`, the layer
    /// takes a step of `eta` along the mean gradient of the picks so far.
    pub(super) fn descend(
        &self,
        (eta, every): (f64, usize),
        budget: usize,
        watch: &dyn super::Watch,
    ) -> Result<Vec<u32>, StageError> {
        let (n, classes) = (self.logits.rows(), self.logits.cols());
        let mut gains = self.products(self.residuals);
        // The sum over the picks of what their gradients move every logit by.
        let mut moved = vec![0.0f64; n * classes];
        let (mut taken, mut picks) = (vec![false; n], Vec::with_capacity(budget));
        while picks.len() < budget {
            watch.step(picks.len(), budget)?;
            if !picks.is_empty() && picks.len().is_multiple_of(every) {
                let step = eta / picks.len() as f64;
                gains = self.products(&self.residuals_after(step, &moved));
            }
            let mut best: Option<usize> = None;
            for i in (0..n).filter(|i| !taken[*i]) {
                if best.is_none_or(|best| gains[i] > gains[best]) {
                    best = Some(i);
                }
            }
            let next = best.expect("there are more samples than the budget");
            taken[next] = true;
            picks.push(next as u32);
            let along = self.along(next);
            let rows = moved.par_chunks_exact_mut(classes).zip(&along).with_min_len(256);
            rows.for_each(|(moved, along)| {
                for (moved, r) in moved.iter_mut().zip(self.residuals.row(next)) {
                    *moved += f64::from(*r) * f64::from(*along);
                }
            });
        }
        Ok(picks)
    }
}

impl Selector for Glister {
    const NAME: &'static str = "select.glister";
    const SUMMARY: &'static str = "samples that a step on would lower the loss most";
    const MANUAL: &'static str = "\
Greedily picks the sample whose last-layer gradient has the largest inner product with the group's mean
gradient, as it is after a step of size eta along the mean gradient of the picks so far (the first-order
gain in log-likelihood). The group itself stands for the validation set. Of equal gains the earlier sample
is picked.

Killamsetty, Sivasubramanian, Ramakrishnan & Iyer, *GLISTER*, AAAI 2021, equations 5 and 6. Cost: O(n C d) a
step, from the gradients' factors; `rule.every` takes it once for several picks.

In DeepCore the step never happens: `select.deepcore.glister`.";
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Logits, SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn variants() -> Vec<Self> {
        let every = |n: u64| Count::try_from(n).expect("it is above 0");
        [1, 3].map(|n| Self { every: every(n), ..Self::default() }).to_vec()
    }

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let residuals = group.residuals();
        let inputs = group.inputs_of_last_layer();
        let (logits, labels) = (group.logits(), group.labels());
        let rule = (self.eta.into(), self.every.get());
        let layer = LastLayer::new(&logits, &labels, &residuals, &inputs, group.compute);
        Ok(layer.descend(rule, budget, group.watch)?.into())
    }
}
