//! The global flags, the store, pipelines and columns of text that every command shares.

pub(crate) use crate::failure::{Exit, Failure, chain};
pub(crate) use crate::matrix::{Cells, axis_names};
use crate::output::Stream;
pub(crate) use crate::output::{eprint, eprint_line, print, print_bytes, print_line};
use crate::remote::{RemoteArgs, RemoteUse};
use crate::site::Site;
use cache::{RemoteTier, Store};
use clap::Args;
use engine::{Plan, PlanRequest, Registry, SpecErrors};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::FileTypeExt as _,
    path::{Component, Path, PathBuf},
    rc::Rc,
    sync::Arc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// The flags every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Where results are kept [default: .coresift beside the nearest coresift.toml or repository
    /// root above the current folder, else in it]
    #[arg(long, global = true, env = "CORESIFT_STORE", value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// A pipeline on the command line.
#[derive(Args, Clone, Debug)]
pub(crate) struct Pipeline {
    /// The pipeline file, or `-` for stdin.
    pub(crate) pipeline: PathBuf,
    /// Override a setting, as an axis of the matrix would: `subset.with.keep=0.3`.
    #[arg(long, value_name = "PATH=VALUE")]
    pub(crate) set: Vec<String>,
    /// Run only what this stage needs [default: the evaluate stages].
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Vec<String>,
}

impl Pipeline {
    /// Returns the command that makes what is missing of it.
    pub(crate) fn run_command(&self) -> String {
        run_command(&self.pipeline.display().to_string(), &self.set, &self.target)
    }
}

/// Returns the command that runs `pipeline` so, as a shell reads it.
pub(crate) fn run_command(pipeline: &str, set: &[String], targets: &[String]) -> String {
    let mut command = format!("coresift run {}", shell(pipeline));
    for (flag, values) in [("--set", set), ("--target", targets)] {
        values.iter().for_each(|value| command.extend([" ", flag, " ", &shell(value)]));
    }
    command
}

/// Returns `word` as a shell reads it back.
pub(crate) fn shell(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:+,".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The flags, the methods and the store of a command.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) registry: Registry,
    /// The text of stdin and pipes, by path: a stream can be read only once, but a command may ask
    /// again.
    streams: RefCell<BTreeMap<PathBuf, Rc<str>>>,
    /// Whether it was said that the pipeline's project has another store.
    told_of_store: Cell<bool>,
    /// The remote tier of the store, once that is open.
    pub(crate) remote: RefCell<Option<Arc<RemoteTier>>>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            global,
            registry: networks::registry(),
            streams: RefCell::default(),
            told_of_store: Cell::default(),
            remote: RefCell::default(),
        }
    }

    /// Returns where the store is or would be.
    pub(crate) fn store_path(&self) -> PathBuf {
        if let Some(path) = &self.global.store {
            return path.clone();
        }
        store_of(&env::current_dir().unwrap_or_default())
    }

    /// Opens the store, creating it if need be, with the remote tier to read from.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        self.store_at(&RemoteArgs::of_environment(), RemoteUse::Read)
    }

    /// Opens the store alone, creating it if need be.
    pub(crate) fn local_store(&self) -> Result<Store, Failure> {
        let heartbeat = Site::read()?.cache.heartbeat;
        Ok(Store::open(self.store_path())?.with_heartbeat(heartbeat))
    }

    /// Reads and checks a pipeline.
    pub(crate) fn plan(&self, pipeline: &Pipeline) -> Result<Plan, Failure> {
        Ok(self.read(pipeline)??)
    }

    fn read(&self, pipeline: &Pipeline) -> Result<Result<Plan, SpecErrors>, Failure> {
        let set = pipeline.set.clone();
        let targets = pipeline.target.clone();
        let Some(path) = stream_name(&pipeline.pipeline) else {
            self.tell_of_store(&pipeline.pipeline);
            let request = PlanRequest { path: pipeline.pipeline.clone(), set, targets };
            return Ok(Plan::read(&request, &self.registry));
        };
        let text = self.stream(&pipeline.pipeline)?;
        let request = PlanRequest { path, set, targets };
        Ok(Plan::read_text(&text, &request, &self.registry))
    }

    /// Returns what the stream at `path` held.
    fn stream(&self, path: &Path) -> Result<Rc<str>, Failure> {
        if let Some(text) = self.streams.borrow().get(path) {
            return Ok(Rc::clone(text));
        }
        let mut text = String::new();
        let read = if path.as_os_str() == STDIN {
            io::stdin().read_to_string(&mut text)
        } else {
            File::open(path).and_then(|mut file| file.read_to_string(&mut text))
        };
        read.map_err(|error| {
            Failure::mistake(format!("cannot read `{}`", path.display())).because(error)
        })?;
        let text: Rc<str> = text.into();
        self.streams.borrow_mut().insert(path.to_owned(), Rc::clone(&text));
        Ok(text)
    }

    /// Says that the project of `pipeline` has results, if those of the current folder begin
    /// anew.
    fn tell_of_store(&self, pipeline: &Path) {
        let Ok(pipeline) = fs::canonicalize(pipeline) else { return };
        let (Some(folder), Ok(here)) = (pipeline.parent(), env::current_dir()) else { return };
        let (theirs, ours) = (store_of(folder), store_of(&here));
        let wanted = self.global.store.is_none() && theirs != ours;
        if wanted && has_runs(&theirs) && !has_runs(&ours) && !self.told_of_store.replace(true) {
            let (theirs, ours) = (relative(&here, &theirs), relative(&here, &ours));
            let theirs = shell(&theirs.display().to_string());
            self.note(&format!(
                "note: results go to {}; the pipeline's project has a store of its own: --store \
                 {theirs}",
                ours.display()
            ));
        }
    }

    /// Says what the files of `plan` write under names it had before, and what to write instead.
    pub(crate) fn tell_of_former_names(&self, plan: &Plan) {
        for name in &plan.renamed {
            self.note(&format!("note: {}:{}: {}", name.source, name.line, name.advice));
        }
    }

    /// Returns how many cores the kernels use: as many as are asked for, and there.
    pub(crate) fn threads(&self, asked: Option<u16>) -> usize {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let asked = asked.map_or(cores, usize::from);
        if asked > cores {
            let (noun, verb) = if cores == 1 { ("core", "is") } else { ("cores", "are") };
            self.note(&format!(
                "note: --threads {asked}: this machine has {cores} {noun}; {cores} {verb} used"
            ));
        }
        asked.min(cores)
    }
}

