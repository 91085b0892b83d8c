//! Herding: a subset whose mean embedding follows that of the whole.

use super::{Group, Picks, SelectInput, Selector, farthest::argmax};
use crate::linalg::{Compute, column_sums, squared_distance};
use artifacts::Matrix;
use engine::StageError;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keeps the mean: each pick brings the mean of those kept nearest to the mean of all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct Herding {}

/// Returns the picks, in order: each has the largest `value_of` the squared distance between the
/// mean of all and the mean it would make, times the number of picks.
pub(super) fn herd(
    features: &Matrix<'_>,
    budget: usize,
    value_of: fn(f32) -> f32,
    compute: &Compute,
    watch: &dyn super::Watch,
) -> Result<Vec<u32>, StageError> {
    let n = features.rows();
    let on_device = compute.upload(&[features.view()], false);
    let mean: Vec<f64> = column_sums(features).iter().map(|sum| sum / n as f64).collect();
    // What is still missing: (picks + 1) mean - sum of the picks.
    let mut missing = mean.clone();
    let (mut taken, mut order) = (vec![false; n], Vec::with_capacity(budget));
    let mut value = vec![0.0f32; n];
    while order.len() < budget {
        watch.step(order.len(), budget)?;
        let target: Vec<f32> = missing.iter().map(|v| *v as f32).collect();
        let distances = on_device.as_ref().map(|vectors| vectors.squared_distances(&target));
        value.par_iter_mut().enumerate().with_min_len(256).for_each(|(i, value)| {
            let distance = match &distances {
                Some(distances) => distances[i],
                None => squared_distance(&target, features.row(i)),
            };
            *value = if taken[i] { f32::NEG_INFINITY } else { value_of(distance) };
        });
        let next = argmax(&value).expect("there are more samples than the budget");
        taken[next] = true;
        order.push(next as u32);
        for ((missing, mean), x) in missing.iter_mut().zip(&mean).zip(features.row(next)) {
            *missing += mean - f64::from(*x);
        }
    }
    Ok(order)
}

impl Selector for Herding {
    const NAME: &'static str = "select.herding";
    const SUMMARY: &'static str = "keeps the mean of the embeddings: a greedy quadrature";
    const MANUAL: &'static str = "\
At step i picks the sample x not yet picked that makes `|| i mu - (sum of picks + x) ||` smallest, where mu
is the mean of the group's embeddings. Of equally near samples the earlier is picked.

Welling, *Herding Dynamical Weights to Learn*, ICML 2009; Chen, Welling & Smola 2010; as used by Rebuffi
et al., *iCaRL*, CVPR 2017. Cost: O(k n d).

DeepCore takes the largest distance instead of the smallest: `select.deepcore.herding`.";
    const REVISION: u32 = 2;
    const READS: &'static [SelectInput] = &[SelectInput::Embeddings];
    const ON_DEVICE: bool = true;

    fn select(&self, group: &Group<'_>, budget: usize) -> Result<Picks, StageError> {
        let nearest = |distance: f32| -distance;
        Ok(herd(&group.embeddings(), budget, nearest, group.compute, group.watch)?.into())
    }
}
