//! What can be wrong with a pipeline file.

use super::tree::Span;
use std::{collections::BTreeMap, fmt};
use thiserror::Error;

/// A text that places point into: a pipeline file, a base it extends, or a `--set`.
#[derive(Clone, Debug)]
pub struct SpecSource {
    /// Its path, or the flag it came from.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{kind}")]
pub struct SpecError {
    /// Where it stands.
    pub span: Span,
    /// What is wrong.
    pub kind: SpecErrorKind,
    /// The way out.
    pub hint: Option<String>,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum SpecErrorKind {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        why: String,
    },
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// Files that extend each other.
    #[error("`{0}` extends itself")]
    ExtendsItself(String),
    /// A key that means nothing here.
    #[error("{what} has no key called `{key}`")]
    UnknownKey {
        /// The table it stands in.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// A value of another type than wanted.
    #[error("{what} is {wanted}, not {found}")]
    WrongType {
        /// The key.
        what: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A name that is a word of the language.
    #[error("a stage cannot be called `{}`", printable(.0))]
    ReservedName(String),
    /// `use` is missing.
    #[error("stage `{0}` does not say which method it uses")]
    NoMethod(String),
    /// `use` names no method.
    #[error("no method is called `{0}`")]
    UnknownMethod(String),
    /// `from` or `--target` names no stage.
    #[error("no stage is called `{0}`")]
    UnknownStage(String),
    /// An input port was given nothing.
    #[error("input `{port}` of `{method}` is not connected")]
    Unconnected {
        /// The method.
        method: &'static str,
        /// The port.
        port: &'static str,
    },
    /// None of several ports was given anything.
    #[error("`{method}` needs one of its inputs: {ports}")]
    NoneConnected {
        /// The method.
        method: &'static str,
        /// The ports.
        ports: String,
    },
    /// Two ports were connected that exclude each other.
    #[error("`{method}` takes only one of its inputs: {ports}")]
    TwoConnected {
        /// The method.
        method: &'static str,
        /// The ports.
        ports: String,
    },
    /// `from` names a port the method does not have.
    #[error("`{method}` has no input called `{port}`")]
    UnknownPort {
        /// The method.
        method: &'static str,
        /// The port named.
        port: String,
    },
    /// A list on a port that takes one artifact.
    #[error("input `{port}` of `{method}` takes one stage, not a list")]
    NotMany {
        /// The method.
        method: &'static str,
        /// The port.
        port: &'static str,
    },
    /// The artifact offered is of another kind.
    #[error("input `{port}` takes {wants}, but `{stage}` gives {gives}")]
    KindMismatch {
        /// The port.
        port: &'static str,
        /// What it takes.
        wants: &'static str,
        /// The stage connected to it.
        stage: String,
        /// What that gives.
        gives: &'static str,
    },
    /// The stages form a cycle: each gives to the next, and the last is the first.
    #[error("stages wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A setting is not what it should be.
    #[error("{0}")]
    Setting(String),
    /// A file outside the store is not there.
    #[error("{0}")]
    File(String),
    /// An axis of the matrix does not name a place in the pipeline.
    #[error("axis `{axis}` {why}")]
    Axis {
        /// The axis.
        axis: String,
        /// What is wrong with it.
        why: String,
    },
    /// Two axes set the same place.
    #[error("axes `{0}` and `{1}` both set `{2}`")]
    AxesOverlap(String, String, String),
    /// A matrix nobody waits for.
    #[error("the matrix has {cells} cells, which is more than {most}: {axes}")]
    TooManyCells {
        /// How many it has.
        cells: u128,
        /// How many it may have.
        most: u64,
        /// Its axes, and how many values each has.
        axes: String,
    },
    /// `exclude` took every cell out.
    #[error("`exclude` leaves no cell")]
    NoCells,
    /// An entry of `exclude` or `include` that changes nothing.
    #[error("this `{0}` changes nothing: {why}", why = idle(.0))]
    MatchesNothing(&'static str),
    /// An entry of `exclude` or `include` that names no axis.
    #[error("this `{0}` names no axis")]
    EmptyRule(&'static str),
    /// A name or a title that would break the lines it is shown in.
    #[error("{0} holds a control character")]
    ControlCharacter(&'static str),
    /// `repeats` is not a number of repeats.
    #[error("`repeats` lies between 1 and {most}, but {found} does not")]
    Repeats {
        /// What it is.
        found: i64,
        /// The most it may be.
        most: u32,
    },
    /// `repeats` where every repeat would be the same.
    #[error("`{method}` draws no random numbers: its repeats would all be the same")]
    NothingToRepeat {
        /// The method.
        method: &'static str,
    },
    /// A stage with `repeats` on a port that takes one artifact.
    #[error("input `{port}` of `{method}` takes one stage, but `{stage}` has {repeats} repeats")]
    RepeatsOnOne {
        /// The method.
        method: &'static str,
        /// The port.
        port: &'static str,
        /// The stage connected to it.
        stage: String,
        /// How often that is repeated.
        repeats: u32,
    },
    /// There is nothing to do.
    #[error("the file has no stages")]
    Empty,
}

fn idle(what: &str) -> &'static str {
    match what {
        "exclude" => "no cell has all of these values",
        _ => "every cell it names is there without it",
    }
}

fn printable(name: &str) -> String {
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(one).collect()
}

/// Every mistake found, in the order of their places.
#[derive(Debug, Error)]
pub struct SpecErrors {
    /// The texts their places point into.
    pub sources: Vec<SpecSource>,
    /// The mistakes.
    pub errors: Vec<SpecError>,
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => f.write_str("the pipeline has a mistake"),
            n => write!(f, "the pipeline has {n} mistakes"),
        }
    }
}

/// Collects mistakes; the same one met in many cells of a matrix counts once.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(std::collections::BTreeSet<SpecError>);

impl Mistakes {
    pub(crate) fn add(&mut self, span: Span, kind: SpecErrorKind, hint: Option<String>) {
        self.0.insert(SpecError { span, kind, hint });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the mistakes in the order of their places. What a line that is not TOML was taken
    /// for is not held against it: such a line has one mistake.
    pub(crate) fn into_vec(self, sources: &[SpecSource]) -> Vec<SpecError> {
        let is_syntax = |error: &&SpecError| matches!(error.kind, SpecErrorKind::Syntax(_));
        let mut broken: BTreeMap<(u32, usize), (usize, SpecError)> = BTreeMap::new();
        for error in self.0.iter().filter(is_syntax) {
            let Some(source) = sources.get(error.span.source as usize) else { continue };
            let at = error.span.range().start.min(source.text.len());
            let (before, after) = source.text.as_bytes().split_at(at);
            let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let end = at + after.iter().position(|byte| *byte == b'\n').unwrap_or(after.len());
            broken.entry((error.span.source, start)).or_insert_with(|| (end, error.clone()));
        }
        let stays = |error: &SpecError| {
            let at = error.span.range().start;
            let line = broken.range(..=(error.span.source, at)).next_back();
            line.is_none_or(|((source, _), (end, first))| {
                *source != error.span.source || at > *end || first == error
            })
        };
        self.0.into_iter().filter(stays).collect()
    }
}

/// Returns the hint for `name`, which is none of `known`.
pub(crate) fn did_you_mean<'a>(
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    let near = known
        .clone()
        .into_iter()
        .map(|one| (strsim::damerau_levenshtein(name, one), one))
        .filter(|(distance, one)| *distance <= 2.max(one.len() / 3))
        .min();
    if let Some((_, near)) = near {
        return Some(format!("did you mean `{near}`?"));
    }
    let mut all: Vec<&str> = known.into_iter().collect();
    all.sort_unstable();
    all.dedup();
    match all.len() {
        0 => None,
        1..=24 => Some(format!("known are: {}", all.join(", "))),
        _ => None,
    }
}
