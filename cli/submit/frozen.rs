//! What a submission freezes: the pipeline, the scripts of its commands, and the program. Jobs that
//! wait for days run what was submitted, whatever has changed since.
//!
//! The run's folder has a tree in which every frozen file lies under its whole path, and in which
//! data sets are links: paths relative to a file lead where they led.

use crate::context::{Context, Exit, Failure, Pipeline, stream_name};
use cache::{Digest, Store};
use engine::{Plan, PlanRequest, SubmittedRun};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

/// The folder of the frozen tree in a run's folder. Only its owner reads it: there may be secrets
/// in a pipeline.
const TREE: &str = "frozen";
/// The file with the flags, in the tree.
const REQUEST: &str = "request.json";
/// The folder of the store with frozen programs.
const PROGRAMS: &str = "programs";
/// Larger files of commands are linked, not copied.
const LARGE: u64 = 64 << 20;

/// The pipeline file in the tree, and the flags it was submitted with.
#[derive(Serialize, Deserialize)]
struct FrozenRequest {
    pipeline: PathBuf,
    set: Vec<String>,
    target: Vec<String>,
}

/// Returns `pipeline` with its whole path, so that paths in it hold in every folder.
pub(super) fn whole(pipeline: &Pipeline) -> Result<Pipeline, Failure> {
    let path = &pipeline.pipeline;
    if stream_name(path).is_some() {
        let failure = Failure::mistake("a pipeline that is not a file cannot be submitted");
        return Err(failure.hint("write it to a file: its jobs are to read it later"));
    }
    // One that is not there is told with its own name when it is read.
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    Ok(Pipeline { pipeline: whole, ..pipeline.clone() })
}

/// Copies the files of `plan`, which was read from `pipeline`, into the folder of `run`, and returns
/// the plan that they give there.
pub(super) fn freeze(
    plan: &Plan,
    pipeline: &Pipeline,
    run: &SubmittedRun,
    context: &Context,
) -> Result<Plan, Failure> {
    let tree = run.folder().join(TREE);
    let cannot = |path: &Path, error: io::Error| {
        Failure::failed(format!("cannot freeze `{}`", path.display())).because(error)
    };
    fs::create_dir_all(&tree).map_err(|error| cannot(&tree, error))?;
    let only_owner = fs::Permissions::from_mode(0o700);
    fs::set_permissions(&tree, only_owner).map_err(|error| cannot(&tree, error))?;
    for source in plan.sources.iter().filter(|source| !source.name.starts_with("--")) {
        let path = Path::new(&source.name);
        copy(path, &place(&tree, path)).map_err(|error| cannot(path, error))?;
    }
    // Copies first: none may go through a link, out of the tree.
    let mut outside: Vec<(PathBuf, bool)> = outside(plan).into_iter().collect();
    for (path, is_program) in &mut outside {
        *is_program &= fs::metadata(&*path).is_ok_and(|data| data.len() <= LARGE);
        if *is_program {
            copy(path, &place(&tree, path)).map_err(|error| cannot(path, error))?;
        }
    }
    for (path, _) in outside.iter().filter(|(_, is_copied)| !is_copied) {
        link(path, &place(&tree, path)).map_err(|error| cannot(path, error))?;
    }
    let request = FrozenRequest {
        pipeline: place(&tree, &pipeline.pipeline),
        set: pipeline.set.clone(),
        target: pipeline.target.clone(),
    };
    let bytes = serde_json::to_vec(&request).expect("it has no map with odd keys");
    let path = tree.join(REQUEST);
    fs::write(&path, bytes).map_err(|error| cannot(&path, error))?;
    let frozen = read(run, context)?;
    let same = plan.nodes().len() == frozen.nodes().len()
        && plan.nodes().zip(frozen.nodes()).all(|((_, one), (_, other))| {
            one.settings == other.settings && one.inputs == other.inputs
        });
    if !same {
        let what = format!("`{}` changed while it was submitted", pipeline.pipeline.display());
        return Err(Failure::failed(what).hint("submit it again"));
    }
    Ok(frozen)
}

