//! Label noise that depends on the sample itself: what it looks like is what it is taken for.

use super::transition::label_at;
use crate::normals::normals;
use artifacts::{
    ClassId, SampleId,
    dataset::{Dataset, DatasetMeta, Inputs},
};
use engine::Streams;
use rand::{Rng, RngExt as _};
use rayon::prelude::*;

/// The standard deviation of the samples' rates around that of all.
const SPREAD: f64 = 0.1;

/// What is drawn for one sample.
struct SampleDraw {
    /// How likely its label is to be wrong.
    rate: f64,
    /// Which label it gets, from 0 up to 1.
    label: f64,
}

/// Returns the training labels after, each drawn from a distribution of its sample's own; a share of about
/// `rate` is wrong.
pub(super) fn flipped(data: &Dataset, rate: f64, streams: Streams) -> Vec<ClassId> {
    let (labels, classes) = (&data.train.labels, data.meta.classes.len());
    let mut rng = streams.get("labels");
    let draws: Vec<SampleDraw> = labels
        .iter()
        .map(|_| SampleDraw { rate: truncated(rate, &mut rng), label: rng.random() })
        .collect();
    let mut members = vec![vec![]; classes];
    for (sample, label) in SampleId::all(labels.len()).zip(labels) {
        members[label.index()].push(sample);
    }
    let mut after = labels.clone();
    for (class, members) in members.iter().enumerate().filter(|(_, some)| !some.is_empty()) {
        let projection = projection(class, &data.meta, streams);
        let given = |sample: &SampleId| {
            let values = standardised(data, *sample);
            let logits = projected(&values, &projection, classes);
            let draw = &draws[sample.index()];
            label_at(&distribution(&logits, class, draw.rate), draw.label)
        };
        let given: Vec<ClassId> = members.par_iter().map(given).collect();
        members.iter().zip(given).for_each(|(sample, label)| after[sample.index()] = label);
    }
    after
}

/// Returns a draw from a normal distribution around `mean`, cut off at 0 and 1.
fn truncated(mean: f64, rng: &mut impl Rng) -> f64 {
    loop {
        let mut pair = [0.0; 2];
        normals(rng, &mut pair);
        let inside = pair.map(|draw| mean + SPREAD * draw);
        if let Some(rate) = inside.into_iter().find(|rate| (0.0..=1.0).contains(rate)) {
            return rate;
        }
    }
}

/// Returns the weights of `class`, standard normal: for each value of a sample one a class.
fn projection(class: usize, meta: &DatasetMeta, streams: Streams) -> Vec<f32> {
    let mut row = vec![0.0; meta.classes.len()];
    // The stream's beginning gives the rates.
    let mut rng = streams.at("labels", 1 + class as u64);
    let mut out = Vec::with_capacity(meta.each() * row.len());
    for _ in 0..meta.each() {
        normals(&mut rng, &mut row);
        out.extend(row.iter().map(|value| *value as f32));
    }
    out
}

/// Returns a training sample as a network sees it: less the mean, divided by the standard deviation.
fn standardised(data: &Dataset, sample: SampleId) -> Vec<f64> {
    let (meta, each) = (&data.meta, data.meta.each());
    let plane = (each / meta.mean.len().max(1)).max(1);
    let scale = |(at, value): (usize, f64)| {
        let channel = (at / plane).min(meta.mean.len() - 1);
        (value - f64::from(meta.mean[channel])) / f64::from(meta.std[channel])
    };
    let own = sample.index() * each..(sample.index() + 1) * each;
    match &data.train.inputs {
        Inputs::Images(levels) => {
            let values = levels[own].iter().map(|level| f64::from(*level) / 255.0);
            values.enumerate().map(scale).collect()
        }
        Inputs::Features(values) => {
            values[own].iter().map(|value| f64::from(*value)).enumerate().map(scale).collect()
        }
    }
}

/// Returns the sums of `values` weighted by each column of `projection`.
fn projected(values: &[f64], projection: &[f32], classes: usize) -> Vec<f64> {
    let mut logits = vec![0.0; classes];
    for (value, row) in values.iter().zip(projection.chunks_exact(classes)) {
        for class in 0..classes {
            logits[class] += value * f64::from(row[class]);
        }
    }
    logits
}

/// Returns the distribution of the label: the sample's own with 1 - `rate`, the others by softmax.
fn distribution(logits: &[f64], own: usize, rate: f64) -> Vec<f64> {
    let others = || logits.iter().enumerate().filter(|(class, _)| *class != own);
    let largest = others().map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = others().map(|(_, logit)| (logit - largest).exp()).sum();
    let each = logits.iter().enumerate().map(|(class, logit)| {
        if class == own { 1.0 - rate } else { rate * (logit - largest).exp() / total }
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::grey;

    const STREAMS: &[&str] = &["labels"];

    #[test]
    fn the_others_share_the_rate_by_softmax() {
        let found = distribution(&[2.0_f64.ln(), 9.0, 0.0, 5.0_f64.ln()], 1, 0.4);
        for (found, wanted) in found.iter().zip([0.1, 0.6, 0.05, 0.25]) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
        // As far as 1e300 from each other.
        assert_eq!(distribution(&[1e300, 0.0, -1e300], 1, 0.5), [0.5, 0.5, 0.0]);
    }

    #[test]
    fn rates_are_normal_within_0_and_1() {
        let mut rng = Streams::new(1, STREAMS).get("labels");
        let draws: Vec<f64> = (0..20_000).map(|_| truncated(0.4, &mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let std = (draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 20_000.0).sqrt();
        assert!((mean - 0.4).abs() < 0.004 && (std - SPREAD).abs() < 0.003, "{mean} {std}");
        // Half of a normal: its mean is sqrt(2 / pi) standard deviations off.
        let draws: Vec<f64> = (0..20_000).map(|_| truncated(0.0, &mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        assert!(draws.iter().all(|rate| *rate >= 0.0) && (mean - 0.0798).abs() < 0.003, "{mean}");
    }

    #[test]
    fn samples_that_look_alike_are_taken_for_the_same() {
        // Two images, each 4,000 times, of class 2 of 4.
        let mut data = grey(&[vec![2; 8_000], vec![3]].concat(), &[]);
        let images = [[0, 80, 160, 240], [250, 40, 20, 90]];
        let levels: Vec<u8> = (0..8_001).flat_map(|at| images[at % 2]).collect();
        data.train.inputs = Inputs::Images(levels.into());
        let streams = Streams::new(3, STREAMS);
        let after = flipped(&data, 0.3, streams);
        let wrong = after[..8_000].iter().filter(|label| label.index() != 2).count();
        // 2,400, standard deviation 41.
        assert!(wrong.abs_diff(2_400) < 205, "{wrong}");
        let weights = projection(2, &data.meta, streams);
        for (which, image) in images.iter().enumerate() {
            let value = |at: usize| (f64::from(image[at]) / 255.0 - 0.5) / 0.25;
            let logit = |class: usize| -> f64 {
                (0..4).map(|at| value(at) * f64::from(weights[at * 4 + class])).sum()
            };
            let total: f64 = [0, 1, 3].map(|class| logit(class).exp()).iter().sum();
            for class in [0, 1, 3] {
                let of = after[..8_000].iter().skip(which).step_by(2);
                let found = of.filter(|label| label.index() == class).count() as f64;
                let wanted = 4_000.0 * 0.3 * logit(class).exp() / total;
                // Five standard deviations.
                assert!((found - wanted).abs() < 5.0 * wanted.sqrt() + 1.0, "{found} {wanted}");
            }
        }
    }
}
