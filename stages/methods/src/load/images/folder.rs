//! `load.folder`: any images, sorted into a folder for each class.

use super::{
    super::Loader,
    Channels,
    decode::{ImageShape, Resize},
    known, labelled, meta, names, scan, too_large,
    write::{self, Damaged, Picture, Pictures},
};
use artifacts::{
    draw,
    parts::Parts,
    units::{Count, Fraction},
};
use engine::{InputFolder as Listed, Problem, StageCtx, StageError, Streams};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Any folder of images.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(in super::super) struct ImageFolder {
    /// The folder, relative to the current directory. Not part of the key: the files' names and
    /// bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// What the data set is called in reports.
    name: String,
    /// Height and width of the images kept.
    size: Count,
    /// `crop` brings the shorter side to size and keeps the middle of the longer one; `stretch`
    /// brings both sides to size.
    resize: Resize,
    /// 3 for colour, 1 for grey.
    channels: Channels,
    /// Where there is no folder of test images: the share of each class to test on, drawn from
    /// the stage's seed.
    test_fraction: Option<Fraction>,
    /// What becomes of a damaged image: `refuse` is an error that names them all, `skip` leaves
    /// them out and logs them.
    damaged: Damaged,
    /// Keep only the first so many images of each class, in the order of their names, before any
    /// are put aside to test on.
    train_per_class: Option<Count>,
    /// Keep only the first so many images of each class in the folder of test images.
    test_per_class: Option<Count>,
}

impl Default for ImageFolder {
    fn default() -> Self {
        Self {
            dir: None,
            name: "folder".to_owned(),
            size: Count::try_from(64).expect("it is above 0"),
            resize: Resize::default(),
            channels: Channels::default(),
            test_fraction: None,
            damaged: Damaged::default(),
            train_per_class: None,
            test_per_class: None,
        }
    }
}

/// What the folder of test images may be called, in the order they are looked for.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
const HINT: &str = "put the images there, or say with `dir` where they are: `train/CLASS/IMAGE` and `test/CLASS/IMAGE` (or `val`), or \
                    `CLASS/IMAGE` and `test-fraction` says how many of them are to test on";

impl Loader for ImageFolder {
    const NAME: &'static str = "load.folder";
    const SUMMARY: &'static str = "any JPEG and PNG images, in a folder for each class";
    const MANUAL: &'static str = "\
Any images, each class a folder: `DIR/train/CLASS/IMAGE` and `DIR/test/CLASS/IMAGE` (or `val`, `valid`, \
`validation`); or only `DIR/train/CLASS/IMAGE` or `DIR/CLASS/IMAGE`, and `test-fraction` of each class \
is drawn from the stage's seed to test on. Classes are sorted by name, images by their path in the \
folder of the class. JPEG and PNG are read, told by their content; another kind of image is an error, \
other files are passed over.

Images are resized with a bilinear filter as wide as the pixels it makes (antialiased). Transparency \
is left out, 16 bits become 8, grey is 0.299 R + 0.587 G + 0.114 B, and an orientation in the file's \
notes is not followed. Mean and standard deviation are those of the training images. A damaged image \
is one that does not decode or ends before its end; a JPEG with wrong bits inside may decode to \
wrong pixels, which no decoder can tell.

The key holds the names and bytes of all images. Their digests are remembered folder by folder, by \
name, size and dates, so a second plan reads no image.";

