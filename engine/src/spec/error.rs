//! The mistakes a pipeline file can have, and hints for them.

use super::tree::Span;
use std::{collections::BTreeMap, fmt};
use thiserror::Error;

/// A text that spans point into: a pipeline file, a base it extends, or a `--set`.
#[derive(Clone, Debug)]
pub struct SpecSource {
    /// Its path, or the flag it came from.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A mistake in a pipeline file, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{kind}")]
pub struct SpecError {
    /// The span of the mistake.
    pub span: Span,
    /// The kind of mistake.
    pub kind: SpecErrorKind,
    /// What can be done, if that is known.
    pub hint: Option<String>,
}

/// The kinds of mistakes in a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum SpecErrorKind {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// The error of the system.
        why: String,
    },
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// Files that extend each other.
    #[error("`{0}` extends itself")]
    ExtendsItself(String),
    /// A key that its table does not have.
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
        /// The type it should have.
        wanted: &'static str,
        /// The value or type found.
        found: &'static str,
    },
    /// A name that no stage can have.
    #[error("a stage cannot be called `{}`", printable(.0))]
    ReservedName(String),
    /// `use` is missing.
    #[error("stage `{0}` does not say which method it uses")]
    NoMethod(String),
    /// `use` names no method.
    #[error("no method is called `{0}`")]
    UnknownMethod(String),
    /// No protocol has this name.
    #[error("no protocol is called `{0}`")]
    UnknownProtocol(String),
    /// A protocol has no settings for a method.
    #[error("protocol `{protocol}` says nothing of `{method}`")]
    SilentProtocol {
        /// The protocol.
        protocol: String,
        /// The method.
        method: String,
    },
    /// `from` or `--target` names no stage.
    #[error("no stage is called `{0}`")]
    UnknownStage(String),
    /// An input port that must be connected is not.
    #[error("input `{port}` of `{method}` is not connected")]
    Unconnected {
        /// The method.
        method: &'static str,
        /// The port.
        port: &'static str,
    },
    /// None of several alternative ports is connected.
    #[error("`{method}` needs one of its inputs: {}", ports.join(", "))]
    NoneConnected {
        /// The method.
        method: &'static str,
        /// The ports.
        ports: Vec<&'static str>,
    },
    /// Two alternative ports are connected.
    #[error("`{method}` takes only one of its inputs: {}", ports.join(", "))]
    TwoConnected {
        /// The method.
        method: &'static str,
        /// The ports.
        ports: Vec<&'static str>,
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
    /// A stage that gives another kind of artifact than the port takes.
    #[error("input `{port}` takes {wants}, but `{stage}` gives {gives}")]
    KindMismatch {
        /// The port.
        port: &'static str,
        /// The kind of artifact the port takes.
        wants: &'static str,
        /// The stage connected to it.
        stage: String,
        /// The kind of artifact that stage gives.
        gives: &'static str,
    },
    /// The stages form a cycle: each gives to the next, and the last is the first.
    #[error("stages wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// `with` names a setting the method does not have.
    #[error("no setting is called `{0}`")]
    UnknownSetting(String),
    /// A setting that takes one of a few words has another.
    #[error("`{0}` is not a choice here")]
    UnknownChoice(String),
    /// A setting without a default is left out.
    #[error("setting `{0}` is required")]
    MissingSetting(&'static str),
    /// A value that its setting's type or the method refuses.
    #[error("{}{message}", in_setting(setting))]
    Setting {
        /// The setting, unless the message names it.
        setting: Option<String>,
        /// The message of the type or the method.
        message: String,
    },
    /// A seed below zero.
    #[error("a seed is not negative")]
    NegativeSeed,
    /// A seed that TOML's integers cannot hold.
    #[error("`{found}` is too large: seeds go from 0 to {}", i64::MAX)]
    SeedTooLarge {
        /// The seed as it is written.
        found: String,
    },
    /// A file or folder outside the store is missing or cannot be read.
    #[error("{0}")]
    File(String),
    /// An axis of the matrix has a mistake.
    #[error("axis `{axis}` {problem}")]
    Axis {
        /// The axis.
        axis: String,
        /// The mistake.
        problem: AxisProblem,
    },
    /// Two axes set the same path.
    #[error("axes `{first}` and `{second}` both set `{path}`")]
    AxesOverlap {
        /// The axis that stands first.
        first: String,
        /// The other.
        second: String,
        /// The path of the setting.
        path: String,
    },
    /// A matrix with too many cells.
    #[error("the matrix has {cells} cells, which is more than {most}: {}", sizes(axes))]
    TooManyCells {
        /// How many it has.
        cells: u128,
        /// How many it may have.
        most: u64,
        /// Its axes, those that change together joined by commas, and how many values each has.
        axes: Vec<(String, usize)>,
    },
    /// `exclude` takes out every cell.
    #[error("`exclude` leaves no cell")]
    NoCells,
    /// An entry of `exclude` or `include` that changes nothing.
    #[error("this `{0}` changes nothing: {why}", why = .0.idle())]
    MatchesNothing(CellRuleKind),
    /// An entry of `exclude` or `include` that names no axis.
    #[error("this `{0}` names no axis")]
    EmptyRule(CellRuleKind),
    /// A name or a title that would break the lines it is shown in.
    #[error("{0} holds a control character")]
    ControlCharacter(&'static str),
    /// `repeats` is not a number of repeats.
    #[error("`repeats` lies between 1 and {most}, but {found} does not")]
    Repeats {
        /// The value or type found.
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
    /// The file has no stages.
    #[error("the file has no stages")]
    Empty,
}

/// A mistake in an axis of a matrix. Shown as a clause, such as `is empty`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum AxisProblem {
    /// Its value is a number, a string or the like.
    #[error("is {found}, not a list of values")]
    NotAList {
        /// The type of the value.
        found: &'static str,
    },
    /// It has no values.
    #[error("is empty")]
    Empty,
    /// An axis of several paths has an entry that is no list.
    #[error("takes lists of {paths} values, not {found}")]
    RowNotAList {
        /// How many paths change together.
        paths: usize,
        /// The type of the entry.
        found: &'static str,
    },
    /// An axis of several paths has a list of another length.
    #[error("takes lists of {paths} values, not a list of {found}")]
    RowLength {
        /// How many paths change together.
        paths: usize,
        /// How many values the list has.
        found: usize,
    },
    /// A rule gives several axes a list of another length.
    #[error("takes lists of {paths} values here")]
    RuleRowLength {
        /// How many axes the rule names together.
        paths: usize,
    },
    /// Its path begins with no stage.
    #[error("names no stage of this pipeline")]
    NoStage,
    /// Its path ends at a stage, or goes on with no key of one.
    #[error("does not say what of the stage it sets")]
    NoKey,
    /// A value of the axis `seed` is no seed.
    #[error("takes whole numbers, not negative")]
    NotASeed,
    /// Its path is written without quotes.
    #[error("is a table")]
    UnquotedPath,
    /// A variant is a number, a string or the like.
    #[error("holds a variant that is not a table")]
    VariantNotATable,
    /// A rule names an axis that the matrix does not have.
    #[error("is not in this matrix")]
    Unknown,
    /// A rule names the end of several axes.
    #[error("may be several")]
    Ambiguous,
    /// A rule names a value that the axis does not have.
    #[error("has no value `{0}`")]
    NoValue(String),
}

/// A list of the matrix that takes cells out or adds some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellRuleKind {
    /// `exclude`.
    Exclude,
    /// `include`.
    Include,
}

impl CellRuleKind {
    /// Returns the key of the list in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Include => "include",
        }
    }

    /// Returns why an entry changes nothing.
    fn idle(self) -> &'static str {
        match self {
            Self::Exclude => "no cell has all of these values",
            Self::Include => "every cell it names is there without it",
        }
    }
}

impl fmt::Display for CellRuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

fn in_setting(setting: &Option<String>) -> String {
    setting.as_ref().map(|name| format!("setting `{name}`: ")).unwrap_or_default()
}

fn sizes(axes: &[(String, usize)]) -> String {
    axes.iter().map(|(axis, size)| format!("{axis} has {size}")).collect::<Vec<_>>().join(", ")
}

fn printable(name: &str) -> String {
    let one = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(one).collect()
}

/// Every mistake found in a pipeline file, in the order of their spans.
#[derive(Debug, Error)]
pub struct SpecErrors {
    /// The texts the spans point into.
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

/// The mistakes found so far; one that is met in many cells of a matrix is one mistake.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(std::collections::BTreeSet<SpecError>);

impl Mistakes {
    pub(crate) fn add(&mut self, span: Span, kind: SpecErrorKind, hint: Option<String>) {
        self.0.insert(SpecError { span, kind, hint });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the mistakes in the order of their spans. A line that is not TOML has one mistake,
    /// the first: the others may follow from how the parser recovers.
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

/// Returns a hint for `name`, which is not one of `known`: the nearest of them, or all.
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
