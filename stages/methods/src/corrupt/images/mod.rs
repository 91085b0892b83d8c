//! `corrupt.images`: the image corruptions of CIFAR-10-C.

mod blur;
mod colour;
mod elastic;
mod jpeg;
mod motion;
mod noise;
mod snow;
mod warp;

use super::{
    outliers::sorted,
    stage::{Corrupted, Corruption},
};
use crate::MethodError;
use artifacts::{
    SampleId,
    dataset::{Dataset, Inputs, Origin, Origins, Split},
    units::{Count, Fraction},
};
use engine::{Problem, StageError, Streams};
use motion::Motion;
use noise::Photons;
use rand::{Rng, seq::index};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is done to which images.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Images {
    /// What is done to an image.
    kind: ImageCorruption,
    /// How much of it, from 1 to 5.
    severity: Count,
    /// Which images it is done to.
    split: Splits,
    /// The share of those that it is done to; which is drawn.
    share: Fraction,
}

/// What is done to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ImageCorruption {
    /// Normal noise, as of a sensor in the dark.
    GaussianNoise,
    /// The noise of counting photons (Poisson).
    ShotNoise,
    /// Some values are black or full: salt and pepper.
    ImpulseNoise,
    /// Normal noise, larger where it is bright.
    SpeckleNoise,
    /// A Gaussian blur.
    GaussianBlur,
    /// The blur of a lens out of focus.
    DefocusBlur,
    /// Seen through frosted glass.
    GlassBlur,
    /// The blur of a camera that moves along a line.
    MotionBlur,
    /// The blur of a camera that moves towards it.
    ZoomBlur,
    /// It snows.
    Snow,
    /// There is fog.
    Fog,
    /// It is brighter.
    Brightness,
    /// It has less contrast.
    Contrast,
    /// Its colours are fainter (1, 2) or stronger (3 to 5).
    Saturate,
    /// It is drawn out like rubber.
    ElasticTransform,
    /// It is coarser.
    Pixelate,
    /// It was written as a JPEG of low quality.
    JpegCompression,
}

/// Which images something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Splits {
    /// Those to train on.
    Train,
    /// Those to test with.
    Test,
    /// All.
    Both,
}

impl Default for Images {
    fn default() -> Self {
        Self {
            kind: ImageCorruption::GaussianNoise,
            severity: Count::try_from(3).expect("3 is not 0"),
            split: Splits::Train,
            share: Fraction::try_from(1.0).expect("1 is a fraction"),
        }
    }
}