    fn streams(&self) -> &'static [&'static str] {
        if self.test_fraction.is_some() { &["split"] } else { &[] }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = too_large(Some(self.size));
        if self.test_fraction.is_some_and(|share| f64::from(share) >= 1.0) {
            let message = "nothing would be left to train on".to_owned();
            problems.push(Problem { setting: "test-fraction".to_owned(), message, hint: None });
        }
        problems
    }

    fn folders(&self) -> Result<Vec<Listed>, Problem> {
        let Some(dir) = &self.dir else {
            let message = "it must be said which folder the images lie in".to_owned();
            return Err(scan::problem(message, &format!("set `dir`: {HINT}")));
        };
        if !dir.is_dir() {
            return Err(scan::problem(format!("there is no folder `{}`", dir.display()), HINT));
        }
        let (most, test_most) =
            (self.train_per_class.map(Count::get), self.test_per_class.map(Count::get));
        let train = dir.join("train");
        let train = if train.is_dir() { train } else { dir.clone() };
        let test = TEST.iter().map(|name| dir.join(name)).find(|path| path.is_dir());
        match (test.filter(|_| train != *dir), self.test_fraction) {
            (Some(test), None) => {
                let mut all = scan::classes(&train, "train", most)?;
                let test = scan::classes(&test, "test", test_most)?;
                known(&all, &test, HINT)?;
                all.extend(test);
                Ok(all)
            }
            (None, Some(_)) => scan::classes(&train, "train", most),
            (Some(test), Some(_)) => {
                let message =
                    format!("there are images to test on already, in `{}`", test.display());
                let (setting, hint) = ("test-fraction".to_owned(), "leave it out".to_owned());
                Err(Problem { setting, message, hint: Some(hint) })
            }
            (None, None) => {
                let message = format!("`{}` has no images to test on", train.display());
                Err(scan::problem(message, HINT))
            }
        }
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let classes = names(ctx.folders(), "train");
        let mut train = labelled(ctx.folders(), "train", &classes)?;
        let test = match self.test_fraction {
            None => labelled(ctx.folders(), "test", &classes)?,
            Some(share) => split(&mut train, share, ctx.streams()),
        };
        let shape =
            ImageShape { size: self.size.get(), resize: self.resize, channels: self.channels.0 };
        let meta = meta(&self.name, classes, shape, None);
        write::put(ctx, meta, Pictures { train, test }, shape, self.damaged)
    }
}

/// Takes `share` of each class out of `all`, rounded, but never the whole of it; both stay in
/// order.
fn split<'a>(all: &mut Vec<Picture<'a>>, share: Fraction, streams: Streams) -> Vec<Picture<'a>> {
    let mut rng = streams.get("split");
    let (mut train, mut test) = (vec![], vec![]);
    for class in all.chunk_by(|one, next| one.label == next.label) {
        let mut order: Vec<u32> = (0..class.len() as u32).collect();
        draw::shuffle(&mut rng, &mut order);
        let taken = &mut order[..share.of(class.len()).min(class.len() - 1)];
        // Positions are distinct.
        taken.sort_unstable();
        for (at, one) in class.iter().enumerate() {
            let picked = taken.binary_search(&(at as u32)).is_ok();
            if picked { test.push(*one) } else { train.push(*one) }
        }
    }
    *all = train;
    test
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_share_of_each_class_is_drawn() {
        let pictures: Vec<Picture<'_>> = [(0, 10), (1, 1), (2, 6)]
            .iter()
            .flat_map(|(label, n)| {
                let file =
                    |at: i32| ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"][at as usize];
                (0..*n).map(move |at| Picture {
                    folder: Path::new(""),
                    file: file(at),
                    label: *label,
                })
            })
            .collect();
        let drawn = |seed| {
            let mut train = pictures.clone();
            let share = Fraction::try_from(0.3).expect("it is a fraction");
            let test = split(&mut train, share, Streams::new(seed, &["split"]));
            (train, test)
        };
        let (train, test) = drawn(1);
        let count =
            |all: &[Picture<'_>], label| all.iter().filter(|one| one.label == label).count();
        assert_eq!([0, 1, 2].map(|label| count(&test, label)), [3, 0, 2]);
        assert_eq!([0, 1, 2].map(|label| count(&train, label)), [7, 1, 4]);
        for split in [&train, &test] {
            assert!(split.is_sorted_by_key(|one| (one.label, one.file)));
            assert!(split.iter().all(|one| pictures.contains(one)));
        }
        assert!(test.iter().all(|one| !train.contains(one)));
        assert!((2..20).any(|seed| drawn(seed) != (train.clone(), test.clone())));
        assert_eq!(drawn(1), (train, test));
    }
}
