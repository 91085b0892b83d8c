//! Recipes and records of computations. The hash of a recipe's canonical encoding is its key.

use crate::{Artifact, Digest, Key};
use serde::{Deserialize, Serialize, Serializer, de::IgnoredAny};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The context of the key hash; its version goes up when the canonical encoding changes, and every
/// key changes with it.
const CONTEXT: &str = "coresift recipe v1";

/// The identity of a computation: all that can change its result. Readable, so that two runs can be
/// compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RecipeJson")]
pub struct Recipe {
    /// The method, such as `select.herding`.
    pub method: String,
    /// The revision of the method's results.
    pub revision: u32,
    /// The settings, defaults filled in. Shared, for most computations of a matrix have equal
    /// settings.
    #[serde(serialize_with = "shared")]
    pub settings: Arc<Value>,
    /// The digest of the artifact, file or folder of each input, by the input's name.
    pub inputs: BTreeMap<String, Digest>,
    /// The seed of the random streams, or `None` if none is drawn from.
    pub seed: Option<u64>,
}

// A float must come back from JSON with the same bits, or the key would be another: hence
// serde_json's feature `float_roundtrip` in the manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Recipe")]
struct RecipeJson {
    method: String,
    revision: u32,
    settings: Value,
    inputs: BTreeMap<String, Digest>,
    seed: Option<u64>,
    /// The bits of floats, in records of older builds; ignored.
    #[serde(default, rename = "float_bits")]
    _float_bits: IgnoredAny,
}

impl From<RecipeJson> for Recipe {
    fn from(json: RecipeJson) -> Self {
        let RecipeJson { method, revision, settings, inputs, seed, .. } = json;
        Self { method, revision, settings: Arc::new(settings), inputs, seed }
    }
}

fn shared<S: Serializer>(value: &Arc<Value>, serializer: S) -> Result<S::Ok, S::Error> {
    Value::serialize(value, serializer)
}

/// The provenance of a result: where, when and at what cost it was computed. No part of any key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provenance {
    /// Wall-clock seconds the computation took, without the part resumed from a checkpoint.
    pub seconds: f64,
    /// The device it ran on, such as `cpu` or `cuda:0`.
    pub device: String,
    /// When it ended, in seconds since 1970 (UTC).
    pub finished: u64,
    /// The build of the program, such as `0.1.0`.
    pub build: String,
    /// The lines the stage logged while it ran.
    pub log: Vec<String>,
}

/// The record of a finished computation: recipe, output and provenance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The recipe, whose key the record is stored under.
    pub recipe: Recipe,
    /// The artifact it produced.
    pub output: Artifact,
    /// Where, when and at what cost.
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

    fn recipe(method: &str, settings: Value, seed: Option<u64>) -> Recipe {
        Recipe {
            method: method.to_owned(),
            revision: 1,
            settings: settings.into(),
            inputs: BTreeMap::new(),
            seed,
        }
    }

    fn key(settings: Value) -> Key {
        recipe("select.top", settings, Some(7)).key()
    }

    // A changed key makes every stored result unreachable: if that is meant, CONTEXT goes up.
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
                // An f32 setting has 17 digits once it is an f64.
                f64::from(f32::from_bits((state >> 34) as u32))
            })
            .filter(|float| float.is_finite())
            .collect();
        for float in floats {
            let settings = json!({"z": [float, 1, 2.5], "a": {"deep": float}});
            let recipe = recipe("score.grand", settings, None);
            let text = serde_json::to_string(&recipe).expect("a recipe is JSON");
            let back: Recipe = serde_json::from_str(&text).expect("it was just written");
            assert_eq!(back.key(), recipe.key(), "{float:?}");
        }
    }

    #[test]
    fn a_record_of_an_older_build_is_read() {
        let text = r#"{"method":"a","revision":1,"settings":{"x":0.10000000149011612},"inputs":{},
            "seed":null,"float_bits":[4591870180174331904]}"#;
        let recipe: Recipe = serde_json::from_str(text).expect("it reads");
        assert_eq!(recipe.settings["x"].as_f64().map(f64::to_bits), Some(4591870180174331904));
    }
}
