//! The `Stage` trait that methods implement, and its ports.

mod context;
mod error;

pub use context::StageCtx;
pub use error::{MethodFailure, StageError};

use cache::Blob;
use serde_json::Value;
use std::{collections::BTreeMap, path::PathBuf};
use thiserror::Error;

/// The kind of an artifact, such as `scores`. The engine only compares kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArtifactKind(pub &'static str);

/// How many stages a port takes its input from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arity {
    /// Exactly one stage.
    One,
    /// One stage or none.
    Optional,
    /// One stage, a list of stages, or all repeats of one.
    Many,
    /// One stage, on exactly one of the ports of this choice: alternatives.
    OneOf(Choice),
    /// One stage, a list of stages, or all repeats of one, on exactly one of the ports of this choice.
    ManyOf(Choice),
}

/// A choice among ports, such as `query`: exactly one of those that belong to it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Choice(pub &'static str);

/// An input port of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The name used in `from`.
    pub name: &'static str,
    /// The kind of artifact it takes.
    pub kind: ArtifactKind,
    /// How many stages it takes it from.
    pub arity: Arity,
}

impl Port {
    /// Returns a port that takes one artifact.
    #[must_use]
    pub const fn one(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::One }
    }

    /// Returns a port that may stay open.
    #[must_use]
    pub const fn optional(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::Optional }
    }

    /// Returns a port that takes one artifact or several.
    #[must_use]
    pub const fn many(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::Many }
    }

    /// Returns a port that is an alternative to the others marked so, or by [`Self::many_of`].
    #[must_use]
    pub const fn one_of(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::OneOf(Choice("input")) }
    }

    /// As [`Self::one_of`], for one artifact or several.
    #[must_use]
    pub const fn many_of(name: &'static str, kind: ArtifactKind) -> Self {
        Self { name, kind, arity: Arity::ManyOf(Choice("input")) }
    }

    /// Returns a port that is an alternative to the others of `choice`.
    #[must_use]
    pub const fn of_choice(name: &'static str, kind: ArtifactKind, choice: &'static str) -> Self {
        Self { name, kind, arity: Arity::OneOf(Choice(choice)) }
    }

    /// Returns whether it takes several artifacts.
    #[must_use]
    pub const fn takes_many(&self) -> bool {
        matches!(self.arity, Arity::Many | Arity::ManyOf(_))
    }

    /// Returns the choice it belongs to, if it is one of alternatives.
    #[must_use]
    pub const fn choice(&self) -> Option<Choice> {
        match self.arity {
            Arity::OneOf(choice) | Arity::ManyOf(choice) => Some(choice),
            _ => None,
        }
    }
}

/// The resource a stage occupies while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Needs {
    /// One worker.
    #[default]
    Cpu,
    /// One worker, and the accelerator if the run has one.
    Device,
}

/// A mistake in the settings as a whole, or a missing file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Problem {
    /// The setting inside `with`, such as `keep` or `rule.bins`; empty for the stage as a whole.
    pub setting: String,
    /// What is wrong: a lowercase clause.
    pub message: String,
    /// What can be done.
    pub hint: Option<String>,
}

/// A file outside the store that a stage reads. Its bytes are part of the key, its path is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFile {
    /// The role of the file, such as `train-images`.
    pub role: String,
    /// The path.
    pub path: PathBuf,
}

/// A folder outside the store of which a stage reads many files. Their names and bytes, and the
/// folder's own name, are part of the key; its path is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputFolder {
    /// The role of its files, such as `train`. Folders with the same role are one input, in their
    /// order.
    pub role: String,
    /// The name of the folder, such as `dog`.
    pub name: String,
    /// The path.
    pub path: PathBuf,
    /// The files in it: paths relative to it, in the order they are read.
    pub files: Vec<String>,
}

/// The trajectory of a training: its settings without its length. Trainings of one trajectory share
/// checkpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// The settings without the length.
    pub settings: Value,
    /// The step at which this stage ends; a checkpoint at or before it can be continued.
    pub last_step: u64,
}

/// One stage: a function of its settings, its inputs, and its seed streams.
pub trait Stage: Send + Sync {
    /// The method, such as `select.herding`.
    fn method(&self) -> &'static str;

    /// The revision of the method's results.
    fn revision(&self) -> u32;

    /// The settings with defaults filled in: everything in it is part of the key. Paths, which
    /// are not, are left out.
    fn settings(&self) -> Value;

    /// The artifacts read.
    fn inputs(&self) -> Vec<Port>;

    /// The artifact written.
    fn output(&self) -> ArtifactKind;

    /// The random streams drawn from. A stage that names none is not keyed by the seed.
    fn streams(&self) -> &'static [&'static str] {
        &[]
    }

    /// The resource it occupies while it runs.
    fn needs(&self) -> Needs {
        Needs::Cpu
    }

    /// Returns the mistakes in the settings as a whole.
    fn problems(&self) -> Vec<Problem> {
        vec![]
    }

    /// Returns the mistakes in its wiring, if these of its ports are connected and no others.
    fn wiring(&self, connected: &[&str]) -> Vec<Problem> {
        let _ = connected;
        vec![]
    }

    /// Returns the files it reads from outside the store.
    ///
    /// # Errors
    ///
    /// Says which file is missing, where it was looked for, and where to get it.
    fn files(&self) -> Result<Vec<InputFile>, Problem> {
        Ok(vec![])
    }

    /// Returns the folders it reads whole collections of files from.
    ///
    /// # Errors
    ///
    /// As [`files`](Self::files).
    fn folders(&self) -> Result<Vec<InputFolder>, Problem> {
        Ok(vec![])
    }

    /// Returns the trajectory its checkpoints belong to, if it keeps any.
    fn trajectory(&self) -> Option<Trajectory> {
        None
    }

    /// Returns the names of secret settings, such as a table of environment variables. Their text
    /// is cut out of the pipeline file's in run records. What [`settings`](Self::settings) returns
    /// of them is kept as it is.
    fn secrets(&self) -> &'static [&'static str] {
        &[]
    }

    /// Computes the output and returns its parts.
    ///
    /// # Errors
    ///
    /// Fails if an input does not decode, the method cannot be applied to it, or the run was
    /// cancelled.
    fn run(&self, ctx: &StageCtx<'_>) -> Result<BTreeMap<String, Blob>, StageError>;
}