impl Corruption for Images {
    const NAME: &'static str = "corrupt.images";
    const SUMMARY: &'static str = "changes images as noise, blur, light or a coarse sensor do";
    const MANUAL: &'static str = "\
Changes images as they are changed in CIFAR-10-C: Hendrycks & Dietterich, *Benchmarking Neural Network Robustness \
to Common Corruptions and Perturbations*, ICLR 2019, with the constants of the authors' code for images of 32 x 32, \
whatever the size. Done to `test`, it measures how a model stands images of another kind; done to `train`, what a \
selector makes of them.

At severities 1 to 5, of values from 0 to 1:

- `gaussian-noise`: normal noise of standard deviation .04 .06 .08 .09 .10.
- `shot-noise`: a photon count (Poisson) of mean 500 250 100 75 50 where it is brightest.
- `impulse-noise`: a share .01 .02 .03 .05 .07 of values becomes 0 or 1.
- `speckle-noise`: normal noise of .06 .10 .12 .16 .20 times the value.
- `gaussian-blur`: a Gaussian of standard deviation .4 .6 .7 .8 1.
- `defocus-blur`: a disc of radius .3 .4 .5 1 1.5, smoothed by a Gaussian of .4 .5 .6 .2 .1.
- `glass-blur`: a Gaussian of .05 .25 .4 .25 .4 before and after each pixel takes the place of a neighbour, once (1 to 3) or twice.
- `motion-blur`: a one-sided Gaussian of 1 1.5 2 2 2.5 over twice 6 6 6 8 9 pixels, up to 45 degrees off the horizontal, as ImageMagick takes it.
- `zoom-blur`: the mean of enlargements by up to 6 11 16 21 26 %.
- `fog`: a plasma fractal of thickness .2 .5 .75 1 1.5, whose detail fades by 3 3 2.5 2 1.75 from scale to scale.
- `snow`: flakes where normal noise of mean .1 .1 .15 .25 .3 and deviation .2 .2 .3 .3 .3, enlarged 1 1 1.75 2.25 1.25 times, reaches \
.6 .5 .55 .6 .65; each falls by a motion blur of 3 4 4 6 12 over twice 8 10 10 12 14 pixels, and a share .05 .1 .1 .15 .2 of the image is whitened.
- `brightness`: value of HSV plus .05 .1 .15 .2 .3. `saturate`: its saturation times .3 .1 1.5 2 2.5, plus 0 0 0 \
.1 .2; colour images only.
- `contrast`: the distance from each channel's mean times .75 .5 .4 .3 .15.
- `elastic-transform`: three points move by up to .08 .07 .06 .05 .03 of the shorter side, all others with them; then, from 2 on, each \
pixel on its own by up to 0 .05 .08 .1 .1, smoothed by a Gaussian of 0 .2 .06 .04 .03. Places in between are interpolated exactly, not at \
one in 32. These severities are of different kinds, not each stronger than the last.
- `pixelate`: .95 .9 .85 .75 .65 of the pixels of each side, by box filters.
- `jpeg-compression`: quality 80 65 58 50 40, colour at half the rows and columns (4:2:0).

Levels are cut off at 0 and 255 and rounded down, as in that code. Left out are frost, \
which needs pictures of it, and spatter. The encoder of JPEG is based in part on the work of the Independent JPEG Group.

Exactly `share` times the images of a split, rounded, are changed; every image has random numbers of its own, so \
that those of a share do not change with others. Labels stay, as do mean and standard deviation. The output says \
which training samples were changed; only `evaluate`, the models' summaries and `evaluate.scores` (with \
`of = \"changed\"`) read that.

Cost: a pass over the changed images, by all threads; the changed split is held in memory.";
    const STREAMS: &'static [&'static str] = &["train", "test", "train-images", "test-images"];

    fn problems(&self) -> Vec<Problem> {
        if self.severity.get() <= 5 {
            return vec![];
        }
        vec![Problem {
            setting: "severity".to_owned(),
            message: format!("there is no severity {}", self.severity.get()),
            hint: Some("severities go from 1 to 5".to_owned()),
        }]
    }

    fn corrupt(
        &self,
        mut data: Dataset,
        streams: Streams,
    ) -> Result<Option<Corrupted>, StageError> {
        let (train, test) = match self.split {
            Splits::Train => (self.share.of(data.meta.train), 0),
            Splits::Test => (0, self.share.of(data.meta.test)),
            Splits::Both => (self.share.of(data.meta.train), self.share.of(data.meta.test)),
        };
        if train + test == 0 {
            return Ok(None);
        }
        let sample = data.meta.sample.clone();
        let changed =
            self.change(&mut data.train, &sample, train, ("train", "train-images"), streams)?;
        self.change(&mut data.test, &sample, test, ("test", "test-images"), streams)?;
        if !changed.is_empty() {
            let origins = data.origins.get_or_insert_with(|| Origins::none(data.meta.train));
            origins.set(&changed, Origin::Changed);
        }
        let log = format!("{train} training images and {test} test images changed");
        Ok(Some(Corrupted { data, log }))
    }
}

