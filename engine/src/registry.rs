//! The methods a pipeline file may name.

use crate::{
    ArtifactKind, Span, Stage,
    protocol::{Protocol, Protocols},
    spec::{Settings, SettingsMistakeKind, TreeEntry, TreeNode, TreeValue},
};
use schemars::Schema;
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Reads a stage's `with` table.
pub type Parse = fn(Settings<'_>) -> Result<Box<dyn Stage>, crate::spec::SettingsError>;

/// A method: a name that `use` may hold, and the parser of its settings.
#[derive(Clone, Copy)]
pub struct Method {
    /// The name, `<stage>` or `<stage>.<method>`.
    pub name: &'static str,
    /// A summary of one line.
    pub summary: &'static str,
    /// The manual: what it computes, the paper and equation, the cost, where it departs from the
    /// authors' code. Markdown, several lines.
    pub manual: &'static str,
    /// Reads the settings.
    pub parse: Parse,
    /// Returns the JSON schema of the settings.
    pub schema: fn() -> Schema,
}

impl Method {
    /// Returns a stage of this method to read ports, output and streams from. Settings without a
    /// default get a stand-in of their type, found by parsing one value of each type in turn.
    #[must_use]
    pub fn sample(&self) -> Option<Box<dyn Stage>> {
        let span = Span::default();
        let stand_ins = [
            TreeValue::String(Arc::from("-")),
            TreeValue::Integer(1),
            TreeValue::Array(Arc::default()),
        ];
        let mut given: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        loop {
            let entry = |(name, tried): (&Arc<str>, &usize)| {
                let node = TreeNode { span, value: stand_ins.get(*tried)?.clone() };
                Some((Arc::clone(name), TreeEntry { key: span, node }))
            };
            let table = given.iter().map(entry).collect::<Option<_>>()?;
            let node = TreeNode { span, value: TreeValue::Table(Arc::new(table)) };
            match (self.parse)(Settings::new(&node, &[])) {
                Ok(stage) => return Some(stage),
                Err(error) => {
                    let error = error.details();
                    let missing = match error.kind {
                        SettingsMistakeKind::Missing(field) if error.path.is_empty() => {
                            Some(Arc::from(field))
                        }
                        _ => None,
                    };
                    let name = missing.or_else(|| error.path.last().cloned())?;
                    given.entry(name).and_modify(|tried| *tried += 1).or_insert(0);
                }
            }
        }
    }
}

/// A former way to write a method, so that files from before keep working.
#[derive(Clone, Copy, Debug)]
pub struct Renamed {
    /// The method as it was written.
    pub method: &'static str,
    /// The setting that tells, a path from `with`.
    pub setting: &'static [&'static str],
    /// The value of that setting, if only one is meant.
    pub value: Option<&'static str>,
    /// The method that is meant.
    pub now: &'static str,
    /// What the setting becomes.
    pub becomes: Becomes,
    /// Settings beside it that had no effect then, and that the method does not have.
    pub unused: &'static [&'static str],
}

/// What a former setting becomes. Paths are from `with`.
#[derive(Clone, Copy, Debug)]
pub enum Becomes {
    /// Nothing: it is left out.
    Nothing,
    /// A setting of the same value at this path.
    Moved(&'static [&'static str]),
    /// The setting at this path, with this value.
    Value(&'static [&'static str], &'static str),
}

/// Says what was written, and what to write instead.
impl fmt::Display for Renamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}", self.setting.join("."))?;
        if let Some(value) = self.value {
            write!(f, " = \"{value}\"")?;
        }
        write!(f, "` of `{}` ", self.method)?;
        if self.method == self.now {
            return match self.becomes {
                Becomes::Nothing => f.write_str("is no setting any more: leave it out"),
                Becomes::Moved(path) => write!(f, "is now `{}`", path.join(".")),
                Becomes::Value(path, value) => {
                    write!(f, "is now `{} = \"{value}\"`", path.join("."))
                }
            };
        }
        write!(f, "is now a method: write `use = \"{}\"`", self.now)?;
        match self.becomes {
            Becomes::Nothing => f.write_str(" without it"),
            Becomes::Moved(path) => write!(f, " with `{}`", path.join(".")),
            Becomes::Value(path, value) => write!(f, " with `{} = \"{value}\"`", path.join(".")),
        }
    }
}

/// Every method, by name.
#[derive(Clone, Default)]
pub struct Registry {
    methods: BTreeMap<&'static str, Method>,
    renamed: Vec<Renamed>,
    protocols: Protocols,
    results: Option<ArtifactKind>,
}

impl Registry {
    /// Adds `methods`.
    ///
    /// # Panics
    ///
    /// Panics if a name is taken.
    #[must_use]
    pub fn with(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        for method in methods {
            let taken = self.methods.insert(method.name, method).is_some();
            assert!(!taken, "two methods are called `{}`", method.name);
        }
        self
    }

    /// Adds former ways to write methods. Of several that fit, the first is taken.
    ///
    /// # Panics
    ///
    /// Panics if one leads to no method.
    #[must_use]
    pub fn with_renamed(mut self, renamed: impl IntoIterator<Item = Renamed>) -> Self {
        for one in renamed {
            assert!(self.methods.contains_key(one.now), "no method is called `{}`", one.now);
            self.renamed.push(one);
        }
        self
    }

    /// Returns the former ways to write methods.
    #[must_use]
    pub fn renamed(&self) -> &[Renamed] {
        &self.renamed
    }

    /// Adds the protocols that `text` lists, in TOML: `alternatives`, and `[protocol.NAME]` with
    /// `summary`, `source` and a table of settings for each method in `with`.
    ///
    /// # Panics
    ///
    /// Panics if it does not read, or speaks of a method that is not there.
    #[must_use]
    pub fn with_protocols(mut self, text: &str) -> Self {
        let protocols: Protocols = toml::from_str(text).expect("the protocols are TOML");
        for (name, protocol) in &protocols.all {
            let unknown = protocol.methods().find(|method| !self.methods.contains_key(method));
            assert!(unknown.is_none(), "protocol `{name}` speaks of `{}`", unknown.unwrap_or(""));
        }
        self.protocols = protocols;
        self
    }

    /// Returns the protocols, by name.
    pub fn protocols(&self) -> impl Iterator<Item = (&str, &Protocol)> {
        self.protocols.all.iter().map(|(name, protocol)| (name.as_str(), protocol))
    }

    /// Returns what fills in the settings of stages.
    pub(crate) fn protocol_filler(&self) -> &Protocols {
        &self.protocols
    }

    /// Sets the kind of artifact that is a result, such as metrics: the default targets of a
    /// pipeline.
    #[must_use]
    pub fn with_results(mut self, kind: ArtifactKind) -> Self {
        self.results = Some(kind);
        self
    }

    /// Returns the kind of artifact that is a result.
    #[must_use]
    pub fn results(&self) -> Option<ArtifactKind> {
        self.results
    }

    /// Returns the method called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Method> {
        self.methods.get(name)
    }

    /// Returns all methods, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.methods.values()
    }
}
