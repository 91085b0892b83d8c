//! The `with` table of a stage, read through serde without losing any mistake's place.

use super::{
    Source,
    tree::{Node, Place, Value, not_json},
    written::Written,
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
    node: &'a Node,
    sources: &'a [Source],
}

impl<'a> Settings<'a> {
    pub(crate) fn new(node: &'a Node, sources: &'a [Source]) -> Self {
        Self { node, sources }
    }

    /// Reads the settings as `T`.
    ///
    /// # Errors
    ///
    /// Says what the first mistake is and where it stands.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, SettingsError> {
        T::deserialize(Reader(self.node, self.sources))
    }
}

/// What is wrong with a setting, and where. Boxed: it is rare, and every setting's result holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingsError(Box<Details>);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Details {
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    /// The path from `with` to the mistake, innermost first while it is on its way out.
    pub(crate) path: Vec<Arc<str>>,
    /// The name that is not known, and those that are.
    pub(crate) unknown: Option<(String, Vec<&'static str>)>,
    pub(crate) missing: Option<&'static str>,
    /// The way out, where the value is one that no setting takes.
    pub(crate) hint: Option<&'static str>,
}

impl SettingsError {
    pub(crate) fn details(&self) -> &Details {
        &self.0
    }

    fn new(details: Details) -> Self {
        Self(Box::new(details))
    }

    fn bare(message: String) -> Self {
        Self::new(Details { message, ..Details::default() })
    }

    fn not_json((message, hint): (String, &'static str)) -> Self {
        Self::new(Details { message, hint: Some(hint), ..Details::default() })
    }

    fn at(mut self, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for SettingsError {}

impl de::Error for SettingsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::bare(message.to_string())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let unknown = Some((field.to_owned(), expected.to_vec()));
        let message = format!("no setting is called `{field}`");
        Self::new(Details { message, unknown, ..Details::default() })
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let unknown = Some((variant.to_owned(), expected.to_vec()));
        let message = format!("`{variant}` is not a choice here");
        Self::new(Details { message, unknown, ..Details::default() })
    }

    fn missing_field(field: &'static str) -> Self {
        let message = format!("setting `{field}` is required");
        Self::new(Details { message, missing: Some(field), ..Details::default() })
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bare(format!("expected {}, found {found}", wanted(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::bare(format!("expected {}, found {found}", wanted(expected)))
    }
}

/// Returns what serde expected in the words of a pipeline file.
fn wanted(expected: &dyn de::Expected) -> String {
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

/// A value, and the sources that its places are in.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Node, &'a [Source]);

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = SettingsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        if let Some(why) = not_json(&self.0.value) {
            return Err(SettingsError::not_json(why).at(self.0.place));
        }
        match &self.0.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(flag) => visitor.visit_bool(*flag),
            Value::Datetime(text) | Value::TooLarge(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(Items(items.iter(), self.1)),
            Value::Table(table) => visitor.visit_map(Entries::new(table, self.1)),
        }
        .map_err(|error| error.at(self.0.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingsError> {
        if let (Written::NAME, Value::String(text)) = (name, &self.0.value) {
            let source = self.1.get(self.0.place.source as usize);
            let folder = source.and_then(|source| Path::new(&source.name).parent()?.to_str());
            let both = [folder.unwrap_or_default(), text].into_iter();
            return visitor
                .visit_seq(de::value::SeqDeserializer::new(both))
                .map_err(|error: SettingsError| error.at(self.0.place));
        }
        visitor.visit_newtype_struct(self).map_err(|error| error.at(self.0.place))
    }

    // TOML writers put `1` where `1.0` is meant: a setting that is a float takes both.
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        match self.0.value {
            Value::Integer(number) => visitor
                .visit_f64(number as f64)
                .map_err(|error: SettingsError| error.at(self.0.place)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingsError> {
        match self.0.value {
            Value::Float(number) if number.is_finite() && !(number as f32).is_finite() => {
                let message = format!("`{number:e}` is too large: this goes up to 3.4e38");
                Err(SettingsError::bare(message).at(self.0.place))
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
        let result = match &self.0.value {
            Value::String(text) => visitor.visit_enum((&**text).into_deserializer()),
            Value::Table(table) if table.len() == 1 => {
                let entries = Entries::new(table, self.1);
                visitor.visit_enum(de::value::MapAccessDeserializer::new(entries))
            }
            value => Err(match not_json(value) {
                Some(why) => SettingsError::not_json(why),
                None => SettingsError::bare(format!(
                    "expected one of {}, found {}",
                    variants.join(", "),
                    value.type_name()
                )),
            }),
        };
        result.map_err(|error: SettingsError| error.at(self.0.place))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 char str string
        bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>, &'a [Source]);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = SettingsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, SettingsError> {
        self.0.next().map(|node| seed.deserialize(Reader(node, self.1))).transpose()
    }
}

struct Entries<'a> {
    rest: std::collections::btree_map::Iter<'a, Arc<str>, super::tree::Entry>,
    current: Option<(&'a Arc<str>, &'a super::tree::Entry)>,
    sources: &'a [Source],
}

impl<'a> Entries<'a> {
    fn new(table: &'a super::tree::Table, sources: &'a [Source]) -> Self {
        Self { rest: table.iter(), current: None, sources }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
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
        seed.deserialize(Reader(&entry.node, self.sources)).map_err(|mut error| {
            error.0.path.push(Arc::clone(key));
            error.at(entry.node.place)
        })
    }
}
