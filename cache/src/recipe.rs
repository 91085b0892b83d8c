//! Everything that can change a result, written down in one canonical form.

use crate::{Artifact, Digest, Key};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::{Number, Value};
use std::{collections::BTreeMap, sync::Arc};

/// Goes up when the encoding below changes, and every key with it.
const CONTEXT: &str = "coresift recipe v1";

/// The full identity of one computation, kept readable so that two runs can be compared.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Written")]
pub struct Recipe {
    /// The method, such as `select.herding`.
    pub method: String,
    /// The revision of the method's results.
    pub revision: u32,
    /// The settings, defaults filled in. Shared: the computations of a matrix have few of them.
    pub settings: Arc<Value>,
    /// The digest of what each input port received.
    pub inputs: BTreeMap<String, Digest>,
    /// The seed of the random streams, or `None` if none is drawn from.
    pub seed: Option<u64>,
}

// The recipe as JSON. serde_json reads a float of 16 digits or more back as a neighbour of what it
// wrote, unless `float_roundtrip` is switched on for every crate in the program; a recipe must
// come back with its key, so where that happens the bits of the floats stand beside the settings.
impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut float_bits, mut lost) = (vec![], false);
        each_float(&self.settings, &mut |number| {
            let value = number.as_f64().unwrap_or(f64::NAN);
            let back: Option<f64> = serde_json::from_str(&number.to_string()).ok();
            lost |= back.map(f64::to_bits) != Some(value.to_bits());
            float_bits.push(value.to_bits());
        });
        let mut fields = serializer.serialize_struct("Recipe", 5 + usize::from(lost))?;
        fields.serialize_field("method", &self.method)?;
        fields.serialize_field("revision", &self.revision)?;
        fields.serialize_field("settings", &*self.settings)?;
        fields.serialize_field("inputs", &self.inputs)?;
        fields.serialize_field("seed", &self.seed)?;
        if lost {
            fields.serialize_field("float_bits", &float_bits)?;
        }
        fields.end()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Recipe")]
struct Written {
    method: String,
    revision: u32,
    settings: Value,
    inputs: BTreeMap<String, Digest>,
    seed: Option<u64>,
    #[serde(default)]
    float_bits: Vec<u64>,
}

impl From<Written> for Recipe {
    fn from(written: Written) -> Self {
        let Written { method, revision, mut settings, inputs, seed, float_bits } = written;
        if !float_bits.is_empty() {
            restore_floats(&mut settings, &mut float_bits.into_iter());
        }
        Self { method, revision, settings: Arc::new(settings), inputs, seed }
    }
}

fn is_float(number: &Number) -> bool {
    number.as_i64().is_none() && number.as_u64().is_none()
}

// Goes through objects by name, as `feed` does and for the same reason.
fn each_float(value: &Value, visit: &mut dyn FnMut(&Number)) {
    match value {
        Value::Number(number) if is_float(number) => visit(number),
        Value::Array(items) => items.iter().for_each(|item| each_float(item, visit)),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            sorted.into_values().for_each(|field| each_float(field, visit));
        }
        _ => {}
    }
}

fn restore_floats(value: &mut Value, bits: &mut dyn Iterator<Item = u64>) {
    match value {
        Value::Number(number) if is_float(number) => {
            let exact = bits.next().and_then(|bits| Number::from_f64(f64::from_bits(bits)));
            if let Some(exact) = exact {
                *number = exact;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| restore_floats(item, bits)),
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter_mut().collect();
            sorted.into_values().for_each(|field| restore_floats(field, bits));
        }
        _ => {}
    }
}

/// Where, when and at what cost a result was made. No part of any key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provenance {
    /// Wall-clock seconds the computation took, the resumed part left out.
    pub seconds: f64,
    /// The device it ran on, such as `cpu` or `cuda:0`.
    pub device: String,
    /// When it ended, in seconds since 1970 (UTC).
    pub finished: u64,
    /// The build of the program, such as `0.1.0`.
    pub build: String,
    /// What it said while it ran, line by line.
    pub log: Vec<String>,
}

