//! The spec: a pipeline file read with its bases, its overrides and its matrix. Methods and wiring
//! are checked later, by the plan.

mod error;
mod matrix;
mod overlay;
mod settings;
mod spec_path;
mod tree;

pub use error::{AxisProblem, CellRuleKind, SpecError, SpecErrorKind, SpecErrors, SpecSource};
pub(crate) use error::{Mistakes, did_you_mean};
pub(crate) use matrix::{AxisValue, MatrixAxis, SpecMatrix};
pub(crate) use overlay::{merge_deep, merge_stage, nest, without};
pub use settings::{Settings, SettingsError};
pub(crate) use settings::{SettingsMistake, SettingsMistakeKind};
pub use spec_path::SpecPath;
pub use tree::Span;
pub(crate) use tree::{TreeEntry, TreeNode, TreeTable, TreeValue, seed};

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use toml::de::DeTable;

/// A request for a plan: the pipeline file, its overrides and targets.
#[derive(Clone, Debug, Default)]
pub struct PlanRequest {
    /// The pipeline file.
    pub path: PathBuf,
    /// Overrides of the form `STAGE.with.SETTING=VALUE`, as in a matrix.
    pub set: Vec<String>,
    /// The stages to compute; if there are none, those that give results.
    pub targets: Vec<String>,
}

/// A pipeline file merged with its bases and overrides, its stages not yet connected.
#[derive(Debug)]
pub(crate) struct PipelineSpec {
    pub(crate) sources: Vec<SpecSource>,
    pub(crate) title: Option<String>,
    pub(crate) seed: u64,
    /// The tables of the stages, by name.
    pub(crate) stages: TreeNode,
    pub(crate) axes: Vec<MatrixAxis>,
    /// The cells: the number of a value on each axis.
    pub(crate) cells: Vec<Vec<u32>>,
    pub(crate) targets: Vec<(Arc<str>, Span)>,
}

const ROOT_KEYS: [&str; 5] = ["title", "extends", "seed", "stage", "matrix"];
pub(crate) const STAGE_KEYS: [&str; 6] = ["use", "from", "protocol", "with", "seed", "repeats"];

/// The hint for a file that exceeds the recursion limit of the TOML parser.
const TOO_DEEP: &str = "tables and lists may be nested 80 deep";

/// The most bytes of a file.
const MOST_BYTES: u64 = u32::MAX as u64;
/// The most bytes read from a pipe or device.
const MOST_BYTES_OF_OTHERS: u64 = 1 << 26;

impl PipelineSpec {
    /// Reads the file of `request`. Mistakes are added to `mistakes`; the spec holds what could be
    /// read.
    pub(crate) fn read(request: &PlanRequest, mistakes: &mut Mistakes) -> Self {
        let mut reader = SpecReader { sources: vec![], mistakes };
        let root = reader.read_file(&request.path, None);
        let root = reader.merge_bases(&request.path, root);
        reader.finish(root, request)
    }

    /// Reads `text` as if it were the file called `request.path`.
    pub(crate) fn read_text(text: &str, request: &PlanRequest, mistakes: &mut Mistakes) -> Self {
        let mut reader = SpecReader { sources: vec![], mistakes };
        let root = reader.parse_text(&request.path, text.to_owned());
        let root = reader.merge_bases(&request.path, root);
        reader.finish(root, request)
    }
}

struct SpecReader<'m> {
    sources: Vec<SpecSource>,
    mistakes: &'m mut Mistakes,
}

/// A file whose bases are being read.
struct OpenFile {
    real: PathBuf,
    folder: PathBuf,
    root: TreeNode,
    bases: std::vec::IntoIter<TreeNode>,
}

impl OpenFile {
    fn new(path: &Path, root: TreeNode) -> Self {
        let bases = match root.table().and_then(|table| table.get("extends")) {
            None => vec![],
            Some(entry) => match &entry.node.value {
                TreeValue::Array(items) => items.to_vec(),
                _ => vec![entry.node.clone()],
            },
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Self { real: canonical(path), folder, root, bases: bases.into_iter() }
    }
}

/// Returns the text of a file, or `None` if it has more bytes than a source may have.
fn read(path: &Path) -> io::Result<Option<String>> {
    let file = fs::File::open(path)?;
    // A device such as `/dev/zero` has no end, and a length of zero.
    let most = if file.metadata()?.is_file() { MOST_BYTES } else { MOST_BYTES_OF_OTHERS };
    if file.metadata()?.len() > most {
        return Ok(None);
    }
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text)?;
    Ok((text.len() as u64 <= most).then_some(text))
}

