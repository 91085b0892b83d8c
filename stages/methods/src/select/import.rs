//! `select.import`: a subset that was selected elsewhere.

use crate::MethodError;
use artifacts::{
    formats::column::{self, Column, ColumnError},
    parts::{self, Parts},
    record::LabelledSamples,
    subset::Subset,
};
use engine::{
    ArtifactKind, InputFile, Method, Port, Problem, SpecPath, Stage, StageCtx, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the subset is.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ImportSubset {
    /// The file with the positions of the samples to keep, counted from 0 in the full training
    /// set, or with a mask of it. Required.
    #[serde(skip_serializing)]
    file: Option<SpecPath>,
    /// The file with their weights, in the same order, if that is another one.
    #[serde(skip_serializing)]
    weights: Option<SpecPath>,
}

const MANUAL: &str = "\
Takes a subset that another program selected. `data`, `proxy` or `scores` says of which training set it
is: each position must be one of its samples, and none may stand twice. The order of the file does not
matter: a subset is kept sorted.

Which kind the file is, is told by its content: NumPy's `.npy` and `.npz`, safetensors, PyTorch's `.pt`, pickles
of arrays, Parquet, Arrow, JSON, CSV, TSV, or one number a line. Of several arrays or columns it is the one
called `index` or `indices`, and if the samples are weighted `weight` or `weights`; weights of their own file are
read in the same ways. An array of bools is a mask: the samples where it is true are kept. What can be seen without the data (that the file is
there, reads, and has no position twice) is checked before anything runs. Paths are relative to the
pipeline file and not part of the key: the files' bytes are.";

/// Returns the registry entry.
pub(super) fn method() -> Method {
    Method {
        name: "select.import",
        summary: "a subset that was selected elsewhere, from a file",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<ImportSubset>()?)),
        schema: || schemars::schema_for!(ImportSubset),
    }
}

impl ImportSubset {
    /// Returns what the files hold, of at most `n` samples.
    fn read(&self, n: usize) -> Result<Subset, (&'static str, MethodError)> {
        let file = self.file.as_ref().ok_or(("file", MethodError::NoSetting("file")))?;
        let wrong = |setting: &'static str, written: &SpecPath| {
            let path = written.path();
            move |error: ColumnError| {
                (setting, MethodError::OwnFile { path, error: Box::new(error.into()) })
            }
        };
        let found = column::indices(&file.path()).map_err(wrong("file", file))?;
        let weights = match &self.weights {
            Some(written) => Some((written, "weights")),
            None => column::has(&file.path(), Column::Weights).then_some((file, "file")),
        };
        let weights = weights.map(|(written, setting)| {
            column::floats(&written.path(), Column::Weights).map_err(wrong(setting, written))
        });
        let weights = weights.transpose()?;
        column::picked(&found, weights.as_deref(), n).map_err(wrong("file", file))
    }
}

impl Stage for ImportSubset {
    fn method(&self) -> &'static str {
        "select.import"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![
            Port::one_of("data", parts::DATA),
            Port::one_of("proxy", parts::PROXY),
            Port::one_of("scores", parts::SCORES),
        ]
    }

    fn output(&self) -> ArtifactKind {
        parts::SUBSET
    }

    fn problems(&self) -> Vec<Problem> {
        // A file that is not there is told with the others that are not.
        if self.files().is_err() {
            return vec![];
        }
        let most = u32::MAX as usize;
        let problem = |(setting, error): (&str, MethodError)| Problem {
            setting: setting.to_owned(),
            message: error.to_string(),
            hint: None,
        };
        self.read(most).err().map(problem).into_iter().collect()
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        let mut files = vec![];
        for (role, written) in [("file", &self.file), ("weights", &self.weights)] {
            let Some(written) = written else { continue };
            if let Some(problem) = column::missing(role, written) {
                return Err(problem);
            }
            files.push(InputFile { role: role.to_owned(), path: written.path() });
        }
        Ok(files)
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let ground = LabelledSamples::read(ctx, &["data", "proxy", "scores"])?;
        let picked = self.read(ground.labels.len()).map_err(|(_, error)| error)?;
        picked.put(ctx, &ground, picked.len())
    }
}
