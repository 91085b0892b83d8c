//! The methods a pipeline file may name.

use crate::{
    ArtifactKind, Span, Stage,
    spec::{Settings, SettingsMistakeKind, TreeEntry, TreeNode, TreeValue},
};
use schemars::Schema;
use std::{collections::BTreeMap, sync::Arc};

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

/// Every method, by name.
#[derive(Clone, Default)]
pub struct Registry {
    methods: BTreeMap<&'static str, Method>,
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