fn canonical(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

impl SpecReader<'_> {
    fn add_source(&mut self, name: String, text: String) -> u32 {
        self.sources.push(SpecSource { name, text });
        u32::try_from(self.sources.len() - 1).expect("fewer than 2^32 files and flags")
    }

    fn read_file(&mut self, path: &Path, asked: Option<Span>) -> TreeNode {
        // Asked before it is opened: opening a pipe blocks until another process writes to it.
        let is_odd_base =
            asked.is_some() && fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let why = if is_odd_base {
            "it is not a file".to_owned()
        } else {
            match read(path) {
                Ok(Some(text)) => return self.parse_text(path, text),
                Ok(None) => "it is too long for a pipeline file".to_owned(),
                Err(error) => error.to_string(),
            }
        };
        let span = asked.unwrap_or_else(|| {
            let source = self.add_source(path.display().to_string(), String::new());
            Span { source, ..Span::default() }
        });
        let path = path.display().to_string();
        self.mistakes.add(span, SpecErrorKind::Unreadable { path, why }, None);
        TreeNode::empty(span)
    }

    fn parse_text(&mut self, path: &Path, text: String) -> TreeNode {
        let source = self.add_source(path.display().to_string(), text.clone());
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let range = error.span().unwrap_or_else(|| first_line_with(error.message(), &text));
            let span = Span::new(source, &range);
            let hint = error.message().contains("recur").then_some(TOO_DEEP).map(str::to_owned);
            self.mistakes.add(span, SpecErrorKind::Syntax(error.message().to_owned()), hint);
        }
        let root = tree::from_toml(source, &table);
        self.check_root(&root);
        root
    }

    /// Returns `root`, which was read from `path`, merged over the files it extends. Each is merged
    /// once, in depth-first post-order, bases as they are listed: two bases that extend the same
    /// file both keep what they change in it.
    fn merge_bases(&mut self, path: &Path, root: TreeNode) -> TreeNode {
        let mut open = vec![OpenFile::new(path, root)];
        let mut seen = BTreeSet::from([open[0].real.clone()]);
        let mut laid: Option<TreeNode> = None;
        while let Some(mut file) = open.pop() {
            let Some(name) = file.bases.next() else {
                laid = Some(match laid {
                    Some(under) => merge_root(&under, &file.root),
                    None => file.root,
                });
                continue;
            };
            let base = name.str().map(|base| (file.folder.join(&**base), name.span));
            open.push(file);
            let Some((base, span)) = base else {
                self.wrong_type("`extends`", "a file name or a list of them", &name);
                continue;
            };
            let real = canonical(&base);
            if seen.insert(real.clone()) {
                let root = self.read_file(&base, Some(span));
                open.push(OpenFile::new(&base, root));
            } else if open.iter().any(|file| file.real == real) {
                let shown = base.display().to_string();
                self.mistakes.add(span, SpecErrorKind::ExtendsItself(shown), None);
            }
        }
        laid.expect("the file itself is laid last")
    }

    fn check_root(&mut self, root: &TreeNode) {
        let Some(table) = root.table() else { return };
        for (key, entry) in table.iter() {
            if !ROOT_KEYS.contains(&&**key) {
                let kind = SpecErrorKind::UnknownKey { what: "a pipeline", key: key.to_string() };
                self.mistakes.add(entry.key, kind, did_you_mean(key, ROOT_KEYS));
            }
        }
        for name in ["stage", "matrix"] {
            if let Some(entry) = table.get(name)
                && entry.node.table().is_none()
            {
                self.wrong_type(&format!("`{name}`"), "a table", &entry.node);
            }
        }
    }

    fn wrong_type(&mut self, what: &str, wanted: &'static str, node: &TreeNode) {
        let found = node.value.type_name();
        let kind = SpecErrorKind::WrongType { what: what.to_owned(), wanted, found };
        self.mistakes.add(node.span, kind, None);
    }

    fn finish(mut self, root: TreeNode, request: &PlanRequest) -> PipelineSpec {
        let get = |key: &str| root.table().and_then(|table| table.get(key)).map(|e| e.node.clone());
        let title = get("title").and_then(|node| match node.str() {
            Some(text) => {
                if text.contains(char::is_control) {
                    let kind = SpecErrorKind::ControlCharacter("the title");
                    self.mistakes.add(node.span, kind, Some("a title is one line".into()));
                }
                Some(text.to_string())
            }
            None => {
                self.wrong_type("`title`", "a string", &node);
                None
            }
        });
        let mut seed = get("seed").and_then(|node| self.seed(&node)).unwrap_or(0);
        let nothing = TreeNode::empty(root.span);
        let table_or = |node: Option<TreeNode>| node.filter(|node| node.table().is_some());
        let mut stages = table_or(get("stage")).unwrap_or_else(|| nothing.clone());
        let matrix_entry = root.table().and_then(|table| table.get("matrix"));
        let key = matrix_entry.map_or(root.span, |entry| entry.key);
        let matrix = table_or(get("matrix")).unwrap_or(nothing);
        if stages.table().is_none_or(|table| table.is_empty()) && self.mistakes.is_empty() {
            self.mistakes.add(root.span, SpecErrorKind::Empty, None);
        }
        let mut pinned = BTreeMap::new();
        for text in &request.set {
            let Some(over) = self.parse_set(text) else { continue };
            let over = self.take_seed(over, &mut seed, &mut pinned);
            self.check_overlay(&over, &stages);
            for path in overlay::paths_set(&over) {
                let node =
                    path.iter().try_fold(&over, |node, name| Some(&node.table()?.get(name)?.node));
                pinned.extend(node.map(|node| (path.join("."), node.clone())));
            }
            stages = overlay::merge_stages(&stages, &over);
        }
        let SpecMatrix { axes, cells } =
            matrix::read(&matrix, key, &stages, &pinned, self.mistakes);
        let targets = request.targets.iter().map(|name| {
            let source = self.add_source("--target".into(), name.clone());
            (Arc::from(name.as_str()), Span::new(source, &(0..name.len())))
        });
        let targets = targets.collect();
        PipelineSpec { sources: self.sources, title, seed, stages, axes, cells, targets }
    }

    fn seed(&mut self, node: &TreeNode) -> Option<u64> {
        match tree::seed(node) {
            Ok(seed) => Some(seed),
            Err((kind, hint)) => {
                self.mistakes.add(node.span, kind, hint);
                None
            }
        }
    }

    // `PATH=VALUE` is TOML, except that a word needs no quotes.
    fn parse_set(&mut self, text: &str) -> Option<TreeNode> {
        let quoted = text.split_once('=').map(|(path, value)| {
            format!("{path}={}", toml::Value::String(value.trim().to_owned()))
        });
        let plain = DeTable::parse(text);
        let (text, table) = match (plain, &quoted) {
            (Ok(table), _) => (text, table),
            (Err(first), Some(quoted)) => match DeTable::parse(quoted) {
                Ok(table) => (quoted.as_str(), table),
                Err(_) => return self.report_bad_set(text, &first),
            },
            (Err(first), None) => return self.report_bad_set(text, &first),
        };
        let source = self.add_source("--set".into(), text.to_owned());
        Some(tree::from_toml(source, &table))
    }

    fn report_bad_set(&mut self, text: &str, error: &toml::de::Error) -> Option<TreeNode> {
        let source = self.add_source("--set".into(), text.to_owned());
        let span = Span::new(source, &error.span().unwrap_or_default());
        let hint = Some("write it as `STAGE.with.SETTING=VALUE`".to_owned());
        self.mistakes.add(span, SpecErrorKind::Syntax(error.message().to_owned()), hint);
        None
    }

    fn take_seed(
        &mut self,
        over: TreeNode,
        seed: &mut u64,
        pinned: &mut BTreeMap<String, TreeNode>,
    ) -> TreeNode {
        if let Some(entry) = over.table().and_then(|table| table.get("seed"))
            && let Some(value) = self.seed(&entry.node)
        {
            *seed = value;
            pinned.insert("seed".to_owned(), entry.node.clone());
        }
        without(&over, "seed")
    }

    fn check_overlay(&mut self, over: &TreeNode, stages: &TreeNode) {
        let (Some(over), Some(stages)) = (over.table(), stages.table()) else { return };
        for (name, entry) in over.iter() {
            if !stages.contains_key(name) {
                let kind = SpecErrorKind::UnknownStage(name.to_string());
                let hint = did_you_mean(name, stages.keys().map(|key| &**key));
                self.mistakes.add(entry.key, kind, hint);
            }
        }
    }
}

