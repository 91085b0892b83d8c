//! `corrupt.duplicates`: training samples that are copies of others, or nearly.

use super::{
    outliers::{some, sorted},
    stage::{Corrupted, Corruption},
};
use crate::{MethodError, normals::normals};
use artifacts::{
    SampleId,
    dataset::{Dataset, Inputs, Origin, Origins},
    units::{Fraction, NonNegative},
};
use engine::{StageError, Streams};
use rand::{Rng, RngExt as _, seq::index};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many copies there are, and how close they are.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Duplicates {
    /// How many copies, as a share of the training samples.
    share: Fraction,
    /// Where the copies go.
    mode: CopyPlace,
    /// The standard deviation of the noise added to each value of a copy; images count from 0 to 1.
    noise: NonNegative,
    /// How many pixels at most a copy of an image is shifted in each direction.
    shift: u32,
}

/// Where copies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum CopyPlace {
    /// Into the place of other samples: there are as many as before.
    Replace,
    /// Behind the others: there are more.
    Append,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            share: Fraction::try_from(0.1).expect("0.1 is a fraction"),
            mode: CopyPlace::Replace,
            noise: NonNegative::default(),
            shift: 0,
        }
    }
}

impl Corruption for Duplicates {
    const NAME: &'static str = "corrupt.duplicates";
    const SUMMARY: &'static str =
        "makes a share of the training samples copies of others, or nearly";
    const MANUAL: &'static str = "\
Makes copies of training samples, with their labels and groups: redundancy that a selector should see through. \
CIFAR-10 and CIFAR-100 have such near-copies themselves (Barz & Denzler, *Do We Train on Test Data? Purging CIFAR \
of Near-Duplicates*, Journal of Imaging 2020).

Exactly `share` times the number of training samples, rounded, become copies. With `mode = \"replace\"` they take \
the place of drawn samples, so that the training set stays as large and loses what these showed; with `\"append\"` \
they stand behind the others. Originals are drawn from the samples that stay and that are neither copies nor \
foreign already, none of them twice unless there are too few.

A copy is exact, or has normal noise of standard deviation `noise` on every value (clipped, for images, whose \
values count from 0 to 1) and, if it is an image, is shifted across and down by up to `shift` pixels, each drawn \
evenly; the border is repeated. A copy of a sample with a wrong label has that label too. The test split stays \
as it is, as do mean and standard deviation.

The output says which samples are copies, and of which. Only `evaluate`, the models' summaries and \
`evaluate.scores` (with `of = \"duplicates\"`) read that.

Cost: the training samples, in memory.";
    const STREAMS: &'static [&'static str] = &["samples", "originals", "copies"];

    fn corrupt(
        &self,
        mut data: Dataset,
        streams: Streams,
    ) -> Result<Option<Corrupted>, StageError> {
        let n = data.meta.train;
        let count = self.share.of(n);
        if count == 0 {
            return Ok(None);
        }
        if self.shift > 0 && matches!(data.train.inputs, Inputs::Features(_)) {
            return Err(MethodError::ShiftedFeatures.into());
        }
        let copies: Vec<SampleId> = match self.mode {
            CopyPlace::Append => SampleId::all(n + count).skip(n).collect(),
            CopyPlace::Replace => {
                let mut draws = streams.get("samples");
                sorted(index::sample(&mut draws, n, count).into_vec())
            }
        };
        let mut origins = data.origins.take().unwrap_or_else(|| Origins::none(n));
        let originals = originals(&origins, n, &copies, &mut streams.get("originals"))?;
        let mut from: Vec<SampleId> = SampleId::all(n).collect();
        match self.mode {
            CopyPlace::Append => from.extend(&originals),
            CopyPlace::Replace => {
                let pairs = copies.iter().zip(&originals);
                pairs.for_each(|(copy, of)| from[copy.index()] = *of);
            }
        }
        origins.copy(&copies, &originals);
        data.take(&from);
        data.origins = Some(origins);
        self.disturb(&mut data, &copies, streams);
        let all = data.meta.train;
        Ok(Some(Corrupted { data, log: format!("{count} of {all} training samples are copies") }))
    }
}

impl Duplicates {
    /// Shifts the `copies` and adds noise to them, each with random numbers of its own.
    fn disturb(&self, data: &mut Dataset, copies: &[SampleId], streams: Streams) {
        let noise = f64::from(self.noise);
        if noise == 0.0 && self.shift == 0 {
            return;
        }
        let (each, sample) = (data.meta.each(), data.meta.sample.clone());
        let mut draws = vec![0.0; each];
        let inputs = std::mem::replace(&mut data.train.inputs, Inputs::Features(vec![]));
        data.train.inputs = match inputs {
            Inputs::Images(images) => {
                let mut images = images.into_vec();
                for (at, copy) in copies.iter().enumerate() {
                    let mut rng = streams.at("copies", at as u64);
                    let image = &mut images[copy.index() * each..][..each];
                    let [across, down] = [(); 2].map(|()| self.drawn_shift(&mut rng));
                    shift(image, &sample, across, down);
                    if noise > 0.0 {
                        normals(&mut rng, &mut draws);
                        for (level, draw) in image.iter_mut().zip(&draws) {
                            let value = f64::from(*level) + 255.0 * noise * draw;
                            *level = value.round().clamp(0.0, 255.0) as u8;
                        }
                    }
                }
                Inputs::Images(images.into())
            }
            Inputs::Features(mut values) => {
                for (at, copy) in copies.iter().enumerate() {
                    normals(&mut streams.at("copies", at as u64), &mut draws);
                    let row = &mut values[copy.index() * each..][..each];
                    for (value, draw) in row.iter_mut().zip(&draws) {
                        *value = (f64::from(*value) + noise * draw) as f32;
                    }
                }
                Inputs::Features(values)
            }
        };
    }

