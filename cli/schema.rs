//! `coresift schema`: the JSON schema of pipeline files, for editors.

use crate::context::{Context, Exit, Failure, print};
use engine::{Method, Registry};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

#[derive(clap::Args)]
pub(crate) struct SchemaArgs {}

pub(crate) fn run(_: &SchemaArgs, context: &Context) -> Result<ExitCode, Failure> {
    let text = serde_json::to_string_pretty(&sorted(schema(&context.registry)));
    let text = text.map_err(|error| Failure::of(Exit::Failed, error))?;
    print(&format!("{text}\n"));
    Ok(ExitCode::SUCCESS)
}

/// Returns the schema of a pipeline file. A stage may be a part of one: the rest can stand in a
/// base file or come from the matrix.
fn schema(registry: &Registry) -> Value {
    let mut definitions = Definitions::default();
    let mut uses = vec![];
    let mut rules = vec![];
    for method in registry.iter() {
        uses.push(json!({ "const": method.name, "description": method.summary }));
        let mut properties = Map::new();
        properties.insert("with".to_owned(), definitions.settings(method));
        properties.extend(ports(method).map(|ports| ("from".to_owned(), ports)));
        rules.push(json!({
            "if": { "properties": { "use": { "const": method.name } }, "required": ["use"] },
            "then": { "properties": properties },
        }));
    }
    let protocol = |(name, one): (&str, &engine::Protocol)| json!({ "const": name, "description": one.summary });
    let protocols: Vec<Value> = registry.protocols().map(protocol).collect();
    let mut all = definitions.all;
    all.insert("seed".to_owned(), json!({ "type": "integer", "minimum": 0 }));
    all.insert("stages".to_owned(), stages());
    all.insert(
        "rules".to_owned(),
        json!({ "type": "array", "items": { "type": "object", "minProperties": 1 } }),
    );
    all.insert("stage".to_owned(), stage(&uses, &protocols, &rules));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "coresift pipeline",
        "description": "An experiment: stages, and a matrix of what is varied.",
        "type": "object",
        "properties": {
            "title": { "description": "What the experiment is about.", "type": "string" },
            "extends": {
                "description": "Files this one is laid over, relative to it; the last wins.",
                "anyOf": [
                    { "type": "string" },
                    { "type": "array", "items": { "type": "string" } },
                ],
            },
            "seed": {
                "description": "The seed of every stage that has none of its own.",
                "$ref": "#/$defs/seed",
            },
            "stage": { "description": "The stages, by name.", "$ref": "#/$defs/stages" },
            "matrix": matrix(),
        },
        "additionalProperties": false,
        "$defs": all,
    })
}

/// Returns the schema of a stage: `uses` are the methods, `protocols` what fills their settings in, `rules`
/// say what follows from each.
fn stage(uses: &[Value], protocols: &[Value], rules: &[Value]) -> Value {
    json!({
        "description": "One stage. Its name is a label: renaming it changes no result.",
        "type": "object",
        "properties": {
            "use": { "description": "The method.", "oneOf": uses },
            "protocol": {
                "description": "The recipe of a paper: it sets what `with` leaves out.",
                "oneOf": protocols,
            },
            "from": {
                "description": "What each port receives: the name of a stage.",
                "type": "object",
                "additionalProperties": source(true),
            },
            "with": { "description": "The settings of the method.", "type": "object" },
            "seed": {
                "description": "The seed of this stage alone.",
                "$ref": "#/$defs/seed",
            },
            "repeats": {
                "description": "How often it is computed, each time with another seed; an input \
                                that takes several gets them all.",
                "type": "integer",
                "minimum": 1,
                "maximum": 10_000,
            },
        },
        "additionalProperties": false,
        "allOf": rules,
    })
}

/// Returns the schema of the matrix.
fn matrix() -> Value {
    json!({
        "description": "Every combination of these is run; equal stages are done once.",
        "type": "object",
        "properties": {
            "seed": {
                "description": "Repeats.",
                "type": "array",
                "items": { "$ref": "#/$defs/seed" },
                "minItems": 1,
            },
            "exclude": {
                "description": "Cells that have all these values are taken out.",
                "$ref": "#/$defs/rules",
            },
            "include": {
                "description": "Cells with these values are added; an axis that is not \
                                named takes all it lists.",
                "$ref": "#/$defs/rules",
            },
        },
        "additionalProperties": {
            "anyOf": [
                { "description": "The values of a setting.", "type": "array", "minItems": 1 },
                {
                    "description": "Named variants, each setting several places at once.",
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": { "$ref": "#/$defs/stages" },
                },
            ],
        },
    })
}

/// A stage's name: of ASCII only letters, digits, `-` and `_`, the first of them not being `-`.
const NAME: &str = "^[^\\x00-/:-@\\[-\\^`{-\\x7f][^\\x00-,./:-@\\[-\\^`{-\\x7f]*$";

fn stages() -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": NAME, "not": { "const": "seed" } },
        "additionalProperties": { "$ref": "#/$defs/stage" },
    })
}