/// Reads the plan of `run` as it was submitted.
pub(crate) fn read(run: &SubmittedRun, context: &Context) -> Result<Plan, Failure> {
    let path = run.folder().join(TREE).join(REQUEST);
    let refused = || Failure::failed(format!("cannot read `{}`", path.display()));
    let bytes = fs::read(&path).map_err(|error| refused().because(error))?;
    let request: FrozenRequest =
        serde_json::from_slice(&bytes).map_err(|error| refused().because(error))?;
    let FrozenRequest { pipeline: path, set, target: targets } = request;
    Ok(Plan::read(&PlanRequest { path, set, targets }, &context.registry)?)
}

/// Returns the files and folders that stages of `plan` read, and whether they belong to a program
/// of the user's. Those relative to the current folder are left out: the jobs run in it.
fn outside(plan: &Plan) -> BTreeSet<(PathBuf, bool)> {
    let mut all = BTreeSet::new();
    for (_, node) in plan.nodes() {
        let is_program = node.stage.method() == "command";
        // The plan was checked: they are there.
        for file in node.stage.files().unwrap_or_default() {
            all.insert((file.path, is_program));
        }
        for folder in node.stage.folders().unwrap_or_default() {
            match is_program {
                true => {
                    all.extend(folder.files.iter().map(|file| (folder.path.join(file), true)));
                }
                false => {
                    all.insert((folder.path, false));
                }
            }
        }
    }
    all.retain(|(path, _)| path.is_absolute());
    all
}

/// Returns where `path` lies in the tree.
fn place(tree: &Path, path: &Path) -> PathBuf {
    let mut parts: Vec<Component<'_>> = vec![];
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(_) => parts.push(part),
            _ => {}
        }
    }
    tree.join("root").join(parts.into_iter().collect::<PathBuf>())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    make_parent(to)?;
    fs::copy(from, to).map(|_| ())
}

/// Lets `to` lead to `from`. Into a folder that is there already goes a link for each entry.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok_and(|data| data.is_dir()) {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    if to.exists() {
        return Ok(());
    }
    make_parent(to)?;
    symlink(from, to)
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Returns the path of a copy of this program in `store`, which it makes unless `dry`.
pub(super) fn program(store: &Store, dry: bool) -> Result<PathBuf, Failure> {
    let cannot = |error: io::Error| Failure::failed("cannot copy the program").because(error);
    let bytes = fs::read("/proc/self/exe").map_err(cannot)?;
    let name = Digest::of(&bytes).short();
    let root = fs::canonicalize(store.root()).map_err(cannot)?;
    let folder = root.join(PROGRAMS).join(&name);
    let path = folder.join("coresift");
    let whole = fs::metadata(&path).is_ok_and(|data| data.len() == bytes.len() as u64);
    if dry || whole {
        return Ok(path);
    }
    fs::create_dir_all(&folder).map_err(cannot)?;
    let beside = folder.join(format!(".coresift.{}", std::process::id()));
    let copied = fs::write(&beside, &bytes)
        .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&beside, &path));
    copied.map_err(|error| {
        fs::remove_file(&beside).ok();
        cannot(error)
    })?;
    Ok(path)
}

/// Removes the programs in `store` that no submitted run is left of.
pub(crate) fn forget_programs(store: &Store) {
    let folders = |name: &str| {
        let entries = fs::read_dir(store.root().join(name)).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut used = BTreeSet::new();
    for run in folders("submitted") {
        let id = run.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(run) = SubmittedRun::find(store, id) else { continue };
        // One that does not read may need any of them.
        let Ok(submission) = super::jobs::Submission::read(&run) else { return };
        used.extend(submission.program.parent().and_then(Path::file_name).map(ToOwned::to_owned));
    }
    for program in folders(PROGRAMS) {
        if program.file_name().is_some_and(|name| !used.contains(name)) {
            // A job may be starting it; it is removed with the next run that is forgotten.
            fs::remove_dir_all(&program).ok();
        }
    }
}

/// Returns the failure of a frozen plan that is not the one that was submitted.
pub(crate) fn differs() -> Failure {
    let what = "the frozen pipeline does not give the plan that was submitted";
    Failure::new(Exit::Defect, what)
}