/// The name of a pipeline on stdin.
const STDIN: &str = "-";

/// Returns the name of a pipeline that is read once and is in no folder, or `None` for a file.
/// The paths in it are relative to the current folder, unless it is a pipe with a place of its
/// own.
pub(crate) fn stream_name(path: &Path) -> Option<PathBuf> {
    if path.as_os_str() == STDIN || path == Path::new("/dev/stdin") {
        return Some(STDIN.into());
    }
    // A shell gives `<(command)` as one of these.
    let text = path.to_str().unwrap_or_default();
    let number = text.strip_prefix("/dev/fd/").or_else(|| {
        let (_, number) = text.strip_prefix("/proc/")?.split_once("/fd/")?;
        Some(number)
    });
    match number {
        Some("0") => Some(STDIN.into()),
        Some(number) if number.parse::<u32>().is_ok() => Some(format!("fd-{number}").into()),
        _ => {
            let kind = fs::metadata(path).ok()?.file_type();
            (kind.is_fifo() || kind.is_char_device()).then(|| path.to_owned())
        }
    }
}

/// Returns the store of `folder`: beside the nearest project file or repository root above it,
/// else in it.
fn store_of(folder: &Path) -> PathBuf {
    let is_root =
        |folder: &&Path| folder.join("coresift.toml").exists() || folder.join(".git").exists();
    folder.ancestors().find(is_root).unwrap_or(folder).join(".coresift")
}

/// Tells whether there was ever a run in `store`.
fn has_runs(store: &Path) -> bool {
    fs::read_dir(store.join("runs")).is_ok_and(|mut runs| runs.next().is_some())
}

/// Returns how `path` is reached from `here`; both are absolute.
fn relative(here: &Path, path: &Path) -> PathBuf {
    let common = here.components().zip(path.components()).take_while(|(a, b)| a == b).count();
    let up = here.components().skip(common).map(|_| Component::ParentDir);
    // Below the current folder, it is said that it is.
    let begin = (here.components().count() == common).then_some(Component::CurDir);
    begin.into_iter().chain(up).chain(path.components().skip(common)).collect()
}

