//! `load.svhn`: Street View House Numbers, cropped digits.

use super::{
    FileError, Loaded, Loader,
    file::{self, broken},
    idx,
    mat::{self, MatValues},
    names,
    published::{Published, WantedFile},
};
use artifacts::{
    ClassId,
    dataset::{DatasetMeta, Inputs, Split},
    parts::Parts,
    units::Count,
};
use engine::{InputFile, Problem, StageCtx, StageError};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// The cropped digits of Street View House Numbers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct Svhn {
    /// The folder the files lie in, relative to the current directory. Without it, the usual
    /// places are searched. Not part of the key: the files' bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// Put the 531,131 easier images of `extra_32x32.mat` behind those to train on.
    extra: bool,
    /// Keep only the first so many training samples, in the order of the files.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the files.
    test_limit: Option<Count>,
}

const TRAIN: WantedFile = WantedFile { role: "train", names: &["train_32x32.mat"] };
const TEST: WantedFile = WantedFile { role: "test", names: &["test_32x32.mat"] };
const EXTRA: WantedFile = WantedFile { role: "extra", names: &["extra_32x32.mat"] };
const PLACES: &[&str] = &["data/svhn", "data/SVHN"];

const PLAIN: Published = Published {
    method: "load.svhn",
    title: "SVHN (cropped digits)",
    places: PLACES,
    nested: &["", "svhn"],
    files: &[TRAIN, TEST],
    archives: &[],
    hint: "download `train_32x32.mat` and `test_32x32.mat` (format 2, cropped digits) from \
           ufldl.stanford.edu/housenumbers into `data/svhn`, or say with `dir` where they are",
    read,
};

const WITH_EXTRA: Published = Published {
    files: &[TRAIN, TEST, EXTRA],
    hint: "download `train_32x32.mat`, `test_32x32.mat` and `extra_32x32.mat` (format 2, cropped \
           digits) from ufldl.stanford.edu/housenumbers into `data/svhn`, or say with `dir` where \
           they are",
    ..PLAIN
};

impl Loader for Svhn {
    const NAME: &'static str = "load.svhn";
    const SUMMARY: &'static str =
        "SVHN: 73,257 + 26,032 colour images of house numbers, 32x32, in 10 classes";
    const MANUAL: &'static str = "\
Street View House Numbers (Netzer et al., 2011), the cropped digits: `train_32x32.mat` and \
`test_32x32.mat`, with `extra` also `extra_32x32.mat`. Searched in `data/svhn` and `data/SVHN` below \
the current directory, or only in `dir` (and `svhn` below it) if that is given.

The files' class 10 is the digit 0. Files written anew after 10 was made 0, as other libraries do, are read \
too: they have a 0 and no 10. Normalised with mean .4377 .4438 .4728, standard deviation .1980 \
.2010 .1970, with `extra` too. A file is held in memory about three times while it is read.";

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let set = if self.extra { WITH_EXTRA } else { PLAIN };
        set.find(self.dir.as_deref())
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = read(ctx.files())?;
        ctx.check_cancelled()?;
        loaded.limit(self.train_limit, self.test_limit);
        loaded.put(ctx)
    }
}

fn read(files: &[InputFile]) -> Result<Loaded, StageError> {
    let (mut images, mut labels) = digits(file::path(files, "train")?)?;
    if let Ok(extra) = file::path(files, "extra") {
        let (mut more, mut more_labels) = digits(extra)?;
        images.append(&mut more);
        labels.append(&mut more_labels);
    }
    let train = Split { inputs: Inputs::Images(images.into()), labels };
    let (images, labels) = digits(file::path(files, "test")?)?;
    let test = Split { inputs: Inputs::Images(images.into()), labels };
    let meta = DatasetMeta {
        name: "svhn".to_owned(),
        classes: names::owned(&idx::DIGITS),
        sample: vec![3, SIDE, SIDE],
        train: train.labels.len(),
        test: test.labels.len(),
        mean: vec![0.4377, 0.4438, 0.4728],
        std: vec![0.1980, 0.2010, 0.1970],
        space: None,
    };
    Ok(Loaded::new(meta, train, test))
}