impl Images {
    /// Changes `count` of the images of a split, and returns which.
    fn change(
        &self,
        split: &mut Split,
        sample: &[usize],
        count: usize,
        (which, own): (&'static str, &'static str),
        streams: Streams,
    ) -> Result<Vec<SampleId>, MethodError> {
        if count == 0 {
            return Ok(vec![]);
        }
        let unfit = || MethodError::NoSuchImages { sample: sample.to_vec() };
        let &[channels, h, w] = sample else { return Err(unfit()) };
        let unfit_kind = match self.kind {
            ImageCorruption::Saturate => channels != 3,
            ImageCorruption::JpegCompression => jpeg::side(h).and(jpeg::side(w)).is_none(),
            _ => false,
        };
        if unfit_kind {
            return Err(unfit());
        }
        let Inputs::Images(images) = &split.inputs else { return Err(unfit()) };
        let each = channels * h * w;
        let n = split.labels.len();
        let picked = index::sample(&mut streams.get(which), n, count).into_vec();
        let picked = sorted(picked);
        let mut images = images.to_vec();
        let photons = match self.kind {
            ImageCorruption::ShotNoise => Some(Photons::new(self.constant())),
            _ => None,
        };
        images.par_chunks_mut(each.max(1)).enumerate().for_each(|(at, image)| {
            if picked.binary_search(&SampleId::at(at)).is_ok() {
                let draws = ImageDraws { streams, own, at: at as u64 };
                self.change_one(image, (channels, h, w), photons.as_ref(), draws);
            }
        });
        split.inputs = Inputs::Images(images.into());
        Ok(picked)
    }

    fn change_one(
        &self,
        levels: &mut [u8],
        (channels, h, w): (usize, usize, usize),
        photons: Option<&Photons>,
        draws: ImageDraws,
    ) {
        let rng = &mut draws.streams.at(draws.own, draws.at);
        if let Some(changed) = self.whole_levels(levels, (channels, h, w), rng) {
            levels.copy_from_slice(&changed);
            return;
        }
        let mut image: Vec<f64> = levels.iter().map(|level| f64::from(*level) / 255.0).collect();
        match self.kind {
            ImageCorruption::GaussianNoise => noise::gaussian(&mut image, self.constant(), rng),
            ImageCorruption::ShotNoise => {
                if let Some(photons) = photons {
                    photons.shot(levels, &mut image, rng);
                }
            }
            ImageCorruption::ImpulseNoise => noise::impulse(&mut image, self.constant(), rng),
            ImageCorruption::SpeckleNoise => noise::speckle(&mut image, self.constant(), rng),
            ImageCorruption::GaussianBlur => blur::gaussian(&mut image, (h, w), self.constant()),
            ImageCorruption::DefocusBlur => {
                blur::defocus(&mut image, (h, w), self.constant(), self.second());
            }
            ImageCorruption::GlassBlur => {
                // By one place, once or twice.
                let how = (self.constant(), 1, self.second() as usize);
                warp::glass(&mut image, (h, w), how, rng);
            }
            ImageCorruption::ZoomBlur => warp::zoom(&mut image, (h, w), self.constant()),
            ImageCorruption::Snow => {
                snow::SEVERITIES[self.at()].cover(&mut image, (channels, h, w), rng);
            }
            ImageCorruption::ElasticTransform => {
                elastic::SEVERITIES[self.at()].stretch(&mut image, (h, w), rng);
            }
            ImageCorruption::Fog => {
                warp::fog(&mut image, (h, w), (self.constant(), self.second()), rng);
            }
            ImageCorruption::Brightness => colour::brighten(&mut image, channels, self.constant()),
            ImageCorruption::Contrast => colour::contrast(&mut image, channels, self.constant()),
            ImageCorruption::Saturate => {
                colour::saturate(&mut image, self.constant(), self.second())
            }
            ImageCorruption::MotionBlur
            | ImageCorruption::Pixelate
            | ImageCorruption::JpegCompression => {}
        }
        for (level, value) in levels.iter_mut().zip(image) {
            // Rounded down, as the authors' code does.
            *level = (value.clamp(0.0, 1.0) * 255.0) as u8;
        }
    }

