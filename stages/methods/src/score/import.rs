//! `score.import`: scores that were computed elsewhere.

use crate::{MethodError, OwnFileError, own_file};
use artifacts::scores::{self, Scores};
use artifacts::{
    formats::{
        ArrayError, DataFile,
        column::{self, Column},
    },
    parts::{self, Parts},
    record::LabelledSamples,
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
    /// The file with one score for each sample of the full training set. Required.
    #[serde(skip_serializing)]
    file: Option<SpecPath>,
    /// The name of the array or column, in files that hold several. Default `scores` or `score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
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

Which kind the file is, is told by its content: NumPy's `.npy` and `.npz`, safetensors, PyTorch's `.pt`, pickles
of arrays, Parquet, Arrow, JSON, CSV, TSV, or one number a line. Of several arrays or columns it is the one
called `score`, or what `column` names. Where the data has ids and the table a column of them (`id`, `uid`,
`sample_id`, `key`), scores are joined by id, and rows of other ids passed over; so they are by any column of texts in which all ids of the data are found. In a table with a column `index`, or a first column without a name as
pandas writes it, each row goes where that says. What can be seen without the data (that the file is there, reads,
and holds no NaN) is checked before anything runs. The path is relative to the pipeline file and not part of the
key: the file's bytes are.

Scores are kept as 32-bit floats, and as 64-bit floats where these would make scores equal that are not, as with large
whole numbers: the log tells, and selectors rank and stratify by all 64 bits.";

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
    /// Returns the scores in the file, and, if it and the `samples` have ids, the row of each of these.
    fn read(
        &self,
        samples: Option<&[String]>,
    ) -> Result<(Vec<f64>, Option<Vec<usize>>), MethodError> {
        let path = self.file.as_ref().ok_or(MethodError::NoSetting("file"))?.path();
        let read = || -> Result<_, OwnFileError> {
            let file = DataFile::open(&path).map_err(ArrayError::from)?;
            let scores = column::doubles_in(&file, Column::Scores, self.column.as_deref())?;
            let rows = samples.map(|samples| own_file::rows(&file, samples)).transpose()?;
            Ok((scores, rows.flatten()))
        };
        read().map_err(|error| MethodError::OwnFile { path: path.clone(), error: Box::new(error) })
    }
}

impl Stage for ImportScores {
    fn method(&self) -> &'static str {
        "score.import"
    }

    // 2: scores that 32 bits cannot tell apart are kept as they are.
    fn revision(&self) -> u32 {
        2
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
        own_file::problems(self.file.as_ref(), || self.read(None))
    }

    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        own_file::files(self.file.as_ref())
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let ground = LabelledSamples::read(ctx, &["data", "proxy"])?;
        let samples = ground.columns(ctx)?.and_then(|columns| columns.ids);
        let (mut found, rows) = self.read(samples.as_deref())?;
        match rows {
            Some(rows) => {
                ctx.log("the scores are joined by id".to_owned());
                found = rows.iter().map(|row| found[*row]).collect();
            }
            None => ground.one_each(found.len(), "scores")?,
        }
        let values = Scores::of_doubles(found);
        if values.exact.is_some() {
            ctx.log(
                "the scores are kept as 64-bit floats: 32 bits would make some equal that are not",
            );
        }
        let values = match self.hard {
            Hard::High => values,
            Hard::Low => values.turned_round(),
        };
        scores::put(ctx, "score.import", &values, ground.shared, ground.classes)
    }
}
