//! The program: found before any work, named without its path, given its environment.

use super::{
    declared::{self, Declared},
    is_file, problem, process,
};
use crate::MethodError;
use engine::{Problem, SpecPath, StageError};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// What a program sees of the environment without asking: where things are, and who asks. None of
/// it may change a result.
const INHERITED: [&str; 17] = [
    "CONDA_PREFIX",
    "CUDA_HOME",
    "CUDA_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "TMPDIR",
    "USER",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
];

/// Returns the words of the command as they are in the key: without paths.
pub(super) fn words(run: &[SpecPath], files: &[SpecPath]) -> Vec<String> {
    let declared = declared::all(files).unwrap_or_default();
    let word = |(at, word): (usize, &SpecPath)| match declared::named(word, &declared) {
        Some(name) => name,
        None if at == 0 => {
            let last = Path::new(word.as_str()).file_name();
            last.map_or_else(
                || word.as_str().to_owned(),
                |last| last.to_string_lossy().into_owned(),
            )
        }
        None => word.as_str().to_owned(),
    };
    run.iter().enumerate().map(word).collect()
}

/// Returns what is wrong with the words, whatever is on this machine.
pub(super) fn problems(
    run: &[SpecPath],
    files: &[SpecPath],
    env: &BTreeMap<String, String>,
    pass_env: &[String],
) -> Vec<Problem> {
    let mut all = vec![];
    // That one is not there is told where files are looked for.
    let listed = declared::all(files);
    let whole = listed.is_ok();
    let declared = listed.unwrap_or_default();
    match run.first() {
        None => {
            let hint = "set `run = [\"python3\", \"my_selector.py\"]`, say";
            all.push(problem("run", "no program is named", hint));
        }
        Some(program) if program.as_str().is_empty() => {
            all.push(problem("run", "the program has no name", "name one"));
        }
        Some(program) => {
            let text = program.as_str();
            let inside = text.contains('/') && !Path::new(text).is_absolute();
            if whole && inside && declared::named(program, &declared).is_none() {
                let message = format!("the program `{text}` is not among `files`");
                let hint = format!("add it: `files = [\"{text}\"]`");
                all.push(problem("run", message, &hint));
            }
        }
    }
    for word in run.iter().skip(1) {
        let text = word.as_str();
        let known = !whole || declared::named(word, &declared).is_some();
        if !known && !text.is_empty() && is_file(&word.path()) {
            let message = format!("`{text}` is a file, but not among `files`");
            let hint = format!("add it, so that its changes are seen: `files = [\"{text}\"]`");
            all.push(problem("run", message, &hint));
        }
    }
    let mut taken = BTreeSet::from(["in".to_owned(), "out".into(), "request.json".into()]);
    for file in &declared {
        let name = file.name().to_owned();
        let first = name.split('/').next().unwrap_or_default();
        if name.is_empty() || ["in", "out"].contains(&first) || !taken.insert(name.clone()) {
            let message = format!("the name `{name}` is taken in the program's directory");
            all.push(problem("files", message, "give the file another name"));
        }
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            let message = format!("`{}` is no environment variable", name.escape_debug());
            all.push(problem("env", message, "write `NAME = \"value\"`"));
        }
    }
    for name in pass_env {
        let bare = name.strip_suffix('*').unwrap_or(name);
        if name.is_empty() || bare.contains(['=', '\0', '*', '$']) {
            let message = format!("`{}` is no name of a variable", name.escape_debug());
            let hint = "write the name alone, `HF_TOKEN`, or the beginning of several, `SLURM_*`";
            all.push(problem("pass-env", message, hint));
        } else if env.contains_key(name) {
            let message = format!("`{name}` stands in `env` and in `pass-env`");
            all.push(problem("pass-env", message, "leave it out of one of them"));
        }
    }
    all
}

/// Returns where the program is: itself, or as a declared file.
pub(super) fn find(run: &[SpecPath], declared: &[Declared]) -> Result<PathBuf, Problem> {
    let Some(program) = run.first() else { return Ok(PathBuf::new()) };
    let text = program.as_str();
    let own = declared::named(program, declared).and_then(|name| declared::path(&name, declared));
    if let Some(path) = own.or_else(|| Path::new(text).is_absolute().then(|| text.into())) {
        let shown = path.display();
        return match is_file(&path) {
            true if is_executable(&path) => Ok(path),
            true => {
                let hint = format!("`chmod +x {shown}`, or put its interpreter before it");
                Err(problem("run", format!("`{shown}` cannot be executed"), &hint))
            }
            false => {
                let hint = "a path is relative to the pipeline file";
                Err(problem("run", format!("there is no program `{shown}`"), hint))
            }
        };
    }
    // Where programs are is the machine's affair, as where data sets are.
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(text));
    found.into_iter().find(|path| is_file(path) && is_executable(path)).ok_or_else(|| {
        let hint = "install it, or put its folder on the PATH";
        problem("run", format!("no program `{text}` is on the PATH"), hint)
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0)
}

/// Returns the command to be run in `folder`, where the declared files lie.
pub(super) fn command(
    run: &[SpecPath],
    files: &[SpecPath],
    folder: &Path,
    supervisor: Option<&[OsString; 2]>,
) -> Result<Command, StageError> {
    let declared = declared::all(files)?;
    let found = find(run, &declared)?;
    let own = run.first().and_then(|program| declared::named(program, &declared));
    let program = match own {
        Some(name) => {
            let path = folder.join(name);
            check_may_execute(folder, &path)?;
            path
        }
        None => found,
    };
    let mut command = process::command(&program, supervisor);
    let word = |word: &SpecPath| {
        declared::named(word, &declared).unwrap_or_else(|| word.as_str().to_owned())
    };
    command.args(run.iter().skip(1).map(word)).current_dir(folder);
    Ok(command)
}

/// Refuses a program that lies where the system executes nothing.
fn check_may_execute(folder: &Path, program: &Path) -> Result<(), StageError> {
    use rustix::fs::StatVfsMountFlags;
    let mount = rustix::fs::statvfs(folder);
    if mount.is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOEXEC)) {
        let program = program.file_name().unwrap_or_default().display().to_string();
        return Err(MethodError::MountedNoexec { program }.into());
    }
    Ok(())
}

/// Gives the program `env`, the variables that are let through by name, and the few it gets in any
/// case.
pub(super) fn set_environment(
    command: &mut Command,
    env: &BTreeMap<String, String>,
    pass_env: &[String],
) {
    command.env_clear();
    let passes = |name: &str| {
        pass_env.iter().any(|wanted| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => name == wanted,
        })
    };
    command.envs(env::vars_os().filter(|(name, _)| name.to_str().is_some_and(passes)));
    for name in INHERITED {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    // Python would else keep its lines to itself, and order its sets anew in each process.
    command.env("PYTHONUNBUFFERED", "1").env("PYTHONHASHSEED", "0").envs(env);
}
