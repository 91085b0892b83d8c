//! The directory in which a program finds its inputs and leaves its answer.
//!
//! ```text
//! request.json              what is asked
//! in/PORT/PART.safetensors  the parts of each input, links into the store
//! in/PORT/PART.json
//! out/                      for the answer
//! my_selector.py            the declared files
//! ```

use crate::MethodError;
use artifacts::{dataset, rows::ROW_PARTS};
use cache::{Blob, make_folders, retrying};
use engine::{StageCtx, StageError};
use serde::{Serialize, de::IgnoredAny};
use serde_json::{Map, Value};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
};

/// Beyond this a declared file is linked, not copied.
const LARGE: u64 = 64 << 20;
/// Beyond this in all, so is a declared folder.
const LARGE_FOLDER: u64 = 1 << 30;

/// The version of this layout.
const LAYOUT: u32 = 1;

/// What is asked of a program.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    /// What it is to give.
    pub(super) output: &'a str,
    pub(super) settings: &'a Map<String, Value>,
    /// Only for a program that says it draws random numbers.
    pub(super) seed: Option<u32>,
    /// How many training samples there are.
    pub(super) samples: Option<usize>,
    pub(super) classes: Option<usize>,
    /// How many of them to select.
    pub(super) budget: Option<usize>,
}

/// An input as `request.json` describes it.
#[derive(Serialize)]
struct Input {
    kind: String,
    /// The file of each part, seen from the directory.
    parts: BTreeMap<String, String>,
}

/// The objects that were laid out, and how they looked.
pub(super) struct Laid(Vec<(Blob, PathBuf, Look)>);

/// A size and a date.
type Look = (u64, i64, i64);

fn look(path: &Path) -> Option<Look> {
    let data = retrying(|| fs::metadata(path)).ok()?;
    Some((data.len(), data.mtime(), data.mtime_nsec()))
}

fn failed(path: &Path, reason: io::Error) -> MethodError {
    MethodError::Unwritten { path: path.to_owned(), reason }
}

fn gone(path: &Path, reason: io::Error) -> MethodError {
    MethodError::Unread { path: path.to_owned(), reason }
}

/// Lets `to` lead to what is too large to be copied. The engine sees whether it changes meanwhile.
fn link(from: &Path, to: &Path) -> Result<(), MethodError> {
    let refused = |error: io::Error| failed(to, error);
    if let Some(parent) = to.parent() {
        make_folders(parent).map_err(refused)?;
    }
    let from = retrying(|| from.canonicalize()).map_err(|error| gone(from, error))?;
    retrying(|| symlink(&from, to)).map_err(refused)
}

/// Fills `folder`.
pub(super) fn lay_out(
    ctx: &StageCtx<'_>,
    folder: &Path,
    request: &Request<'_>,
) -> Result<Laid, StageError> {
    let make = |path: &Path| make_folders(path).map_err(|error| failed(path, error));
    make(&folder.join("out"))?;
    let mut laid = vec![];
    let mut inputs = BTreeMap::new();
    for port in ["data", "proxy", "scores", "subset", "model"] {
        let Some(artifact) = ctx.input(port) else { continue };
        make(&folder.join("in").join(port))?;
        let mut parts = BTreeMap::new();
        for (part, blob) in &artifact.parts {
            // The truth about corrupted samples is for those who measure, not for those who select.
            if dataset::FOR_EVALUATION.contains(&part.as_str()) && request.output != "metrics" {
                continue;
            }
            // The rows of texts hold the labels that they came with.
            let may_read = port == "data" && !artifact.parts.contains_key("clean");
            if ROW_PARTS.contains(&part.as_str()) && !may_read {
                continue;
            }
            let json = serde_json::from_slice::<IgnoredAny>(&ctx.get(blob)?).is_ok();
            let end = if json { "json" } else { "safetensors" };
            let name = format!("in/{port}/{part}.{end}");
            let (object, link) = (ctx.path(blob)?, folder.join(&name));
            retrying(|| symlink(&object, &link)).map_err(|error| failed(&link, error))?;
            let seen = look(&object).unwrap_or_default();
            laid.push((*blob, object, seen));
            parts.insert(part.clone(), name);
        }
        inputs.insert(port, Input { kind: artifact.kind.clone(), parts });
    }
    for file in ctx.files() {
        let to = folder.join(&file.role);
        let size =
            retrying(|| fs::metadata(&file.path)).map_err(|error| gone(&file.path, error))?;
        let size = size.len();
        if size > LARGE {
            link(&file.path, &to)?;
        } else {
            ctx.capture_file(file, &to)?;
        }
    }
    for linked in ctx.folders() {
        let size = |file: &String| {
            retrying(|| fs::metadata(linked.path.join(file))).map_or(0, |one| one.len())
        };
        if linked.files.iter().map(size).sum::<u64>() > LARGE_FOLDER {
            link(&linked.path, &folder.join(&linked.name))?;
        } else {
            ctx.capture_folders(&linked.role, |one| folder.join(&one.name))?;
        }
    }
    let mut value = serde_json::json!(request);
    value["layout"] = LAYOUT.into();
    value["inputs"] = serde_json::json!(inputs);
    // Hints: neither is in the key, so neither may change the answer.
    value["device"] = ctx.device.into();
    value["threads"] = rayon::current_num_threads().into();
    let path = folder.join("request.json");
    let text = serde_json::to_vec_pretty(&value).expect("a tree of JSON values can be written");
    retrying(|| fs::write(&path, &text)).map_err(|error| failed(&path, error))?;
    Ok(Laid(laid))
}

impl Laid {
    /// Checks that the program left the store's objects as they were.
    pub(super) fn check(&self, ctx: &StageCtx<'_>) -> Result<(), StageError> {
        for (blob, object, seen) in &self.0 {
            if look(object) != Some(*seen) {
                // Sets the object aside if other bytes are in it: its producer then runs again.
                ctx.get(blob).ok();
                return Err(MethodError::WroteToInput.into());
            }
        }
        Ok(())
    }
}
