//! Which runs are of a pipeline file, also after it was renamed or its folder moved; and which
//! results its tables and reports were last made of.

use super::runs::{FOLDER, RunRecord};
use crate::{Plan, PlanCell};
use cache::{Digest, Key, Store, StoreError};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A pipeline file, by all that tells its runs from those of others.
#[derive(Clone, Debug)]
pub struct PipelineFile {
    /// Where it is: through links, and as it was named.
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

    /// Returns the file at `path`, which need not be there any more.
    #[must_use]
    pub fn at_path(path: &Path) -> Self {
        let text = fs::read_to_string(path).ok();
        Self { paths: paths(path), text, stages: BTreeSet::new() }
    }

    /// Tells whether `run` was one of this file: by its path, or, where nothing is at the path of
    /// the run any more, by the same text or the same stages.
    #[must_use]
    pub fn ran(&self, run: &RunRecord) -> bool {
        let then = Path::new(&run.pipeline);
        if self.paths.iter().any(|path| path == then) {
            return true;
        }
        // A copy beside the original is another pipeline; what was moved has no original.
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

/// The results a table or a report was last made of: a use, as far as a collection is concerned.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResultUse {
    /// The pipeline file.
    pub pipeline: String,
    /// When, in milliseconds since 1970 (UTC).
    pub at: u64,
    /// The results.
    pub keys: BTreeSet<Key>,
}

/// The end of the names of documents that hold them.
const END: &str = ".use";

impl ResultUse {
    /// Notes that the results `keys` of `pipeline` were used at `at`, in place of its last use. A
    /// store that cannot be written forgets it.
    pub fn note(store: &Store, pipeline: &Path, at: u64, keys: BTreeSet<Key>) {
        if store.is_read_only() || keys.is_empty() {
            return;
        }
        let pipeline = full_path(pipeline);
        let name = format!("{}{END}", &Digest::of(pipeline.as_bytes()).to_string()[..16]);
        let noted = serde_json::to_vec(&Self { pipeline, at, keys });
        let bytes = noted.expect("a use has no map with odd keys");
        // It is a courtesy to what is collected later, and no part of the answer.
        let _ = store.put_document(FOLDER, &name, &bytes);
    }

    /// Returns the uses that are noted in `store`, the newest first. One that does not read is
    /// passed over.
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

/// Returns the path of a pipeline as run records hold it: whole, and through links.
pub(crate) fn full_path(path: &Path) -> String {
    paths(path).into_iter().next().unwrap_or_else(|| path.to_owned()).display().to_string()
}
