//! What is done to a data set before anything is trained on it: `corrupt.*`.
//!
//! Only training labels are touched; the samples stay one object with the clean data set's.

mod labels;

use artifacts::dataset;
use artifacts::parts::{DATA, Parts};
use engine::{ArtifactKind, Method, Port, Stage, StageCtx, StageError};
use schemars::schema_for;
use serde::Deserialize;
use serde_json::{Value, json};

/// Returns every way to corrupt a data set.
pub(crate) fn methods() -> Vec<Method> {
    vec![
        Method {
            name: "corrupt.labels",
            summary: "gives a share of the training samples a wrong label",
            manual: labels::MANUAL,
            parse: |with| Ok(Box::new(with.read::<labels::Labels>()?)),
            schema: || schema_for!(labels::Labels),
        },
        Method {
            name: "corrupt.none",
            summary: "passes the data on as it is",
            manual: "Passes the data on as it is, so that a matrix can compare corrupted labels \
                     with clean ones: its output is its input, and what was done with that is not \
                     done again. It takes the settings of corrupt.labels and ignores them, so that a \
                     variant can change the method alone.",
            parse: |with| Ok(Box::new(with.read::<Untouched>()?)),
            schema: || schema_for!(labels::Labels),
        },
    ]
}

/// What is set for the other method is allowed here and changes nothing.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
struct Untouched {
    _ignored: labels::Labels,
}

impl Stage for Untouched {
    fn method(&self) -> &'static str {
        "corrupt.none"
    }

    fn revision(&self) -> u32 {
        1
    }

    fn settings(&self) -> Value {
        json!({})
    }

    fn inputs(&self) -> Vec<Port> {
        vec![Port::one("data", DATA)]
    }

    fn output(&self) -> ArtifactKind {
        DATA
    }

    fn run(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        Ok(dataset::input(ctx, "data")?.parts.clone())
    }
}
