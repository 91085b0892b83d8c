//! `score.import`: scores that were computed elsewhere.

use crate::{MethodError, own_file};
use artifacts::scores::{self, Scores};
use artifacts::{
    formats::column::{self, Column},
    parts::{self, Parts},
    record,
};
use engine::{
    ArtifactKind, InputFile, Method, Port, Problem, SpecPath, Stage, StageCtx, StageError,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the scores are, and which way they run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct ImportScores {
    /// The file with one score for each sample of the full training set, in its order: `.npy`,
    /// safetensors, `.json`, `.csv` or `.txt`. Required.
    #[serde(skip_serializing)]
    file: Option<SpecPath>,
    /// Which end of the scores is the hard one: `high` or `low`. Scores that run the other way
    /// are turned round, and kept as they are beside.
    hard: Hard,
}

/// An end of the scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Hard {
    #[default]
    High,
    Low,
}

const MANUAL: &str = "\
Takes scores that another program computed. `data` or `proxy` says of which training set they are: there
must be one finite number for each of its samples, in their order.

A `.npy` file holds one array of numbers; safetensors a tensor `scores`; JSON a list; `.csv` and `.txt` one
number a line, or a column called `score` (with a column `index` beside it, the rows must stand in its
order). What can be seen without the data (that the file is there, reads, and holds no NaN) is checked
before anything runs. The path is relative to the pipeline file and not part of the key: the file's bytes
are.";

/// Returns the registry entry.
pub(super) fn method() -> Method {
    Method {
        name: "score.import",
        summary: "scores that were computed elsewhere, from a file",
        manual: MANUAL,
        parse: |with| Ok(Box::new(with.read::<ImportScores>()?)),
        schema: || schemars::schema_for!(ImportScores),
    }
}

impl ImportScores {
    fn read(&self) -> Result<Vec<f32>, MethodError> {
        let path = self.file.as_ref().ok_or(MethodError::NoSetting("file"))?.path();
        let found = column::floats(&path, Column::Scores);
        found.map_err(|error| MethodError::OwnFile { path, error: Box::new(error.into()) })
    }
}

impl Stage for ImportScores {
    fn method(&self) -> &'static str {
        "score.import"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!(self)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one_of("data", parts::DATA), Port::one_of("proxy", parts::PROXY)]
    }

    fn output(&self) -> ArtifactKind {
        parts::SCORES
    }

    fn problems(&self) -> Vec<Problem> {
        own_file::problems(self.file.as_ref(), || self.read())
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        own_file::files(self.file.as_ref())
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let ground = record::LabelledSamples::read(ctx, &["data", "proxy"])?;
        let found = self.read()?;
        ground.one_each(found.len(), "scores")?;
        let values = match self.hard {
            Hard::High => Scores::harder_when_high(found),
            Hard::Low => Scores::harder_when_low(found),
        };
        scores::put(ctx, "score.import", &values, ground.blob, ground.classes)
    }
}
