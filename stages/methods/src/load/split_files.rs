//! The files of a data set's splits, where settings name them one by one.

use super::file_list::FileList;
use artifacts::formats::column;
use engine::{InputFile, Problem};
use std::path::PathBuf;

/// The files that settings `train`, `train-labels`, `test` and `test-labels` name: one each, or several.
pub(super) struct SplitFiles<'a, F> {
    pub(super) train: Option<&'a F>,
    pub(super) train_labels: Option<&'a F>,
    pub(super) test: Option<&'a F>,
    pub(super) test_labels: Option<&'a F>,
}

impl<'a, F> SplitFiles<'a, F> {
    fn named(&self) -> impl Iterator<Item = (&'static str, &'a F)> {
        let all = [
            ("train", self.train),
            ("train-labels", self.train_labels),
            ("test", self.test),
            ("test-labels", self.test_labels),
        ];
        all.into_iter().filter_map(|(role, files)| Some((role, files?)))
    }

    /// Returns what is wrong with them as a whole; `what` is what they hold, such as `embeddings`.
    pub(super) fn problems(&self, what: &str) -> Vec<Problem> {
        let problem = |setting: &str, message: String, hint: String| Problem {
            setting: setting.to_owned(),
            message,
            hint: Some(hint),
        };
        let no_train = self.train.is_none().then(|| {
            let hint = format!("give the path of a file of {what}");
            problem("train", "setting `train` is required".to_owned(), hint)
        });
        let no_test = (self.test.is_none() && self.test_labels.is_some()).then(|| {
            let message = format!("there are labels to test on, but no {what}");
            problem("test-labels", message, "set `test` too".to_owned())
        });
        no_train.into_iter().chain(no_test).collect()
    }
}

impl SplitFiles<'_, FileList> {
    /// Returns those that are named, by their settings.
    ///
    /// # Errors
    ///
    /// Names the first that is not there.
    pub(super) fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let files = self.named().map(|(role, files)| files.files(role));
        Ok(files.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

impl SplitFiles<'_, PathBuf> {
    /// Returns those that are named, by their settings.
    ///
    /// # Errors
    ///
    /// Names the first that is not there.
    pub(super) fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let file = |(role, path): (&'static str, &PathBuf)| match column::no_file(
            role,
            path,
            "the current directory",
        ) {
            Some(problem) => Err(problem),
            None => Ok(InputFile { role: role.to_owned(), path: path.clone() }),
        };
        self.named().map(file).collect()
    }
}
