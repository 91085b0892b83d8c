//! The program and the files it needs: found before any work, named without their paths.

use super::problem;
use engine::{File, Problem, StageError, Written};
use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
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

/// Returns the name under which a file lies in the program's directory: as it is written, or the
/// last part of a path that leads out of there.
pub(super) fn name(file: &Written) -> String {
    let path = Path::new(file.text());
    let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    let name: PathBuf = match path.file_name() {
        Some(last) if !inside => last.into(),
        _ => path.components().filter(|c| matches!(c, Component::Normal(_))).collect(),
    };
    name.to_string_lossy().into_owned()
}

/// Returns the file that a word of the command names.
fn declared<'a>(word: &Written, files: &'a [Written]) -> Option<&'a Written> {
    files.iter().find(|file| file.text() == word.text() || name(file) == word.text())
}

/// Returns the words of the command as they are in the key: without paths.
pub(super) fn words(run: &[Written], files: &[Written]) -> Vec<String> {
    let word = |(at, word): (usize, &Written)| match declared(word, files) {
        Some(file) => name(file),
        None if at == 0 => {
            let last = Path::new(word.text()).file_name();
            last.map_or_else(|| word.text().to_owned(), |last| last.to_string_lossy().into_owned())
        }
        None => word.text().to_owned(),
    };
    run.iter().enumerate().map(word).collect()
}

/// Returns what is wrong with the words, whatever is on this machine.
pub(super) fn problems(
    run: &[Written],
    files: &[Written],
    env: &BTreeMap<String, String>,
) -> Vec<Problem> {
    let mut all = vec![];
    match run.first() {
        None => {
            let hint = "set `run = [\"python3\", \"my_selector.py\"]`, say";
            all.push(problem("run", "no program is named", hint));
        }
        Some(program) if program.text().is_empty() => {
            all.push(problem("run", "the program has no name", "name one"));
        }
        Some(program) => {
            let text = program.text();
            let inside = text.contains('/') && !Path::new(text).is_absolute();
            if inside && declared(program, files).is_none() {
                let message = format!("the program `{text}` is not among `files`");
                let hint = format!("add it: `files = [\"{text}\"]`");
                all.push(problem("run", message, &hint));
            }
        }
    }
    for word in run.iter().skip(1) {
        let text = word.text();
        if declared(word, files).is_none() && !text.is_empty() && word.path().is_file() {
            let message = format!("`{text}` is a file, but not among `files`");
            let hint = format!("add it, so that its changes are seen: `files = [\"{text}\"]`");
            all.push(problem("run", message, &hint));
        }
    }
    let mut taken = BTreeSet::from(["in".to_owned(), "out".into(), "request.json".into()]);
    for file in files {
        let name = name(file);
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
    all
}

/// Returns the declared files.
pub(super) fn files(files: &[Written]) -> Result<Vec<File>, Problem> {
    let file = |written: &Written| {
        let path = written.path();
        if path.is_file() {
            return Ok(File { role: name(written), path });
        }
        let message = format!("there is no file `{}`", path.display());
        Err(problem("files", message, "a path is relative to the pipeline file"))
    };
    files.iter().map(file).collect()
}

/// Returns where the program is: itself, or as a declared file.
pub(super) fn find(run: &[Written], files: &[Written]) -> Result<PathBuf, Problem> {
    let Some(program) = run.first() else { return Ok(PathBuf::new()) };
    let text = program.text();
    let own = declared(program, files).map(Written::path);
    if let Some(path) = own.or_else(|| Path::new(text).is_absolute().then(|| text.into())) {
        let shown = path.display();
        return match path.is_file() {
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
    found.into_iter().find(|path| path.is_file() && is_executable(path)).ok_or_else(|| {
        let hint = "install it, or put its folder on the PATH";
        problem("run", format!("no program `{text}` is on the PATH"), hint)
    })
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.permissions().mode() & 0o111 != 0)
}

/// Returns the command to be run in `folder`, where the declared files lie.
pub(super) fn command(
    run: &[Written],
    files: &[Written],
    folder: &Path,
) -> Result<Command, StageError> {
    let found = find(run, files)
        .map_err(|problem| StageError::Method { message: problem.message, hint: problem.hint })?;
    let own = run.first().and_then(|program| declared(program, files));
    let program = own.map_or(found, |file| folder.join(name(file)));
    let mut command = Command::new(program);
    let word = |word: &Written| declared(word, files).map_or(word.text().to_owned(), name);
    command.args(run.iter().skip(1).map(word)).current_dir(folder);
    Ok(command)
}

/// Gives the program `env` and the few variables it gets in any case.
pub(super) fn set_environment(command: &mut Command, env: &BTreeMap<String, String>) {
    command.env_clear();
    for name in INHERITED {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    // Python would else keep its lines to itself, and order its sets anew in each process.
    command.env("PYTHONUNBUFFERED", "1").env("PYTHONHASHSEED", "0").envs(env);
}