    /// Returns the levels that a kind makes of levels, if this is one that has no values in between.
    fn whole_levels(
        &self,
        levels: &[u8],
        (channels, h, w): (usize, usize, usize),
        rng: &mut impl Rng,
    ) -> Option<Vec<u8>> {
        match self.kind {
            ImageCorruption::Pixelate => Some(blur::pixelate(levels, (h, w), self.constant())),
            ImageCorruption::MotionBlur => {
                let angle = motion::angle(0.0, rng);
                let motion = Motion::new(self.constant(), self.second(), angle);
                let planes = levels.chunks_exact(h * w);
                Some(planes.flat_map(|plane| motion.blur(plane, (h, w))).collect())
            }
            ImageCorruption::JpegCompression => {
                jpeg::compressed(levels, (channels, h, w), self.constant() as u8)
            }
            _ => None,
        }
    }

    /// Returns the severity as a position.
    fn at(&self) -> usize {
        self.severity.get().min(5) - 1
    }

    /// Returns the constant of the kind at this severity.
    fn constant(&self) -> f64 {
        let all = match self.kind {
            ImageCorruption::GaussianNoise => [0.04, 0.06, 0.08, 0.09, 0.1],
            ImageCorruption::ShotNoise => [500.0, 250.0, 100.0, 75.0, 50.0],
            ImageCorruption::ImpulseNoise => [0.01, 0.02, 0.03, 0.05, 0.07],
            ImageCorruption::SpeckleNoise => [0.06, 0.1, 0.12, 0.16, 0.2],
            ImageCorruption::GaussianBlur => [0.4, 0.6, 0.7, 0.8, 1.0],
            ImageCorruption::DefocusBlur => [0.3, 0.4, 0.5, 1.0, 1.5],
            ImageCorruption::GlassBlur => [0.05, 0.25, 0.4, 0.25, 0.4],
            ImageCorruption::MotionBlur => [6.0, 6.0, 6.0, 8.0, 9.0],
            ImageCorruption::ZoomBlur => [1.06, 1.11, 1.16, 1.21, 1.26],
            ImageCorruption::Fog => [0.2, 0.5, 0.75, 1.0, 1.5],
            ImageCorruption::Brightness => [0.05, 0.1, 0.15, 0.2, 0.3],
            ImageCorruption::Contrast => [0.75, 0.5, 0.4, 0.3, 0.15],
            ImageCorruption::Saturate => [0.3, 0.1, 1.5, 2.0, 2.5],
            ImageCorruption::Pixelate => [0.95, 0.9, 0.85, 0.75, 0.65],
            ImageCorruption::JpegCompression => [80.0, 65.0, 58.0, 50.0, 40.0],
            // They have tables of their own.
            ImageCorruption::Snow | ImageCorruption::ElasticTransform => [0.0; 5],
        };
        all[self.at()]
    }

    /// Returns the second constant, of kinds that have one.
    fn second(&self) -> f64 {
        let all = match self.kind {
            ImageCorruption::DefocusBlur => [0.4, 0.5, 0.6, 0.2, 0.1],
            ImageCorruption::GlassBlur => [1.0, 1.0, 1.0, 2.0, 2.0],
            ImageCorruption::MotionBlur => [1.0, 1.5, 2.0, 2.0, 2.5],
            ImageCorruption::Fog => [3.0, 3.0, 2.5, 2.0, 1.75],
            ImageCorruption::Saturate => [0.0, 0.0, 0.0, 0.1, 0.2],
            _ => [0.0; 5],
        };
        all[self.at()]
    }
}

/// Where the random numbers of an image come from.
struct ImageDraws {
    streams: Streams,
    own: &'static str,
    at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrupt::tests::{grey, run};
    use artifacts::ClassId;

    const KINDS: [ImageCorruption; 17] = [
        ImageCorruption::GaussianNoise,
        ImageCorruption::ShotNoise,
        ImageCorruption::ImpulseNoise,
        ImageCorruption::SpeckleNoise,
        ImageCorruption::GaussianBlur,
        ImageCorruption::DefocusBlur,
        ImageCorruption::GlassBlur,
        ImageCorruption::MotionBlur,
        ImageCorruption::ZoomBlur,
        ImageCorruption::Snow,
        ImageCorruption::Fog,
        ImageCorruption::Brightness,
        ImageCorruption::Contrast,
        ImageCorruption::Saturate,
        ImageCorruption::ElasticTransform,
        ImageCorruption::Pixelate,
        ImageCorruption::JpegCompression,
    ];

