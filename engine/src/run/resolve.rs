//! A node's recipe, once the digests of its inputs are known.

use crate::{NodeId, Plan};
use cache::{Digest, Key, Recipe, Store, StoreError};
use std::collections::BTreeMap;

/// Returns the recipe of `node`; `output` gives the digest of what an input node produced.
pub(crate) fn recipe(
    plan: &Plan,
    store: &Store,
    node: NodeId,
    output: impl Fn(NodeId) -> Digest,
) -> Result<Recipe, StoreError> {
    let this = plan.node(node);
    let mut inputs = BTreeMap::new();
    for (position, (port, source)) in this.inputs.iter().enumerate() {
        let before = this.inputs[..position].iter().filter(|(one, _)| one == port).count();
        let name = if before == 0 { (*port).to_owned() } else { format!("{port}.{before}") };
        inputs.insert(name, output(*source));
    }
    // The plan found the files; one that went away since then is read as missing, by name.
    for file in this.stage.files().unwrap_or_default() {
        let (digest, _) = store.file_digest(&file.path)?;
        inputs.insert(format!("file:{}", file.role), digest);
    }
    let mut folders: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for folder in this.stage.folders().unwrap_or_default() {
        let digest = store.folder_digest(&folder.path, &folder.files)?;
        let all = folders.entry(folder.role).or_default();
        all.extend(Digest::of(folder.name.as_bytes()).as_bytes());
        all.extend(digest.as_bytes());
    }
    for (role, all) in folders {
        inputs.insert(format!("folder:{role}"), Digest::of(&all));
    }
    Ok(Recipe {
        method: this.stage.method().to_owned(),
        revision: this.stage.revision(),
        settings: (*this.settings).clone(),
        inputs,
        seed: this.seed,
    })
}

/// Returns the key under which the checkpoints of `node`, whose recipe is `recipe`, are filed.
#[must_use]
pub fn trajectory_key(plan: &Plan, node: NodeId, recipe: &Recipe) -> Option<Key> {
    trajectory(plan, node, recipe).map(|(recipe, _)| recipe.key())
}

/// Returns the recipe its checkpoints are filed under: all but the length.
pub(crate) fn trajectory(plan: &Plan, node: NodeId, recipe: &Recipe) -> Option<(Recipe, u64)> {
    let trajectory = plan.node(node).stage.trajectory()?;
    let recipe = Recipe {
        method: format!("{} trajectory", recipe.method),
        settings: trajectory.settings,
        ..recipe.clone()
    };
    Some((recipe, trajectory.last_step))
}
