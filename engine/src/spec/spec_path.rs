//! Paths in settings, which are relative to the pipeline file they are written in.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
};
use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
};

/// A path as it is written in a pipeline file, and the folder of that file. One that is given on
/// the command line is relative to the current directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecPath {
    folder: PathBuf,
    text: String,
}

impl SpecPath {
    /// The newtype name by which the deserializer of settings knows that a folder is wanted.
    pub(crate) const NAME: &'static str = "Written";

    /// Returns the path as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the path relative to the current directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.text)
    }

    /// Returns the folder of the pipeline file it is written in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Serialize for SpecPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpecPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(Self::NAME, SpecPathVisitor)
    }
}

struct SpecPathVisitor;

impl<'de> Visitor<'de> for SpecPathVisitor {
    type Value = SpecPath;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<SpecPath, D::Error> {
        inner.deserialize_str(Self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SpecPath, E> {
        Ok(SpecPath { folder: PathBuf::new(), text: text.to_owned() })
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut both: A) -> Result<SpecPath, A::Error> {
        let missing = || de::Error::invalid_length(0, &"a folder and a path");
        let folder: String = both.next_element()?.ok_or_else(missing)?;
        let text = both.next_element()?.ok_or_else(missing)?;
        Ok(SpecPath { folder: folder.into(), text })
    }
}

impl JsonSchema for SpecPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