/// Returns the milliseconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "the edge is where the clock is read")]
pub(crate) fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns `seconds` since 1970 as `2026-01-31 23:59:59`, in UTC.
pub(crate) fn time_of(seconds: u64) -> String {
    let engine::Utc { year, month, day, hour, minute, second } = engine::Utc::from_seconds(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Returns seconds as people say them: `0.04 s`, `12.3 s`, `4 min 05 s`, `2 h 03 min`.
pub(crate) fn duration_of(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// Returns bytes as people say them.
pub(crate) fn bytes_of(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Returns `share` in percent, with as many digits as it takes.
pub(crate) fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value {
        v if (v - v.round()).abs() < 0.05 => 0,
        v if v >= 0.095 => 1,
        _ => 2,
    };
    format!("{value:.digits$} %")
}

/// Tells whether stderr is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    Stream::Err.is_terminal()
}

impl Context {
    /// Reads a pipeline as far as `stage` needs it, or as far as `--target` says.
    pub(crate) fn plan_to(&self, pipeline: &Pipeline, stage: &str) -> Result<Plan, Failure> {
        if !pipeline.target.is_empty() {
            return self.plan(pipeline);
        }
        let pipeline = Pipeline { target: vec![stage.to_owned()], ..pipeline.clone() };
        self.read(&pipeline)?.map_err(|mut errors| {
            // A mistake in it is one in what was asked for, not in a flag nobody wrote.
            let flags = errors.sources.iter_mut().filter(|source| source.name == "--target");
            flags.for_each(|source| source.name = "the stage".to_owned());
            errors.into()
        })
    }

    /// Writes a line to stderr, unless only errors are wanted.
    pub(crate) fn note(&self, text: &str) {
        if !self.global.quiet {
            eprint_line(text);
        }
    }
}

/// Returns how many places `text` takes on a terminal, where some letters take two.
pub(crate) fn width_of(text: &str) -> usize {
    ratatui::text::Span::raw(text).width()
}

/// Returns `rows` as columns, each as wide as its widest entry; `right` tells which are numbers.
pub(crate) fn columns(rows: &[Vec<String>], right: impl Fn(usize) -> bool) -> String {
    // Put into the signs of the terminal before it is measured: `±` is one place, `+-` are two.
    let shown = |entry: &String| Stream::Out.legible(entry).into_owned();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let entries = rows.iter().filter_map(|row| row.get(column));
        entries.map(|entry| width_of(entry)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, entry) in row.iter().enumerate() {
            let room = " ".repeat(widths[column] - width_of(entry));
            let (before, after) = if right(column) { (&*room, "") } else { ("", &*room) };
            let gap = if column == 0 { "" } else { "  " };
            line.extend([gap, before, entry, after]);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Writes `bytes` to `path`: a file that is there is replaced at once, or left as it was.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let cannot =
        |error| Failure::failed(format!("cannot write `{}`", path.display())).because(error);
    // A device or a pipe, such as /dev/stdout, is written to, not replaced.
    if fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return fs::write(path, bytes).map_err(cannot);
    }
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.ok_or_else(|| Failure::mistake("that is not the name of a file"))?;
    let beside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| {
        fs::remove_file(&beside).ok();
        cannot(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_name_in_the_current_folder() {
        let name = |path: &str| stream_name(Path::new(path));
        for stdin in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
            assert_eq!(name(stdin), Some("-".into()), "{stdin}");
        }
        assert_eq!(name("/dev/fd/63"), Some("fd-63".into()));
        assert_eq!(name("/proc/4711/fd/12"), Some("fd-12".into()));
        assert_eq!((name("p.toml"), name("/dev/fd/x")), (None, None));
    }

    #[test]
    fn a_path_is_told_from_where_one_is() {
        let way = |here: &str, path: &str| relative(Path::new(here), Path::new(path));
        assert_eq!(way("/a/other", "/a/proj/.coresift"), Path::new("../proj/.coresift"));
        assert_eq!(way("/a", "/a/.coresift").to_str(), Some("./.coresift"));
        assert_eq!(way("/a/b/c", "/a/.coresift"), Path::new("../../.coresift"));
    }

    #[test]
    fn a_command_is_written_for_a_shell() {
        let set = ["subset.with.keep=0.3".to_owned(), "a.with.b=\"it's\"".to_owned()];
        let wanted = "coresift run 'my file.toml' --set subset.with.keep=0.3 --set \
                      'a.with.b=\"it'\\''s\"' --target x";
        assert_eq!(run_command("my file.toml", &set, &["x".to_owned()]), wanted);
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let text = columns(&[row("a", "±"), row("long", "12")], |column| column == 1);
        assert_eq!(text, "a      ±\nlong  12\n");
        let text = columns(&[row("größe", "1"), row("日本", "2")], |_| false);
        assert_eq!(text, "größe  1\n日本   2\n", "some letters are two places wide");
    }
}
