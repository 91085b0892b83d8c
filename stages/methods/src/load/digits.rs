//! `load.digits`: the handwritten digits of UCI, carried in the program.

use super::{Loaded, Loader, names};
use artifacts::{
    ClassId,
    dataset::{DatasetMeta, Inputs, Split},
    parts::Parts,
    units::Count,
};
use engine::{StageCtx, StageError};
use flate2::read::GzDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Read as _;

/// 1,797 images of 64 grey levels from 0 to 16, then their labels: see README.md beside.
const PACKED: &[u8] = include_bytes!("digits.gz");
const COUNT: usize = 1797;
const PIXELS: usize = 64;
/// Of the training split, as the test below finds them.
const MEAN: f32 = 0.305_183_08;
const STD: f32 = 0.375_994_1;

/// The handwritten digits of UCI.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Digits {
    /// Keep only the first so many training samples, in the order of the original file.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the original file.
    test_limit: Option<Count>,
}

impl Loader for Digits {
    const NAME: &'static str = "load.digits";
    const SUMMARY: &'static str =
        "UCI's handwritten digits: 1,797 grey images of 8x8, carried in the program";
    const MANUAL: &'static str = "\
Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, UCI Machine Learning Repository, \
1998; CC BY 4.0): the 1,797 images of UCI's test file, 8x8, carried in the program. Nothing has to \
be downloaded, which makes it the set for first steps and for tests.

The original 17 grey levels (0 to 16) are stored as `level * 255 / 16`, rounded. The split is fixed and stratified: within each class, in the order of the file, every fifth \
sample is a test sample. 1,442 are to train on, 355 to test.";
    const REVISION: u32 = 2;

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = read();
        loaded.limit(self.train_limit, self.test_limit);
        loaded.put(ctx)
    }
}

/// Returns the data set: of each class, in the order of the file, every fifth sample is for
/// testing, so 1,442 are to train on and 355 to test.
fn read() -> Loaded {
    let mut bytes = Vec::with_capacity(COUNT * (PIXELS + 1));
    GzDecoder::new(PACKED).read_to_end(&mut bytes).expect("the embedded file is whole");
    let (levels, labels) = bytes.split_at(COUNT * PIXELS);
    let mut splits = [(vec![], vec![]), (vec![], vec![])];
    let mut seen = [0_usize; 10];
    for (image, label) in levels.chunks_exact(PIXELS).zip(labels) {
        let count = &mut seen[usize::from(*label)];
        *count += 1;
        let (images, labels) = &mut splits[usize::from(*count % 5 == 0)];
        images.extend(image.iter().map(|level| ((u16::from(*level) * 255 + 8) / 16) as u8));
        labels.push(ClassId::at(usize::from(*label)));
    }
    let [train, test] =
        splits.map(|(images, labels)| Split { inputs: Inputs::Images(images.into()), labels });
    let meta = DatasetMeta {
        name: "digits".to_owned(),
        classes: names::owned(&["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]),
        sample: vec![1, 8, 8],
        train: train.labels.len(),
        test: test.labels.len(),
        mean: vec![MEAN],
        std: vec![STD],
        space: None,
    };
    Loaded::new(meta, train, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_split_is_the_one_described() {
        let loaded = read();
        assert_eq!((loaded.meta.train, loaded.meta.test), (1442, 355));
        let per_class = |split: &Split| {
            let count = |class| split.labels.iter().filter(|label| **label == class).count();
            ClassId::all(10).map(count).collect::<Vec<_>>()
        };
        assert_eq!(per_class(&loaded.test), [35, 36, 35, 36, 36, 36, 36, 35, 34, 36]);
        assert_eq!(per_class(&loaded.train), [143, 146, 142, 147, 145, 146, 145, 144, 140, 144]);
        // The file's first image, a 0: its second row is 0 0 13 15 10 15 5 0.
        let Inputs::Images(images) = &loaded.train.inputs else { panic!("digits are images") };
        assert_eq!(images[8..16], [0, 0, 207, 239, 159, 239, 80, 0]);
        let sum: u64 = images.iter().map(|level| u64::from(*level)).sum();
        assert_eq!(sum, 7_182_008);
        let measured = loaded.with_moments().meta;
        assert_eq!((measured.mean[0], measured.std[0]), (MEAN, STD));
    }
}
