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
`sample_id`, `key`), scores are joined by id, and rows of other ids passed over. In a table with a column `index`, or a first column without a name as
pandas writes it, each row goes where that says. What can be seen without the data (that the file is there, reads,
and holds no NaN) is checked before anything runs. The path is relative to the pipeline file and not part of the
key: the file's bytes are.

Scores are kept as 32-bit floats. Where these would make scores equal that are not, as with large whole numbers,
the smallest is taken off all first; where that does not do, their ranks are kept. The log tells.";

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
        let (found, narrowing) = narrowed(&found);
        match narrowing {
            Narrowing::None => {}
            Narrowing::Shifted(by) => ctx.log(format!(
                "{by} is taken off every score: 32-bit floats would have made some equal that are not"
            )),
            Narrowing::Ranked => ctx.log(
                "the ranks of the scores are kept: 32-bit floats would have made some equal that are not"
                    .to_owned(),
            ),
        }
        let values = match self.hard {
            Hard::High => Scores::harder_when_high(found),
            Hard::Low => Scores::harder_when_low(found),
        };
        scores::put(ctx, "score.import", &values, ground.shared, ground.classes)
    }
}

/// What became of scores on the way to 32 bits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Narrowing {
    /// They were rounded, none to another.
    None,
    /// So much was taken off first.
    Shifted(f64),
    /// Their ranks stand for them.
    Ranked,
}

/// Returns scores as f32, so that no two become equal that are not.
fn narrowed(values: &[f64]) -> (Vec<f32>, Narrowing) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.dedup();
    let apart = |off: f64| {
        sorted.windows(2).all(|pair| ((pair[0] - off) as f32) < ((pair[1] - off) as f32))
    };
    let rounded = |off: f64| values.iter().map(|value| (value - off) as f32).collect();
    let least = sorted.first().copied().unwrap_or(0.0);
    match () {
        () if apart(0.0) => (rounded(0.0), Narrowing::None),
        () if apart(least) => (rounded(least), Narrowing::Shifted(least)),
        () => {
            let rank = |value: &f64| sorted.partition_point(|one| one < value) as f32;
            (values.iter().map(rank).collect(), Narrowing::Ranked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_that_differ_stay_apart() {
        assert_eq!(narrowed(&[2.5, -1.0, 2.5]), (vec![2.5, -1.0, 2.5], Narrowing::None));
        // Beyond 2^24 a 32-bit float has no odd numbers.
        let large = [16_777_217.0, 16_777_216.0, 16_777_219.0];
        assert_eq!(narrowed(&large), (vec![1.0, 0.0, 3.0], Narrowing::Shifted(16_777_216.0)));
        // Both ends of a range that no shift helps.
        let wide = [0.0, 1e15, 1e15 + 1.0, 1e15];
        assert_eq!(narrowed(&wide), (vec![0.0, 1.0, 2.0, 1.0], Narrowing::Ranked));
    }
}
