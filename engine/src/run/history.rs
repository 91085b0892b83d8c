//! Pipeline files and their runs, recognised also after a file was renamed or moved; and the
//! results that tables and reports last used, which garbage collection keeps.

use super::runs::{FOLDER, RunRecord};
use crate::{Plan, PlanCell};
use cache::{Digest, Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A pipeline file: the paths, text and stage names by which its runs are recognised.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// Its paths: canonical, and absolute as it was named.
    paths: Vec<PathBuf>,
    text: Option<String>,
    stages: BTreeSet<String>,
}

impl PipelineFile {
    /// Returns the file `plan` was read from.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let text = plan.sources.first().map(|source| source.text.clone());
        let stages = plan.cells.iter().flat_map(PlanCell::stages);
        let stages = stages.map(|(name, _)| name.to_string()).collect();
        Self { paths: paths(&plan.path), text, stages }
    }

    /// Returns the file at `path`, which need not exist any more.
    #[must_use]
    pub fn at_path(path: &Path) -> Self {
        let text = fs::read_to_string(path).ok();
        Self { paths: paths(path), text, stages: BTreeSet::new() }
    }

    /// Tells whether `run` was one of this file: by its path, or, if no file is at the path of the
    /// run any more, by the same text or the same stage names.
    #[must_use]
    pub fn ran(&self, run: &RunRecord) -> bool {
        let then = Path::new(&run.pipeline);
        if self.paths.iter().any(|path| path == then) {
            return true;
        }
        // A copy of a file that still exists is another pipeline.
        if then.exists() {
            return false;
        }
        let text = run.sources.first().map(|source| &source.text);
        let stages: BTreeSet<&str> = run.nodes.iter().map(|node| node.label.as_str()).collect();
        let same_stages = !self.stages.is_empty()
            && stages.len() == self.stages.len()
            && self.stages.iter().all(|stage| stages.contains(stage.as_str()));
        (text.is_some() && text == self.text.as_ref()) || same_stages
    }
}

fn paths(path: &Path) -> Vec<PathBuf> {
    let absolute = std::path::absolute(path).ok();
    fs::canonicalize(path).ok().into_iter().chain(absolute).collect()
}

/// The results that a table or report of a pipeline last used. Garbage collection counts it as a
/// use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultUse {
    /// The pipeline file.
    pub pipeline: String,
    /// The time of the use, in milliseconds since 1970 (UTC).
    pub at: u64,
    /// The keys of the results.
    pub keys: BTreeSet<Key>,
}

/// The suffix of the names of documents that hold uses.
const END: &str = ".use";

impl ResultUse {
    /// Notes that the results `keys` of `pipeline` were used at `at`, in place of its last use. A
    /// read-only store keeps no note.
    pub fn note(store: &Store, pipeline: &Path, at: u64, keys: BTreeSet<Key>) {
        if store.is_read_only() || keys.is_empty() {
            return;
        }
        let pipeline = full_path(pipeline);
        let name = format!("{}{END}", &Digest::of(pipeline.as_bytes()).to_string()[..16]);
        let noted = serde_json::to_vec(&Self { pipeline, at, keys });
        let bytes = noted.expect("a use has no map with odd keys");
        // Ignored: a note that is lost only makes its results collectable.
        let _ = store.put_document(FOLDER, &name, &bytes);
    }

    /// Returns the uses noted in `store`, newest first. One that does not decode is left out.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot be read.
    pub fn list(store: &Store) -> Result<Vec<Self>, StoreError> {
        let mut all: Vec<Self> = vec![];
        for name in store.documents(FOLDER)?.iter().filter(|name| name.ends_with(END)) {
            all.extend(serde_json::from_slice::<Self>(&store.document(FOLDER, name)?).ok());
        }
        // Ties go by the name of the pipeline.
        all.sort_by(|one, other| {
            other.at.cmp(&one.at).then_with(|| one.pipeline.cmp(&other.pipeline))
        });
        Ok(all)
    }
}

/// Returns the path of a pipeline as run records hold it: canonical, if it exists.
pub(crate) fn full_path(path: &Path) -> String {
    paths(path).into_iter().next().unwrap_or_else(|| path.to_owned()).display().to_string()
}
