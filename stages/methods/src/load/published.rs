//! A well-known data set that lies on disk: where it is looked for, and the stage that reads it.

use super::{Loaded, Loader};
use artifacts::{parts::Parts, units::Count};
use engine::{InputFile, Problem, StageCtx, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    iter,
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// Settings of every data set that is read from a folder.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[schemars(inline)]
pub(super) struct PublishedFolder {
    /// The folder the files lie in, or the archive that holds them, relative to the current directory. Without
    /// it, the usual places are searched. Not part of the key: the files' bytes are.
    // Skipped on the way out: what is written is what is keyed.
    #[serde(skip_serializing)]
    dir: Option<PathBuf>,
    /// Keep only the first so many training samples, in the order of the files.
    train_limit: Option<Count>,
    /// Keep only the first so many test samples, in the order of the files.
    test_limit: Option<Count>,
}

/// One file of a data set.
pub(super) struct WantedFile {
    /// What it is to the stage.
    pub(super) role: &'static str,
    /// The names it goes by, the usual one first.
    pub(super) names: &'static [&'static str],
}

/// What there is to know about a data set before it is read.
pub(super) struct Published {
    pub(super) method: &'static str,
    /// Its name as people write it.
    pub(super) title: &'static str,
    /// The folders searched, in this order.
    pub(super) places: &'static [&'static str],
    /// The folders below `dir` searched: where archives unpack to.
    pub(super) nested: &'static [&'static str],
    pub(super) files: &'static [WantedFile],
    /// The archives that hold all of the files, by the names they are downloaded under. One that lies in a
    /// folder searched, or above it, is read where the files are not found unpacked.
    pub(super) archives: &'static [&'static str],
    /// What to get, and where to put it.
    pub(super) hint: &'static str,
    pub(super) read: fn(&[InputFile]) -> Result<Loaded, StageError>,
}

impl Published {
    /// Returns the files, all from one folder; or the archive that holds them, in the role [`ARCHIVE`].
    ///
    /// # Errors
    ///
    /// Names each folder that was searched, and what the best of them lacks.
    pub(super) fn find(&self, dir: Option<&Path>) -> Result<Vec<InputFile>, Problem> {
        let places: Vec<PathBuf> = match dir {
            Some(dir) => self.nested.iter().map(|below| dir.join(below)).collect(),
            None => self.places.iter().map(PathBuf::from).collect(),
        };
        let mut best: (usize, String) = (0, String::new());
        for place in &places {
            let found = self.files.iter().map(|one| one.find(place));
            let missing = self.files.iter().find(|one| one.find(place).is_none());
            let Some(missing) = missing else { return Ok(found.flatten().collect()) };
            let count = found.flatten().count();
            if count > best.0 {
                let (place, name) = (place.display(), missing.names[0]);
                best = (count, format!("; `{place}` has other files of it, but no `{name}`"));
            }
        }
        if let Some(path) = self.archive(dir, &places) {
            return Ok(vec![InputFile { role: ARCHIVE.to_owned(), path }]);
        }
        let names: Vec<_> = places.iter().map(|one| format!("`{}`", tidy(one))).collect();
        let message = format!("{} is not in {}{}", self.title, names.join(", "), best.1);
        Err(Problem { setting: "dir".to_owned(), message, hint: Some(self.hint.to_owned()) })
    }

    fn archive(&self, dir: Option<&Path>, places: &[PathBuf]) -> Option<PathBuf> {
        if let Some(file) = dir.filter(|dir| dir.is_file() && !self.archives.is_empty()) {
            return Some(file.to_owned());
        }
        let above = places.iter().filter(|_| dir.is_none()).filter_map(|place| place.parent());
        let folders = places.iter().map(PathBuf::as_path).chain(above);
        let mut paths = folders.flat_map(|place| self.archives.iter().map(|name| place.join(name)));
        paths.find(|path| path.is_file())
    }
}

/// The role of an archive that holds all files of a data set.
pub(super) const ARCHIVE: &str = "archive";

// `join("")` leaves a slash behind.
fn tidy(path: &Path) -> String {
    path.components().collect::<PathBuf>().display().to_string()
}

impl WantedFile {
    fn find(&self, place: &Path) -> Option<InputFile> {
        // Some archives unpack to a folder for each file, of the file's own name.
        let paths = self.names.iter().flat_map(|name| {
            let inside = self.names.iter().map(move |inner| place.join(name).join(inner));
            iter::once(place.join(name)).chain(inside)
        });
        let path = paths.into_iter().find(|path| path.is_file())?;
        Some(InputFile { role: self.role.to_owned(), path })
    }
}

/// A published data set: a marker with its manual.
pub(super) trait PublishedSet: Send + Sync + 'static {
    /// What it is, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// Where it is looked for, and what reads it.
    const SET: Published;
}

/// A published data set that lies in a folder.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent, bound = "")]
#[schemars(transparent, bound = "")]
pub(super) struct OnDisk<S> {
    settings: PublishedFolder,
    #[serde(skip)]
    set: PhantomData<S>,
}

impl<S: PublishedSet> Loader for OnDisk<S> {
    const NAME: &'static str = S::SET.method;
    const SUMMARY: &'static str = S::SUMMARY;
    const MANUAL: &'static str = S::MANUAL;

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        S::SET.find(self.settings.dir.as_deref())
    }

    fn load(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let mut loaded = (S::SET.read)(ctx.files())?;
        ctx.check_cancelled()?;
        loaded.limit(self.settings.train_limit, self.settings.test_limit);
        loaded.put(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;
    use serde_json::json;

    const SET: Published = Published {
        method: "load.pair",
        title: "the pair",
        places: &["no/such/place", "nor/this"],
        nested: &["", "unpacked"],
        files: &[
            WantedFile { role: "a", names: &["a", "a.gz"] },
            WantedFile { role: "b", names: &["b"] },
        ],
        archives: &["pair.tar.gz"],
        hint: "get it",
        read: |_| Err(crate::MethodError::NoInput.into()),
    };

    #[test]
    fn a_missing_set_names_every_place() {
        let problem = SET.find(None).expect_err("it is nowhere");
        assert_eq!(problem.setting, "dir");
        assert_eq!(problem.message, "the pair is not in `no/such/place`, `nor/this`");
        assert_eq!(problem.hint.as_deref(), Some("get it"));
    }

    #[test]
    fn all_files_come_from_one_folder() {
        let scratch = Scratch::new("published");
        scratch.write("a", b"");
        let problem = SET.find(Some(scratch.path())).expect_err("b is missing");
        assert!(problem.message.ends_with("has other files of it, but no `b`"), "{problem:?}");
        scratch.write("unpacked/a.gz", b"");
        let archive = scratch.write("unpacked/pair.tar.gz", b"");
        let files = SET.find(Some(scratch.path())).expect("the archive is there");
        let found = [InputFile { role: ARCHIVE.to_owned(), path: archive.clone() }];
        assert_eq!(files, found);
        assert_eq!(SET.find(Some(&archive)).expect("the archive is named"), found);
        let b = scratch.write("unpacked/b/b", b"");
        let files = SET.find(Some(scratch.path())).expect("both are in the folder below");
        assert_eq!(files[1], InputFile { role: "b".to_owned(), path: b });
        assert!(files[0].path.ends_with("unpacked/a.gz"));
    }

    #[test]
    fn the_folder_is_not_keyed() {
        let settings = PublishedFolder {
            dir: Some("x".into()),
            train_limit: Count::try_from(9).ok(),
            test_limit: None,
        };
        assert_eq!(json!(settings), json!({"train-limit": 9, "test-limit": null}));
    }
}
