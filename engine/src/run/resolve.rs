//! Resolving recipes: a node's recipe from the digests of its inputs, and the key of its
//! checkpoints.

use crate::{InputFile, InputFolder, NodeId, Plan, StageError, Trajectory};
use cache::{Digest, Key, Recipe, Store, StoreError};
use std::{collections::BTreeMap, sync::Arc};

/// A node's recipe, and the files and folders whose digests are in it.
pub(crate) struct Resolved {
    pub(crate) recipe: Recipe,
    pub(crate) files: Vec<InputFile>,
    pub(crate) folders: Vec<InputFolder>,
}

/// The name of an input of a recipe, as a port or as the role of a file or folder. Only this module
/// encodes and decodes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputName<'a> {
    /// A port, or one of the several of a port that takes a list.
    Port(&'a str),
    /// A file, or the files of folders, by their role.
    File(&'a str),
}

impl<'a> InputName<'a> {
    /// Reads the name of an input as a recipe holds it.
    pub(crate) fn parse(name: &'a str) -> Self {
        match name.strip_prefix("file:").or_else(|| name.strip_prefix("folder:")) {
            Some(role) => Self::File(role),
            None => Self::Port(name),
        }
    }
}

/// Returns the input name of a file with this role.
pub(crate) fn file_input(role: &str) -> String {
    format!("file:{role}")
}

/// Returns the input name of the folders with this role.
pub(crate) fn folder_input(role: &str) -> String {
    format!("folder:{role}")
}

/// Returns the recipe of `node`. `outputs` are the digests of its inputs, in the order of the plan.
///
/// # Errors
///
/// Fails if a file or folder it reads is not there or cannot be read.
pub(crate) fn recipe(
    plan: &Plan,
    store: &Store,
    node: NodeId,
    outputs: &[Digest],
) -> Result<Resolved, StageError> {
    let this = plan.node(node);
    let mut inputs = BTreeMap::new();
    for (position, ((port, _), digest)) in this.inputs.iter().zip(outputs).enumerate() {
        let before = this.inputs[..position].iter().filter(|(one, _)| one == port).count();
        let name = if before == 0 { (*port).to_owned() } else { format!("{port}.{before}") };
        inputs.insert(name, *digest);
    }
    let files = this.stage.files()?;
    for file in &files {
        let (digest, _) = store.file_digest(&file.path)?;
        inputs.insert(file_input(&file.role), digest);
    }
    let folders = this.stage.folders()?;
    inputs.extend(folder_inputs(store, &folders)?);
    let recipe = Recipe {
        method: this.stage.method().to_owned(),
        revision: this.stage.revision(),
        settings: Arc::clone(&this.settings),
        inputs,
        seed: this.seed,
    };
    Ok(Resolved { recipe, files, folders })
}

/// Returns the inputs of a recipe for `folders`: the digest of each role.
pub(crate) fn folder_inputs(
    store: &Store,
    folders: &[InputFolder],
) -> Result<BTreeMap<String, Digest>, StoreError> {
    let mut digests = vec![];
    for folder in folders {
        digests.push((folder, store.folder_digest(&folder.path, &folder.files)?));
    }
    Ok(inputs_of_roles(digests))
}

/// Returns the inputs of a recipe for folders with these digests: those of one role are one input,
/// in their order.
pub(crate) fn inputs_of_roles<'a>(
    folders: impl IntoIterator<Item = (&'a InputFolder, Digest)>,
) -> BTreeMap<String, Digest> {
    let mut roles: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for (folder, digest) in folders {
        let all = roles.entry(&folder.role).or_default();
        all.extend(Digest::of(folder.name.as_bytes()).as_bytes());
        all.extend(digest.as_bytes());
    }
    roles.into_iter().map(|(role, all)| (folder_input(role), Digest::of(&all))).collect()
}

/// The checkpoints a training may continue: those of its own and of equal trainings that end
/// earlier or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointKey {
    /// The key the checkpoints are stored under.
    pub(crate) key: Key,
    /// The step at which this training ends: a later checkpoint is not for it.
    pub(crate) last_step: u64,
}

impl CheckpointKey {
    /// Returns where the checkpoints of `node`, whose recipe is `recipe`, are stored, if it keeps
    /// any.
    pub(crate) fn new(plan: &Plan, node: NodeId, recipe: &Recipe) -> Option<Self> {
        let Trajectory { settings, last_step } = plan.node(node).stage.trajectory()?;
        // No record has this recipe: the suffix tells its key from those of results. It is part of
        // the key, and stays as it is.
        let trajectory = Recipe {
            method: format!("{} trajectory", recipe.method),
            settings: Arc::new(settings),
            ..recipe.clone()
        };
        Some(Self { key: trajectory.key(), last_step })
    }
}

/// Returns the key under which the checkpoints of `node`, whose recipe is `recipe`, are stored.
#[must_use]
pub fn trajectory_key(plan: &Plan, node: NodeId, recipe: &Recipe) -> Option<Key> {
    CheckpointKey::new(plan, node, recipe).map(|checkpoints| checkpoints.key)
}