/// What one computation produced, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The computation.
    pub recipe: Recipe,
    /// What it produced.
    pub output: Artifact,
    /// How that went.
    pub provenance: Provenance,
}

impl Recipe {
    /// Returns the key of this recipe.
    #[must_use]
    pub fn key(&self) -> Key {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        feed_str(&mut hasher, &self.method);
        hasher.update(&self.revision.to_le_bytes());
        feed(&mut hasher, &self.settings);
        hasher.update(&(self.inputs.len() as u64).to_le_bytes());
        for (port, digest) in &self.inputs {
            feed_str(&mut hasher, port);
            hasher.update(digest.as_bytes());
        }
        match self.seed {
            None => hasher.update(&[0]),
            Some(seed) => hasher.update(&[1]).update(&seed.to_le_bytes()),
        };
        Key::from_hash(hasher.finalize())
    }
}

// Tags, lengths and an explicit sort: the encoding must not depend on which features of
// serde_json (`preserve_order`, `arbitrary_precision`) some other crate switches on.
fn feed(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => {
            hasher.update(b"n");
        }
        Value::Bool(flag) => {
            hasher.update(if *flag { b"t" } else { b"f" });
        }
        Value::Number(number) => {
            if let Some(n) = number.as_i64() {
                hasher.update(b"i").update(&n.to_le_bytes());
            } else if let Some(n) = number.as_u64() {
                hasher.update(b"u").update(&n.to_le_bytes());
            } else {
                let n = number.as_f64().unwrap_or(f64::NAN);
                hasher.update(b"d").update(&n.to_bits().to_le_bytes());
            }
        }
        Value::String(text) => {
            hasher.update(b"s");
            feed_str(hasher, text);
        }
        Value::Array(items) => {
            hasher.update(b"a").update(&(items.len() as u64).to_le_bytes());
            items.iter().for_each(|item| feed(hasher, item));
        }
        Value::Object(fields) => {
            hasher.update(b"o").update(&(fields.len() as u64).to_le_bytes());
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            for (name, field) in sorted {
                feed_str(hasher, name);
                feed(hasher, field);
            }
        }
    }
}

fn feed_str(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(settings: Value) -> Key {
        let (method, inputs) = ("select.top".into(), BTreeMap::new());
        Recipe { method, revision: 1, settings: settings.into(), inputs, seed: Some(7) }.key()
    }

    // A change here loses every cache in the world: it must be meant, and CONTEXT goes up.
    #[test]
    fn keys_are_frozen() {
        assert_eq!(key(json!({"keep": 0.1, "rule": {"bins": 50}})).short(), "cb54015be3e3");
    }

    #[test]
    fn neighbours_differ() {
        assert_ne!(key(json!({"a": "bc"})), key(json!({"ab": "c"})));
        assert_ne!(key(json!([1, 0])), key(json!([1.0, 0])));
        assert_ne!(key(json!([[1], 0])), key(json!([[1, 0]])));
        assert_ne!(key(json!(u64::MAX)), key(json!(u64::MAX - 1)));
    }

    #[test]
    fn every_float_comes_back_from_json() {
        let mut state = 1_u64;
        let floats: Vec<f64> = (0..2000)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // A single-precision setting has 17 digits once it is a double.
                f64::from(f32::from_bits((state >> 34) as u32))
            })
            .filter(|float| float.is_finite())
            .collect();
        let lossy =
            |one: &&f64| serde_json::from_str::<f64>(&json!(one).to_string()).ok() != Some(**one);
        assert!(floats.iter().any(|one| lossy(&one)), "or `float_bits` is not needed any more");
        for float in floats {
            let settings = json!({"z": [float, 1, 2.5], "a": {"deep": float}});
            let (method, inputs) = ("score.grand".into(), BTreeMap::new());
            let settings = Arc::new(settings);
            let recipe = Recipe { method, revision: 1, settings, inputs, seed: None };
            let text = serde_json::to_string(&recipe).expect("a recipe is JSON");
            let back: Recipe = serde_json::from_str(&text).expect("it was just written");
            assert_eq!(back.key(), recipe.key(), "{float:?}");
        }
    }
}