/// Reads one file: `X`, \[32, 32, 3, n\] with the first dimension fastest, and `y`, in which 10
/// stands for the digit 0.
fn digits(path: &Path) -> Result<(Vec<u8>, Vec<ClassId>), StageError> {
    let mut arrays = mat::read(path)?;
    let mut array = |name: &'static str| {
        arrays.remove(name).ok_or_else(|| broken(path, FileError::NoArray(name)))
    };
    let (x, y) = (array("X")?, array("y")?);
    let (MatValues::Bytes(pixels), [SIDE, SIDE, 3, n]) = (x.values, &x.dims[..]) else {
        let (found, wanted) = (x.dims.clone(), "bytes, [32, 32, 3, n]");
        return Err(broken(path, FileError::ImageShape { found, wanted }));
    };
    let given: Vec<f64> = match y.values {
        MatValues::Bytes(values) => values.into_iter().map(f64::from).collect(),
        MatValues::Numbers(values) => values,
    };
    if given.len() != *n {
        return Err(broken(path, FileError::OwnLabelCount { labels: given.len(), n: *n }));
    }
    // Written anew with 0 for the digit 0.
    let renumbered = given.contains(&0.0) && !given.contains(&10.0);
    let (first, last) = if renumbered { (0, 9) } else { (1, 10) };
    let labels = given.into_iter().enumerate().map(|(at, label)| {
        if label.fract() == 0.0 && (first as f64..=last as f64).contains(&label) {
            return Ok(ClassId::from(label as u32 % 10));
        }
        Err(broken(path, FileError::Label { sample: at, label, first, last }))
    });
    let labels = labels.collect::<Result<_, _>>()?;
    let mut images = vec![0; pixels.len()];
    // Column by column there, row by row here.
    images.par_chunks_exact_mut(PLANE).zip(pixels.par_chunks_exact(PLANE)).for_each(
        |(to, from)| {
            for (at, to) in to.iter_mut().enumerate() {
                *to = from[at % SIDE * SIDE + at / SIDE];
            }
        },
    );
    Ok((images, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{
        file::Scratch,
        mat::{array_of_bytes, packed_file},
    };

    /// Written by `scipy.io.savemat(..., do_compression=True)`: `X[h, w, c, n] = 5 h + 3 w + 50 c +
    /// 7 n` modulo 256, `y = [[10], [1], [9]]`.
    const SCIPY: &[u8] = include_bytes!("svhn.mat");

    fn pixel(h: usize, w: usize, c: usize, n: usize) -> u8 {
        (5 * h + 3 * w + 50 * c + 7 * n) as u8
    }

    #[test]
    fn a_file_of_scipy_is_turned_round() {
        let scratch = Scratch::new("svhn");
        let (images, labels) = digits(&scratch.write("a.mat", SCIPY)).expect("it is whole");
        assert_eq!(labels, ClassId::list([0, 1, 9]));
        let mut want = vec![];
        for n in 0..3 {
            for c in 0..3 {
                (0..PLANE).for_each(|at| want.push(pixel(at / SIDE, at % SIDE, c, n)));
            }
        }
        assert_eq!(images, want);
    }

    #[test]
    fn every_cut_and_every_flip_is_an_error_or_changes_nothing() {
        let scratch = Scratch::new("svhn-damaged");
        let whole = digits(&scratch.write("whole.mat", SCIPY)).expect("it is whole");
        for end in (0..SCIPY.len()).step_by(7) {
            let error = digits(&scratch.write("cut.mat", &SCIPY[..end])).expect_err("it is cut");
            assert!(error.to_string().contains("cut.mat"), "{error}");
        }
        for at in 124..SCIPY.len() {
            let mut bytes = SCIPY.to_vec();
            bytes[at] ^= 1 << (at % 8);
            // What is not covered by a check can only be padding or spare bits.
            if let Ok(read) = digits(&scratch.write("flipped.mat", &bytes)) {
                assert!(read == whole, "byte {at}");
            }
        }
    }

    #[test]
    fn wrong_arrays_are_named() {
        let scratch = Scratch::new("svhn-wrong");
        let x = |n| array_of_bytes("X", &[32, 32, 3, n], &vec![1; 3072 * n as usize]);
        let y = |labels: &[u8]| array_of_bytes("y", &[labels.len() as u32, 1], labels);
        for (elements, want) in [
            (vec![x(1)], "has no array `y`"),
            (vec![x(2), y(&[1])], "has 1 labels for 2 images"),
            (vec![x(2), y(&[10, 0])], "has label 0 for sample 1: expected 1 to 10"),
            (vec![x(2), y(&[0, 11])], "has label 11 for sample 1: expected 0 to 9"),
            (vec![x(1), y(&[11])], "has label 11 for sample 0"),
            (
                vec![array_of_bytes("X", &[4, 1], &[1; 4]), y(&[1])],
                "has images of [4, 1]: expected bytes, [32, 32, 3, n]",
            ),
            (
                vec![array_of_bytes("X", &[32, 32, 3, 2], &[1; 3072]), y(&[1, 1])],
                "has 3072 elements in array `X` of [32, 32, 3, 2]",
            ),
        ] {
            let path = scratch.write("wrong.mat", &packed_file(&elements));
            let found = digits(&path).expect_err("it is wrong").to_string();
            assert!(found.contains(want) && found.contains("wrong.mat"), "{found}");
        }
        let path = scratch.write("anew.mat", &packed_file(&[x(2), y(&[9, 0])]));
        assert_eq!(digits(&path).expect("it was written anew").1, ClassId::list([9, 0]));
        let path = scratch.write("text.mat", &[b'x'; 200]);
        let found = digits(&path).expect_err("it is text").to_string();
        assert!(found.contains("is no MATLAB file of version 5"), "{found}");
    }
}
