//! The stage around a corruption that is a function of a whole data set.

use artifacts::{
    dataset::{self, Dataset},
    parts::{DATA, Parts},
};
use engine::{ArtifactKind, Method, Port, Problem, Stage, StageCtx, StageError, Streams};
use schemars::{JsonSchema, schema_for};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// A way to corrupt the samples of a data set: its settings, and what makes the other data set.
pub(super) trait Corruption:
    Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The name in a pipeline file.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// The manual.
    const MANUAL: &'static str;
    /// The revision of its results.
    const REVISION: u32 = 1;
    /// The random streams it draws from.
    const STREAMS: &'static [&'static str];

    /// Returns what is wrong with the settings as a whole.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns the corrupted data set, and a line on what was done; `None` where nothing was.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be applied to this data set.
    fn corrupt(&self, data: Dataset, streams: Streams) -> Result<Option<Corrupted>, StageError>;
}

/// A corrupted data set, and a line on what was done.
pub(super) struct Corrupted {
    pub(super) data: Dataset,
    pub(super) log: String,
}

/// Returns the registry entry of a corruption.
pub(super) fn method<C: Corruption>() -> Method {
    Method {
        name: C::NAME,
        summary: C::SUMMARY,
        manual: C::MANUAL,
        parse: |with| Ok(Box::new(CorruptStage(with.read::<C>()?))),
        schema: || schema_for!(C),
    }
}

struct CorruptStage<C>(C);

impl<C: Corruption> Stage for CorruptStage<C> {
    fn method(&self) -> &'static str {
        C::NAME
    }

    fn revision(&self) -> u32 {
        C::REVISION
    }

    fn settings(&self) -> Value {
        json!(self.0)
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn streams(&self) -> &'static [&'static str] {
        C::STREAMS
    }

    fn problems(&self) -> Vec<Problem> {
        self.0.problems()
    }
    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        match self.0.corrupt(Dataset::read(ctx, "data")?, ctx.streams())? {
            Some(Corrupted { data, log }) => {
                ctx.log(log);
                data.put(ctx)
            }
            None => Ok(dataset::input(ctx, "data")?.parts.clone()),
        }
    }
}
