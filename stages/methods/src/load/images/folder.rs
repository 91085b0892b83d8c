//! `load.folder`: any images, sorted into a folder for each class.

use super::{
    super::{Loader, aside},
    Channels,
    decode::{ImageShape, Resize},
    known, labelled, meta, names,
    scan::{self, EmptyClasses, FolderSearch},
    splits::{self, ImageSplits},
    too_large,
    write::{self, Damaged, Pictures},
};
use artifacts::{
    parts::Parts,
    units::{Count, Fraction},
};
use engine::{InputFolder as Listed, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// What becomes of a damaged image, a link to nothing and a name that is not text: `refuse` is an
    /// error that names them all, `skip` leaves them out and logs them.
    damaged: Damaged,
    /// What becomes of the folder of a class without an image: `refuse` is an error, `keep` makes it a
    /// class without samples, which the log names.
    // Left out where it is the default, so that older keys hold.
    #[serde(skip_serializing_if = "EmptyClasses::is_refused")]
    empty_classes: EmptyClasses,
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
            empty_classes: EmptyClasses::default(),
            train_per_class: None,
            test_per_class: None,
        }
    }
}

const HINT: &str = "put the images there, or say with `dir` where they are: `train/CLASS/IMAGE` and `test/CLASS/IMAGE` (or `val`), or \
                    `CLASS/IMAGE` and `test-fraction` says how many of them are to test on";

impl Loader for ImageFolder {
    const NAME: &'static str = "load.folder";
    // 2: the files' names are kept as ids.
    const REVISION: u32 = 2;
    const SUMMARY: &'static str = "any images, in a folder for each class";
    const MANUAL: &'static str = "\
Any images, each class a folder: `DIR/train/CLASS/IMAGE` and `DIR/test/CLASS/IMAGE` (or `val`, `valid`, \
`validation`, `Training` and `Testing`, in any case); or only `DIR/train/CLASS/IMAGE` or `DIR/CLASS/IMAGE`, \
and `test-fraction` of each class is drawn from the stage's seed to test on. A folder to test on without \
folders of classes in it, or of other classes than those to train on, is passed over if there is another. \
Classes are sorted by name, images by their path in the folder of the class.

JPEG, PNG, GIF, WebP, BMP, TIFF and PNM are read, also inside gzip, told by their content, whatever the files \
are called; of a film the first picture is read. Files called like images that are none, and images of kinds that \
are not read (HEIF, AVIF, JPEG 2000, JPEG XL), count as damaged. Other files are passed over, as are hidden \
ones and what systems leave behind (`__MACOSX`, `Thumbs.db`). Links are followed; a folder is read once, so \
one that leads back is passed over. The log says how many samples of each class were loaded, and what was passed over.

Images are resized with a bilinear filter as wide as the pixels it makes (antialiased). Transparency \
is left out, 16 bits become 8, grey is 0.299 R + 0.587 G + 0.114 B, and an orientation in the file's \
notes is not followed, as by `PIL.Image.open` and torchvision. Mean and standard deviation are those of the training images. A damaged image \
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
        let found = ImageSplits::find(dir)?;
        let train = found.train.as_deref().unwrap_or(dir);
        if found.train.is_none() {
            splits::check_classes(dir)?;
        }
        let (damaged, empty) = (self.damaged, self.empty_classes);
        let most = self.train_per_class.map(Count::get);
        let mut all = FolderSearch { most, damaged, empty }.classes(train, "train")?;
        let most = self.test_per_class.map(Count::get);
        let test = match &found.test[..] {
            _ if found.train.is_none() => None,
            [] => None,
            tests => self.test(tests, &all, FolderSearch { most, damaged, empty })?,
        };
        match (test, self.test_fraction) {
            (Some(test), None) => {
                known(&all, &test, HINT)?;
                all.extend(test);
                Ok(all)
            }
            (None, Some(_)) => Ok(all),
            (Some(test), Some(_)) => {
                let place = test.first().and_then(|one| one.path.parent()).unwrap_or(dir);
                let message =
                    format!("there are images to test on already, in `{}`", place.display());
                let hint = format!("leave it out: `{}` is what is trained on", train.display());
                let setting = "test-fraction".to_owned();
                Err(Problem { setting, message, hint: Some(hint) })
            }
            (None, None) => Err(no_test(train, &found.test)),
        }
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let classes = names(ctx.folders(), "train");
        let mut train = labelled(ctx.folders(), "train", &classes)?;
        let test = match self.test_fraction {
            None => labelled(ctx.folders(), "test", &classes)?,
            Some(share) => aside::split(&mut train, |one| one.label, share, ctx.streams()),
        };
        let shape =
            ImageShape { size: self.size.get(), resize: self.resize, channels: self.channels.0 };
        let meta = meta(&self.name, classes, shape, None);
        write::put(ctx, meta, Pictures { train, test, named_by_class: true }, shape, self.damaged)
    }
}

impl ImageFolder {
    /// Returns the classes in the first of the folders `tests` that has some of those in `train`; of one alone
    /// whatever it has. `None` if none has a folder of a class.
    fn test(
        &self,
        tests: &[PathBuf],
        train: &[Listed],
        search: FolderSearch,
    ) -> Result<Option<Vec<Listed>>, Problem> {
        let mut first = None;
        for dir in tests {
            let names = scan::folders(dir)?;
            if names.iter().any(|name| train.iter().any(|one| one.name == *name)) {
                return search.classes(dir, "test").map(Some);
            }
            if first.is_none() && !names.is_empty() {
                first = Some(dir);
            }
        }
        first.map(|dir| search.classes(dir, "test")).transpose()
    }
}

fn no_test(train: &Path, tests: &[PathBuf]) -> Problem {
    let Some(test) = tests.first() else {
        return scan::problem(format!("`{}` has no images to test on", train.display()), HINT);
    };
    let message = format!("`{}` has no folder of a class in it", test.display());
    let hint = "images without classes cannot be tested on: `test-fraction` says how many of those to train on are \
                put aside";
    scan::problem(message, hint)
}