/// Returns the beginning of the first line with which `text` fails to parse with `message`: the
/// parser gives no span for too deep a nesting.
fn first_line_with(message: &str, text: &str) -> Range<usize> {
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let goes_wrong = |end: &usize| {
        let (_, errors) = DeTable::parse_recoverable(&text[..*end]);
        errors.iter().any(|error| error.message() == message)
    };
    let line = ends.partition_point(|end| !goes_wrong(end));
    let start = line.checked_sub(1).map_or(0, |before| ends[before]);
    start..start
}

fn merge_root(base: &TreeNode, over: &TreeNode) -> TreeNode {
    let mut result = overlay::merge_shallow(base, over);
    let get =
        |node: &TreeNode, key: &str| node.table().and_then(|t| t.get(key)).map(|e| e.node.clone());
    if let TreeValue::Table(table) = &mut result.value {
        let table = Arc::make_mut(table);
        table.remove("extends");
        if let (Some(old), Some(new)) = (get(base, "stage"), get(over, "stage"))
            && let Some(entry) = table.get_mut("stage")
        {
            entry.node = overlay::merge_stages(&old, &new);
        }
        if let (Some(old), Some(new)) = (get(base, "matrix"), get(over, "matrix"))
            && let Some(entry) = table.get_mut("matrix")
        {
            entry.node = overlay::merge_shallow(&old, &new);
        }
    }
    result
}
