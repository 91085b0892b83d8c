//! The files of a data set's splits, where settings name them one by one.

use artifacts::formats::column;
use engine::{InputFile, Problem};
use std::path::PathBuf;

/// The files that settings `train`, `train-labels`, `test` and `test-labels` name.
pub(super) struct SplitFiles<'a> {
    pub(super) train: Option<&'a PathBuf>,
    pub(super) train_labels: Option<&'a PathBuf>,
    pub(super) test: Option<&'a PathBuf>,
    pub(super) test_labels: Option<&'a PathBuf>,
}

impl SplitFiles<'_> {
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

    /// Returns those that are named, by their settings.
    ///
    /// # Errors
    ///
    /// Names the first that is not there.
    pub(super) fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let named = [
            ("train", self.train),
            ("train-labels", self.train_labels),
            ("test", self.test),
            ("test-labels", self.test_labels),
        ];
        let mut files = vec![];
        for (role, path) in named {
            let Some(path) = path else { continue };
            if let Some(problem) = column::no_file(role, path, "the current directory") {
                return Err(problem);
            }
            files.push(InputFile { role: role.to_owned(), path: path.clone() });
        }
        Ok(files)
    }
}