    /// Returns a shift of one direction.
    fn drawn_shift(&self, rng: &mut impl Rng) -> i64 {
        let most = i64::from(self.shift);
        rng.random_range(-most..=most)
    }
}

/// Returns which of `n` samples each of the `copies` is to be a copy of.
fn originals(
    origins: &Origins,
    n: usize,
    copies: &[SampleId],
    rng: &mut impl Rng,
) -> Result<Vec<SampleId>, MethodError> {
    let able = |sample: &SampleId| {
        let own = [Origin::Own, Origin::Changed].contains(&origins.kinds[sample.index()]);
        own && copies.binary_search(sample).is_err()
    };
    let able: Vec<SampleId> = SampleId::all(n).filter(able).collect();
    if able.is_empty() {
        return Err(MethodError::NoOriginals);
    }
    Ok(some(rng, able.len(), copies.len()).into_iter().map(|at| able[at]).collect())
}

/// Moves what is shown in an image of shape `[c, h, w]` right and down; what comes in is the border's.
fn shift(image: &mut [u8], sample: &[usize], across: i64, down: i64) {
    let &[_, h, w] = sample else { return };
    let from = |at: usize, by: i64, n: usize| (at as i64 - by).clamp(0, n as i64 - 1) as usize;
    let before = image.to_vec();
    for (plane, old) in image.chunks_exact_mut(h * w).zip(before.chunks_exact(h * w)) {
        for (y, row) in plane.chunks_exact_mut(w).enumerate() {
            let old = &old[from(y, down, h) * w..][..w];
            row.iter_mut().enumerate().for_each(|(x, pixel)| *pixel = old[from(x, across, w)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::{grey, run};

    fn duplicates(text: &str) -> Duplicates {
        serde_json::from_str(text).expect("the settings are read")
    }

    fn images(data: &Dataset) -> Vec<&[u8]> {
        let Inputs::Images(images) = &data.train.inputs else { panic!("not images") };
        images.chunks_exact(4).collect()
    }

    #[test]
    fn copies_are_what_they_are_said_to_be_copies_of() {
        let labels: Vec<u32> = (0..30).map(|at| at % 4).collect();
        let before = grey(&labels, &[2]);
        for (text, n) in [(r#"{"share": 0.4}"#, 30), (r#"{"share": 1, "mode": "append"}"#, 60)] {
            let found = run(&duplicates(text), grey(&labels, &[2])).expect("it can be applied");
            let origins = found.origins.as_ref().expect("there are copies");
            assert_eq!((found.meta.train, origins.kinds.len()), (n, n));
            assert_eq!(origins.copies.len(), if n == 30 { 12 } else { 30 });
            let (old, new) = (images(&before), images(&found));
            for (at, kind) in origins.kinds.iter().enumerate() {
                assert_eq!(*kind == Origin::Own, old.get(at) == Some(&new[at]), "{at}");
            }
            for (copy, of) in &origins.copies {
                assert_eq!(new[copy.index()], new[of.index()]);
                assert_eq!(found.train.labels[copy.index()], before.train.labels[of.index()]);
                assert_eq!(origins.kinds[of.index()], Origin::Own);
            }
            assert_eq!(found.test, before.test);
        }
        let all = run(&duplicates(r#"{"share": 1}"#), grey(&labels, &[]));
        assert!(matches!(all, Err(StageError::Method(_))), "no original is left");
    }

    #[test]
    fn noise_is_as_large_as_it_is_said() {
        let labels = vec![0; 3_000];
        let append = r#"{"share": 1, "mode": "append", "noise": 0.02}"#;
        let found = run(&duplicates(append), grey(&labels, &[])).expect("it can be applied");
        let new = images(&found);
        let (mut sum, mut count) = (0.0, 0.0);
        for (copy, of) in &found.origins.as_ref().expect("there are copies").copies {
            for (a, b) in new[copy.index()].iter().zip(new[of.index()]) {
                // Away from the ends, where it is clipped.
                if (30..225).contains(b) {
                    let apart = f64::from(*a) - f64::from(*b);
                    (sum, count) = (sum + apart * apart, count + 1.0);
                }
            }
        }
        // Rounding adds a twelfth to the variance.
        let wanted = (5.1_f64 * 5.1 + 1.0 / 12.0).sqrt();
        let found = (sum / count).sqrt();
        assert!((found - wanted).abs() < 0.2, "{found} {wanted}");
    }

    #[test]
    fn what_is_shifted_leaves_its_border_behind() {
        let mut image: Vec<u8> = (0..12).collect();
        shift(&mut image, &[2, 2, 3], 1, 0);
        assert_eq!(image, [0, 0, 1, 3, 3, 4, 6, 6, 7, 9, 9, 10]);
        let mut image: Vec<u8> = (0..9).collect();
        shift(&mut image, &[1, 3, 3], -2, -1);
        assert_eq!(image, [5, 5, 5, 8, 8, 8, 8, 8, 8]);
        let mut data = grey(&[0, 1], &[]);
        data.train.inputs = Inputs::Features(vec![0.0; 8]);
        assert!(run(&duplicates(r#"{"share": 0.5, "shift": 1}"#), data).is_err());
    }
}