    fn images(text: &str) -> Images {
        serde_json::from_str(text).expect("the settings are read")
    }

    fn pixels(split: &Split) -> &[u8] {
        let Inputs::Images(pixels) = &split.inputs else { panic!("not images") };
        pixels
    }

    #[test]
    fn every_kind_changes_an_image_more_at_a_higher_severity() {
        // Stripes of three colours, of which none is full.
        let sample = [3, 16, 16];
        let levels = (0..768).map(|at| [60, 120, 200, 90, 30][at % 8 % 5] + (at / 256 * 13) as u8);
        let levels: Vec<u8> = levels.collect();
        for kind in KINDS {
            let apart = |severity| {
                let severity = Count::try_from(severity).expect("not 0");
                let one = Images { kind, severity, ..Images::default() };
                let mut split = Split {
                    inputs: Inputs::Images(levels.clone().into()),
                    labels: ClassId::list([0]),
                };
                let streams = Streams::new(4, Images::STREAMS);
                let names = ("train", "train-images");
                let which = one.change(&mut split, &sample, 1, names, streams);
                assert_eq!(which.expect("it is an image"), [SampleId::at(0)]);
                let pairs = pixels(&split).iter().zip(&levels);
                pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
            };
            // The severities of elastic transforms move pixels in different ways, not farther.
            let more = kind == ImageCorruption::ElasticTransform || apart(5) > apart(1);
            assert!(more && apart(1) > 0, "{kind:?}: {} {}", apart(1), apart(5));
        }
    }

    #[test]
    fn a_share_is_changed_and_known() {
        let labels = vec![0; 40];
        let before = grey(&labels, &labels);
        let half = images(r#"{"kind": "brightness", "severity": 5, "share": 0.5}"#);
        let found = run(&half, grey(&labels, &labels)).expect("they are images");
        let kinds = found.origins.as_ref().expect("some were changed").kinds.clone();
        assert_eq!(kinds.iter().filter(|kind| **kind == Origin::Changed).count(), 20);
        let pairs = pixels(&before.train).chunks_exact(4).zip(pixels(&found.train).chunks_exact(4));
        for ((old, new), kind) in pairs.zip(kinds) {
            assert_eq!(old != new, kind == Origin::Changed);
        }
        assert_eq!(found.test, before.test);
        let test = images(r#"{"kind": "contrast", "split": "test"}"#);
        let found = run(&test, grey(&labels, &labels)).expect("they are images");
        assert!(found.origins.is_none() && found.train == before.train);
        assert!(found.test != before.test);
    }

    #[test]
    fn an_image_has_random_numbers_of_its_own() {
        let labels = vec![0; 30];
        let all = run(&images(r#"{"split": "both"}"#), grey(&labels, &labels)).expect("images");
        let some = run(&images(r#"{"share": 0.5}"#), grey(&labels, &labels)).expect("images");
        let kinds = some.origins.expect("some were changed").kinds;
        let pairs = pixels(&all.train).chunks_exact(4).zip(pixels(&some.train).chunks_exact(4));
        for ((all, some), _) in pairs.zip(kinds).filter(|(_, kind)| *kind == Origin::Changed) {
            assert_eq!(all, some);
        }
        assert!(pixels(&all.train) != pixels(&all.test), "the splits draw apart");
    }

    #[test]
    fn what_is_no_image_of_that_kind_is_refused() {
        let mut data = grey(&[0, 0], &[]);
        data.train.inputs = Inputs::Features(vec![0.0; 8]);
        assert!(run(&Images::default(), data).is_err());
        let grey = run(&images(r#"{"kind": "saturate"}"#), grey(&[0, 0], &[])).err();
        assert!(grey.expect("it has no colour").to_string().contains("[1, 2, 2]"));
        assert_eq!(images(r#"{"severity": 6}"#).problems().len(), 1);
    }
}