fn source(many: bool) -> Value {
    let one = json!({ "type": "string" });
    // A list of one stage is fine anywhere.
    let mut list = json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
    if !many {
        list["maxItems"] = 1.into();
    }
    json!({ "anyOf": [one, list] })
}

/// Returns the schema of `from`, if the ports are known without settings.
fn ports(method: &Method) -> Option<Value> {
    let ports = method.sample()?.inputs();
    let port = |port: &engine::Port| {
        let mut value = source(port.takes_many());
        value["description"] = format!("A stage that gives {}.", port.kind.0).into();
        (port.name.to_owned(), value)
    };
    let properties: Map<String, Value> = ports.iter().map(port).collect();
    Some(json!({ "type": "object", "properties": properties, "additionalProperties": false }))
}

/// The definitions of all methods under one roof.
#[derive(Default)]
struct Definitions {
    all: BTreeMap<String, Value>,
    /// The text of each definition, and of all it refers to, before it was renamed.
    origins: BTreeMap<String, Value>,
}

impl Definitions {
    /// Returns the settings of `method`, what it refers to being taken in. Nothing is required:
    /// the file may be the part of a pipeline that leaves it out.
    fn settings(&mut self, method: &Method) -> Value {
        let mut root = (method.schema)().to_value();
        let Some(table) = root.as_object_mut() else { return root };
        for key in ["$schema", "title", "required"] {
            table.remove(key);
        }
        let own = match table.remove("$defs") {
            Some(Value::Object(own)) => own,
            _ => Map::new(),
        };
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for name in own.keys() {
            let origin = closure(&own, name);
            let here = (1..).map(|n| if n == 1 { name.clone() } else { format!("{name}{n}") });
            let free = |here: &String| self.origins.get(here).is_none_or(|one| *one == origin);
            let taken = ["rules", "seed", "stage", "stages"];
            let mut here = here.filter(|here| !taken.contains(&here.as_str()));
            let here = here.find(free).expect("there is always another number");
            self.origins.insert(here.clone(), origin);
            names.insert(name.clone(), here);
        }
        for (name, mut definition) in own {
            rename(&mut definition, &names);
            self.all.insert(names[&name].clone(), definition);
        }
        rename(&mut root, &names);
        root
    }
}

/// Returns the definition `name` and all it refers to, so that two can be compared.
fn closure(definitions: &Map<String, Value>, name: &str) -> Value {
    let mut open = vec![name.to_owned()];
    let mut seen = BTreeSet::from([name.to_owned()]);
    let mut out = Map::new();
    while let Some(name) = open.pop() {
        let Some(definition) = definitions.get(&name) else { continue };
        let mut found = vec![];
        references(definition, &mut found);
        open.extend(found.into_iter().filter(|one| seen.insert(one.clone())));
        out.insert(name, definition.clone());
    }
    json!({ "name": name, "definitions": out })
}

const HERE: &str = "#/$defs/";

fn references(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str);
            out.extend(target.and_then(|path| path.strip_prefix(HERE)).map(str::to_owned));
            fields.values().for_each(|field| references(field, out));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, out)),
        _ => {}
    }
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(path)) = fields.get_mut("$ref")
                && let Some(name) = path.strip_prefix(HERE).and_then(|name| names.get(name))
            {
                *path = format!("{HERE}{name}");
            }
            fields.values_mut().for_each(|field| rename(field, names));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}

// Sorted here, not by the map: another crate may switch on serde_json's `preserve_order`.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> =
                fields.into_iter().map(|(name, field)| (name, sorted(field))).collect();
            Value::Object(fields.into_iter().collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(schema: fn() -> schemars::Schema) -> Method {
        let any = *networks::registry().get("evaluate").expect("it is there");
        Method { schema, ..any }
    }

    #[test]
    fn equal_definitions_are_shared_and_others_kept_apart() {
        let one = || {
            schemars::json_schema!({
                "properties": { "keep": { "$ref": "#/$defs/Share" } },
                "required": ["keep"],
                "$defs": { "Share": { "$ref": "#/$defs/Number" }, "Number": { "minimum": 0 } },
            })
        };
        let other = || {
            schemars::json_schema!({
                "properties": { "keep": { "$ref": "#/$defs/Share" } },
                "$defs": { "Share": { "$ref": "#/$defs/Number" }, "Number": { "minimum": 1 } },
            })
        };
        let mut definitions = Definitions::default();
        let first = definitions.settings(&method(one));
        assert_eq!(first, json!({ "properties": { "keep": { "$ref": "#/$defs/Share" } } }));
        assert_eq!(definitions.settings(&method(one)), first);
        // `Share` reads the same in both, but means another number.
        let second = definitions.settings(&method(other));
        assert_eq!(second["properties"]["keep"]["$ref"], "#/$defs/Share2");
        let names: Vec<&String> = definitions.all.keys().collect();
        assert_eq!(names, ["Number", "Number2", "Share", "Share2"]);
        assert_eq!(definitions.all["Share2"]["$ref"], "#/$defs/Number2");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema(&networks::registry());
        let mut all = vec![];
        references(&schema, &mut all);
        assert!(all.len() > 5);
        for name in all {
            assert!(schema["$defs"][&name].is_object(), "{name}");
        }
    }
}
