//! Which folders are splits, `train`, `Testing` or `val`, and which are classes.

use super::scan::{self, problem};
use engine::Problem;
use std::path::{Path, PathBuf};

/// What the folder of images to train on is called, in lower case.
const TRAIN: [&str; 5] = ["train", "training", "train_set", "training_set", "trainset"];
/// What that of images to test on is called, in the order they are looked for.
const TEST: [&str; 10] = [
    "test",
    "val",
    "valid",
    "validation",
    "testing",
    "test_set",
    "testset",
    "val_set",
    "validation_set",
    "eval",
];

/// The splits in a folder.
pub(super) struct ImageSplits {
    /// The folder of images to train on, if there is one.
    pub(super) train: Option<PathBuf>,
    /// Those of images to test on, the first the one to take.
    pub(super) test: Vec<PathBuf>,
}

impl ImageSplits {
    /// Finds the splits in `dir`.
    ///
    /// # Errors
    ///
    /// Fails if `dir` cannot be read, or has several folders to train on and none is called `train`.
    pub(super) fn find(dir: &Path) -> Result<Self, Problem> {
        let names = scan::folders(dir)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let train = match called(&names, &TRAIN)[..] {
            [] => None,
            [first] | [first @ "train", ..] => Some(inner(dir, first)?),
            [first, second, ..] => {
                let message = format!("`{}` has folders `{first}` and `{second}`", dir.display());
                return Err(problem(message, "call the one to train on `train`"));
            }
        };
        let test: Result<_, _> =
            called(&names, &TEST).iter().map(|name| inner(dir, name)).collect();
        Ok(Self { train, test: test? })
    }
}

/// Returns those of `names` that are among `wanted` in any case, in the order of those.
fn called<'a>(names: &[&'a str], wanted: &[&str]) -> Vec<&'a str> {
    let place = |name: &str| {
        let lower = name.to_lowercase();
        wanted.iter().position(|one| *one == lower).map(|at| (at, lower != *name))
    };
    let mut found: Vec<_> = names.iter().filter_map(|name| Some((place(name)?, *name))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Returns the first of `names` to train on, and the first to test on.
pub(super) fn named<'a>(
    names: impl Iterator<Item = &'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    let names: Vec<&str> = names.collect();
    (called(&names, &TRAIN).first().copied(), called(&names, &TEST).first().copied())
}

/// Returns the folder called `name` in `dir`, or the one of the same name in it, as some archives unpack.
fn inner(dir: &Path, name: &str) -> Result<PathBuf, Problem> {
    let outer = dir.join(name);
    let inside = scan::folders(&outer)?;
    Ok(if inside == [name] { outer.join(name) } else { outer })
}

/// Checks that the folders in `dir` are classes.
///
/// # Errors
///
/// Fails if they are called like splits, or the first of them has splits in it.
pub(super) fn check_classes(dir: &Path) -> Result<(), Problem> {
    let names = scan::folders(dir)?;
    let is_split = |name: &&String| {
        let lower = name.to_lowercase();
        TRAIN.contains(&lower.as_str()) || TEST.contains(&lower.as_str())
    };
    let splits: Vec<&str> = names.iter().filter(is_split).map(String::as_str).collect();
    if splits.len() > 1 || (!splits.is_empty() && splits.len() == names.len()) {
        let named: Vec<String> = splits.iter().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "`{}` has {}, which look like splits, not like classes",
            dir.display(),
            named.join(", ")
        );
        let hint = "call the folder to train on `train` and the one to test on `test`; where they are classes, \
                    rename them";
        return Err(problem(message, hint));
    }
    let Some(first) = names.first() else { return Ok(()) };
    let inside = dir.join(first);
    let splits = ImageSplits::find(&inside)?;
    match (&splits.train, &splits.test[..]) {
        (Some(_), _) if names.len() == 1 => {
            let message = format!("the splits are one folder below `{}`", dir.display());
            let hint = format!("set `dir = {:?}`", inside.display().to_string());
            Err(problem(message, &hint))
        }
        (Some(train), [test, ..]) => {
            let (train, test) = (train.display(), test.display());
            let message = format!("`{train}` and `{test}` are splits inside of a class");
            Err(problem(message, "put the classes into the splits: `train/cat`, `test/cat`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn splits_are_found_in_any_case_and_below_their_own_name() {
        let scratch = Scratch::new("splits");
        for name in ["Testing/cat", "Training/cat", "val/cat"] {
            scratch.write(&format!("{name}/1.jpg"), b"");
        }
        let found = ImageSplits::find(scratch.path()).expect("one is to train on");
        assert_eq!(found.train, Some(scratch.path().join("Training")));
        assert_eq!(found.test, [scratch.path().join("val"), scratch.path().join("Testing")]);
        scratch.write("train/train/cat/1.jpg", b"");
        let found = ImageSplits::find(scratch.path()).expect("`train` comes first");
        assert_eq!(found.train, Some(scratch.path().join("train/train")));
        std::fs::rename(scratch.path().join("train"), scratch.path().join("Train")).expect("moved");
        assert!(ImageSplits::find(scratch.path()).is_err());
    }

    #[test]
    fn splits_are_no_classes() {
        let scratch = Scratch::new("splits-classes");
        let check = || check_classes(scratch.path()).map_err(|problem| problem.message);
        scratch.write("cat/1.jpg", b"");
        scratch.write("test/1.jpg", b"");
        assert_eq!(check(), Ok(()), "a single class may be called `test`");
        scratch.write("Valid/1.jpg", b"");
        let found = check().expect_err("two look like splits");
        assert!(found.ends_with("has `Valid`, `test`, which look like splits, not like classes"));
        let inside = Scratch::new("splits-inside");
        for name in ["cat/train", "cat/test", "dog/train", "dog/test"] {
            inside.write(&format!("{name}/1.jpg"), b"");
        }
        let problem = check_classes(inside.path()).expect_err("the splits are in the classes");
        assert!(problem.message.ends_with("are splits inside of a class"), "{}", problem.message);
        let below = Scratch::new("splits-below");
        below.write("archive/Train/cat/1.jpg", b"");
        let problem = check_classes(below.path()).expect_err("they are one folder below");
        assert!(problem.hint.expect("there is one").contains("archive"));
    }
}
