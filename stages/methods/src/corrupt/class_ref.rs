//! A class of a data set, by its name or its number; and what classes are taken for.

use crate::MethodError;
use artifacts::ClassId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, collections::BTreeMap, fmt};

/// CIFAR-10's usual confusions.
pub(super) const CIFAR10: [(u32, u32); 5] = [(2, 0), (3, 5), (4, 7), (5, 3), (9, 1)];

/// A class as a user says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClassRef {
    Number(u32),
    Name(String),
}

impl ClassRef {
    /// Returns the label this means, or what is wrong with it.
    pub(super) fn label(&self, classes: &[String]) -> Result<ClassId, MethodError> {
        let named = |name: &str| classes.iter().position(|one| one == name);
        let found = match self {
            Self::Number(number) => Some(*number as usize),
            Self::Name(name) => named(name).or_else(|| name.parse().ok()),
        };
        let label = found.filter(|label| *label < classes.len());
        label.map(ClassId::at).ok_or_else(|| MethodError::NoSuchClass {
            class: self.to_string(),
            classes: classes.to_vec(),
        })
    }
}

impl fmt::Display for ClassRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl Serialize for ClassRef {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => to.serialize_u32(*number),
            Self::Name(name) => to.serialize_str(name),
        }
    }
}

// By hand: `untagged` would lose the place of a mistake.
impl<'de> Deserialize<'de> for ClassRef {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ClassRef;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a class's name or number")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ClassRef, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Signed(number), &self);
                u32::try_from(number).map(ClassRef::Number).map_err(wrong)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ClassRef, E> {
                let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
                u32::try_from(number).map(ClassRef::Number).map_err(wrong)
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<ClassRef, E> {
                Ok(ClassRef::Name(name.to_owned()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl JsonSchema for ClassRef {
    fn schema_name() -> Cow<'static, str> {
        "ClassRef".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "minimum": 0 })
    }
}

/// Returns what each class is taken for, if for anything, as `given` says it by names and numbers.
pub(super) fn map(
    given: Option<&BTreeMap<String, ClassRef>>,
    classes: &[String],
) -> Result<Vec<Option<ClassId>>, MethodError> {
    let mut map = vec![None; classes.len()];
    let Some(given) = given else {
        if classes.len() != 10 {
            return Err(MethodError::NoMap);
        }
        for (from, to) in CIFAR10 {
            map[from as usize] = Some(ClassId::from(to));
        }
        return Ok(map);
    };
    for (from, to) in given {
        let (from_label, to_label) =
            (ClassRef::Name(from.clone()).label(classes)?, to.label(classes)?);
        if from_label == to_label {
            return Err(MethodError::MappedToItself { class: from.clone() });
        }
        if map[from_label.index()].replace(to_label).is_some() {
            return Err(MethodError::MappedTwice { class: from.clone() });
        }
    }
    Ok(map)
}
