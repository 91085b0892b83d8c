//! What a program left in `out/`, checked and taken into the store.

use super::{Command, OutError, Output, is_file};
use crate::MethodError;
use artifacts::{
    formats::column::{self, Column},
    parts::{self, Parts},
    record::LabelledSamples,
    scores::{self, Scores},
};
use engine::{StageCtx, StageError};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// In which forms a list of numbers may come.
const LISTS: [&str; 5] = ["npy", "safetensors", "json", "csv", "txt"];

/// Returns the error of a file in `out/` that is not what it should be.
pub(super) fn wrong(path: &Path, error: impl Into<OutError>) -> MethodError {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    MethodError::Answer { name, error: Box::new(error.into()) }
}

/// Returns the bytes of `out/NAME`.
pub(super) fn read(out: &Path, name: &str) -> Result<Vec<u8>, MethodError> {
    let path = out.join(name);
    if !is_file(&path) {
        return Err(absent(out, name.to_owned()));
    }
    cache::retrying(|| std::fs::read(&path)).map_err(|error| wrong(&path, OutError::Unread(error)))
}

/// Returns the file called `name` in one of the forms of a list.
fn list(out: &Path, name: &str) -> Result<Option<PathBuf>, MethodError> {
    let paths = LISTS.into_iter().map(|end| out.join(format!("{name}.{end}")));
    let found: Vec<PathBuf> = paths.filter(|path| is_file(path)).collect();
    match &found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        [one, two, ..] => {
            let other = two.file_name().unwrap_or_default().to_string_lossy();
            Err(wrong(one, OutError::Twice(other.into_owned())))
        }
    }
}

fn absent(out: &Path, wanted: String) -> MethodError {
    let entries = std::fs::read_dir(out).into_iter().flatten().flatten();
    let mut left: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    left.sort();
    MethodError::NoAnswer { wanted, left }
}

fn needed(out: &Path, name: &str) -> Result<PathBuf, MethodError> {
    list(out, name)?.ok_or_else(|| absent(out, format!("{name}.npy")))
}

impl Command {
    /// Takes the answer.
    pub(super) fn answer(
        &self,
        ctx: &StageCtx<'_>,
        out: &Path,
        ground: Option<&LabelledSamples>,
    ) -> Result<Parts, StageError> {
        let about = || ground.ok_or(MethodError::NoSamples);
        match self.output {
            Some(Output::Scores) => take_scores(ctx, out, about()?),
            Some(Output::Subset) => self.subset(ctx, out, about()?),
            Some(Output::Metrics) => metrics(ctx, out),
            Some(Output::Data) => super::network::data(ctx, out),
            Some(Output::Proxy) => super::network::proxy(ctx, out, about()?),
            Some(Output::Model) => super::network::model(ctx, out, self.model, self.width),
            None => Err(MethodError::NoSetting("output").into()),
        }
    }

    fn subset(
        &self,
        ctx: &StageCtx<'_>,
        out: &Path,
        ground: &LabelledSamples,
    ) -> Result<Parts, StageError> {
        let path = needed(out, "indices")?;
        let found = column::indices(&path).map_err(|error| wrong(&path, error))?;
        let weights = match list(out, "weights")? {
            None => column::has(&path, Column::Weights).then(|| path.clone()),
            own => own,
        };
        let weights = weights.map(|path| {
            column::floats(&path, Column::Weights).map_err(|error| wrong(&path, error))
        });
        let weights = weights.transpose()?;
        let picked = column::picked(&found, weights.as_deref(), ground.labels.len())
            .map_err(|error| wrong(&path, error))?;
        let budget = self.budget(ground.labels.len()).unwrap_or(picked.len());
        // As for every selector: weights may show that fewer are enough.
        if picked.len() > budget || (weights.is_none() && picked.len() < budget) {
            let error = OutError::IndexCount { found: picked.len(), budget };
            return Err(wrong(&path, error).into());
        }
        picked.put(ctx, ground, budget)
    }
}

fn take_scores(
    ctx: &StageCtx<'_>,
    out: &Path,
    ground: &LabelledSamples,
) -> Result<Parts, StageError> {
    let path = needed(out, "scores")?;
    let found = column::doubles(&path, Column::Scores, None);
    let found = found.map_err(|error| wrong(&path, error))?;
    ground.one_each(found.len(), "scores")?;
    let values = Scores::of_doubles(found);
    scores::put(ctx, "command", &values, ground.shared.clone(), ground.classes)
}

fn metrics(ctx: &StageCtx<'_>, out: &Path) -> Result<Parts, StageError> {
    let bytes = read(out, "metrics.json")?;
    let found: Map<String, Value> = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(&out.join("metrics.json"), OutError::NoObject(error)))?;
    let blob = parts::put_json(ctx, &Value::Object(found))?;
    Ok([("metrics".to_owned(), blob)].into())
}
