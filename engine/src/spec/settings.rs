//! The settings of a stage, its `with` table: a serde deserializer that keeps the span of a
//! mistake.

use super::{
    SpecSource,
    spec_path::SpecPath,
    tree::{Span, TreeNode, TreeValue, not_json},
};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use std::{fmt, path::Path, sync::Arc};

/// The settings of a stage as they stand in the file.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    node: &'a TreeNode,
    sources: &'a [SpecSource],
}

impl<'a> Settings<'a> {
    pub(crate) fn new(node: &'a TreeNode, sources: &'a [SpecSource]) -> Self {
        Self { node, sources }
    }

    /// Reads the settings as `T`.
    ///
    /// # Errors
    ///
    /// Returns the first mistake and its span.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, SettingsError> {
        T::deserialize(NodeDeserializer { node: self.node, sources: self.sources })
    }
}

/// A mistake in a setting, and its span. Boxed, for every result of the deserializer holds one.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsError(Box<SettingsMistake>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SettingsMistake {
    pub(crate) kind: SettingsMistakeKind,
    pub(crate) span: Option<Span>,
    /// The path from `with` to the mistake, innermost first while the error is passed up.
    pub(crate) path: Vec<Arc<str>>,
}

/// The kinds of mistakes in settings.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SettingsMistakeKind {
    /// No setting has this name.
    UnknownSetting { name: String, known: &'static [&'static str] },
    /// No variant of an enum has this name.
    UnknownChoice { found: String, known: &'static [&'static str] },
    /// A setting without a default is not there.
    Missing(&'static str),
    /// Its type refuses the value.
    Refused { message: String, hint: Option<&'static str> },
}

impl SettingsError {
    pub(crate) fn details(&self) -> &SettingsMistake {
        &self.0
    }

    fn new(kind: SettingsMistakeKind) -> Self {
        Self(Box::new(SettingsMistake { kind, span: None, path: vec![] }))
    }

    fn refused(message: String) -> Self {
        Self::new(SettingsMistakeKind::Refused { message, hint: None })
    }

    fn not_json((message, hint): (String, &'static str)) -> Self {
        Self::new(SettingsMistakeKind::Refused { message, hint: Some(hint) })
    }

    fn at(mut self, span: Span) -> Self {
        self.0.span.get_or_insert(span);
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            SettingsMistakeKind::UnknownSetting { name, .. } => {
                write!(f, "no setting is called `{name}`")
            }
            SettingsMistakeKind::UnknownChoice { found, .. } => {
                write!(f, "`{found}` is not a choice here")
            }
            SettingsMistakeKind::Missing(field) => write!(f, "setting `{field}` is required"),
            SettingsMistakeKind::Refused { message, .. } => f.write_str(message),
        }
    }
}

impl std::error::Error for SettingsError {}

impl de::Error for SettingsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::refused(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let name = field.to_owned();
        Self::new(SettingsMistakeKind::UnknownSetting { name, known: expected })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let found = variant.to_owned();
        Self::new(SettingsMistakeKind::UnknownChoice { found, known: expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(SettingsMistakeKind::Missing(field))
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::refused(format!("expected {}, found {found}", expected_in_words(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::refused(format!("expected {}, found {found}", expected_in_words(expected)))
    }
}

/// Returns the type serde expected, in the words of a pipeline file.
fn expected_in_words(expected: &dyn de::Expected) -> String {
    let up_to = |most: u64| format!("a whole number from 0 to {most}");
    match expected.to_string().as_str() {
        "u8" => up_to(u8::MAX.into()),
        "u16" => up_to(u16::MAX.into()),
        "u32" => up_to(u32::MAX.into()),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other => other.to_owned(),
    }
}

/// A deserializer of a value, and the sources that its spans are in.
#[derive(Clone, Copy)]
struct NodeDeserializer<'a> {
    node: &'a TreeNode,
    sources: &'a [SpecSource],
}

impl<'de> de::Deserializer<'de> for NodeDeserializer<'de> {
    type Error = SettingsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        if let Some(why) = not_json(&self.node.value) {
            return Err(SettingsError::not_json(why).at(self.node.span));
        }
        match &self.node.value {
            TreeValue::String(text) => visitor.visit_borrowed_str(text),
            TreeValue::Integer(number) => visitor.visit_i64(*number),
            TreeValue::Float(number) => visitor.visit_f64(*number),
            TreeValue::Boolean(flag) => visitor.visit_bool(*flag),
            TreeValue::Datetime(text) | TreeValue::TooLarge(text) => {
                visitor.visit_borrowed_str(text)
            }
            TreeValue::Array(items) => {
                visitor.visit_seq(ArrayAccess { rest: items.iter(), sources: self.sources })
            }
            TreeValue::Table(table) => visitor.visit_map(TableAccess::new(table, self.sources)),
        }
        .map_err(|error| error.at(self.node.span))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        if let (SpecPath::NAME, TreeValue::String(text)) = (name, &self.node.value) {
            let source = self.sources.get(self.node.span.source as usize);
            let folder = source.and_then(|source| Path::new(&source.name).parent()?.to_str());
            let both = [folder.unwrap_or_default(), text].into_iter();
            return visitor
                .visit_seq(de::value::SeqDeserializer::new(both))
                .map_err(|error: SettingsError| error.at(self.node.span));
        }
        visitor.visit_newtype_struct(self).map_err(|error| error.at(self.node.span))
    }

    // A float setting takes integers, too: many write `1` for `1.0`.
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        match self.node.value {
            TreeValue::Integer(number) => visitor
                .visit_f64(number as f64)
                .map_err(|error: SettingsError| error.at(self.node.span)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        match self.node.value {
            TreeValue::Float(number) if number.is_finite() && !(number as f32).is_finite() => {
                let message = format!("`{number:e}` is too large: this goes up to 3.4e38");
                Err(SettingsError::refused(message).at(self.node.span))
            }
            _ => self.deserialize_f64(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        let result = match &self.node.value {
            TreeValue::String(text) => visitor.visit_enum((&**text).into_deserializer()),
            TreeValue::Table(table) if table.len() == 1 => {
                let entries = TableAccess::new(table, self.sources);
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            value => Err(match not_json(value) {
                Some(why) => SettingsError::not_json(why),
                None => SettingsError::refused(format!(
                    "expected one of {}, found {}",
                    variants.join(", "),
                    value.type_name()
                )),
            }),
        };
        result.map_err(|error: SettingsError| error.at(self.node.span))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string
        bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct ArrayAccess<'a> {
    rest: std::slice::Iter<'a, TreeNode>,
    sources: &'a [SpecSource],
}

impl<'de> SeqAccess<'de> for ArrayAccess<'de> {
    type Error = SettingsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, SettingsError> {
        let Some(node) = self.rest.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer { node, sources: self.sources }).map(Some)
    }
}

struct TableAccess<'a> {
    rest: std::collections::btree_map::Iter<'a, Arc<str>, super::tree::TreeEntry>,
    current: Option<(&'a Arc<str>, &'a super::tree::TreeEntry)>,
    sources: &'a [SpecSource],
}

impl<'a> TableAccess<'a> {
    fn new(table: &'a super::tree::TreeTable, sources: &'a [SpecSource]) -> Self {
        Self { rest: table.iter(), current: None, sources }
    }
}

impl<'de> MapAccess<'de> for TableAccess<'de> {
    type Error = SettingsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, SettingsError> {
        self.current = self.rest.next();
        let Some((key, entry)) = self.current else { return Ok(None) };
        let name: de::value::BorrowedStrDeserializer<'de, SettingsError> =
            de::value::BorrowedStrDeserializer::new(key);
        seed.deserialize(name).map(Some).map_err(|mut error| {
            error.0.path.push(Arc::clone(key));
            error.at(entry.key)
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, SettingsError> {
        let (key, entry) = self.current.take().expect("serde asks for a key first");
        seed.deserialize(NodeDeserializer { node: &entry.node, sources: self.sources }).map_err(
            |mut error| {
                error.0.path.push(Arc::clone(key));
                error.at(entry.node.span)
            },
        )
    }
}
