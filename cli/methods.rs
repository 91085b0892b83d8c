//! `coresift methods`: every method, or the manual of one.

mod example;
mod protocols;

use crate::context::{Context, Failure, columns, print, print_line};
use engine::{Arity, Choice, Method, Needs, Registry, Stage};
use serde_json::{Value, json};
use std::{fmt::Write as _, process::ExitCode};

/// The families in the order of a pipeline; others come behind, by name.
const FAMILIES: [&str; 8] =
    ["load", "corrupt", "proxy-train", "graph", "score", "select", "train", "evaluate"];
/// Manuals are wrapped at this column.
const WIDTH: usize = 96;

#[derive(clap::Args)]
pub(crate) struct MethodsArgs {
    /// A method or `protocol.NAME`, whose manual is shown, or a family, which is listed.
    name: Option<String>,
}

pub(crate) fn run(args: &MethodsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut all: Vec<&Method> = context.registry.iter().collect();
    // By what they take and by name within a family; those of a family within it stand behind.
    all.sort_by_cached_key(|method| {
        let family = family(method);
        let depth = method.name.matches('.').count();
        let at = FAMILIES.iter().position(|one| *one == family).unwrap_or(FAMILIES.len());
        let takes = if depth == 1 { heading(method) } else { None };
        (at, family, depth, takes.as_ref().map_or(0, String::len), takes)
    });
    if let Some((name, protocol)) =
        args.name.as_ref().and_then(|name| protocols::find(&context.registry, name))
    {
        if context.global.json {
            print_line(&protocols::json(name, protocol).to_string());
        } else {
            print(&protocols::manual(name, protocol));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &args.name {
        if let Some(method) = context.registry.get(name) {
            if context.global.json {
                print_line(&manual_json(method).to_string());
            } else {
                print(&manual(method, &context.registry));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let near: Vec<&str> =
            all.iter().map(|method| method.name).filter(|one| alike(one, name)).collect();
        all.retain(|method| family(method) == name);
        if all.is_empty() && name != protocols::FAMILY {
            let failure = Failure::mistake(format!("no method is called `{name}`"));
            return Err(failure.hint(match near.is_empty() {
                true => "`coresift methods` lists them all".to_owned(),
                false => format!("did you mean {}?", near.join(", ")),
            }));
        }
    }
    let shows_protocols = args.name.as_ref().is_none_or(|name| name == protocols::FAMILY);
    if context.global.json {
        let one = |method: &&Method| json!({ "name": method.name, "family": family(method), "summary": method.summary });
        let protocols = context.registry.protocols().filter(|_| shows_protocols);
        let protocols = protocols.map(|(name, protocol)| protocols::json(name, protocol));
        print_line(&all.iter().map(one).chain(protocols).collect::<Value>().to_string());
    } else {
        print(&list(&all));
        if shows_protocols {
            print(if all.is_empty() { "" } else { "\n" });
            print(&protocols::list(&context.registry));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn family(method: &Method) -> &'static str {
    method.name.split('.').next().unwrap_or(method.name)
}

/// Tells whether one name's last part is in the other's.
fn alike(one: &str, other: &str) -> bool {
    let last = |name: &str| {
        name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], "").to_lowercase()
    };
    let (one, other) = (last(one), last(other));
    !other.is_empty() && (one.contains(&other) || other.contains(&one))
}

/// Returns what a score or a selector takes, as the heading over those that take the same.
fn heading(method: &Method) -> Option<String> {
    let family = family(method);
    if !["score", "select"].contains(&family) {
        return None;
    }
    let ports = method.sample()?.inputs();
    let mut groups: Vec<(Option<Choice>, Vec<&str>)> = vec![];
    for port in ports.iter().filter(|port| port.arity != Arity::Optional) {
        match (port.choice(), groups.last_mut()) {
            (Some(choice), Some((Some(last), names))) if *last == choice => names.push(port.name),
            (choice, _) => groups.push((choice, vec![port.name])),
        }
    }
    let groups: Vec<String> = groups.iter().map(|(_, names)| names.join(" or ")).collect();
    // Which of its ports comes first tells what it reads of a data set.
    let what = match groups[..] {
        [ref only] if only.starts_with("data or") => "labels alone: ",
        [ref only] if only == "proxy or data" => "embeddings: ",
        _ => "",
    };
    Some(format!("{family}, from {what}{}", groups.join(" and ")))
}

fn list(all: &[&Method]) -> String {
    let rows: Vec<Vec<String>> =
        all.iter().map(|method| vec![method.name.to_owned(), method.summary.to_owned()]).collect();
    let text = columns(&rows, |_| false);
    let mut out = String::new();
    let group = |method: &Method| {
        let plain = method.name.matches('.').count() == 1;
        (family(method), if plain { heading(method) } else { None })
    };
    let mut before = None;
    for (line, method) in text.lines().zip(all) {
        let this = group(method);
        if before.as_ref().is_some_and(|before| *before != this) {
            out.push('\n');
        }
        if let (_, Some(heading)) = &this
            && before.as_ref() != Some(&this)
        {
            let _ = writeln!(out, "# {heading}");
        }
        before = Some(this);
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn manual(method: &Method, registry: &Registry) -> String {
    let mut out = format!("{}: {}\n\n", method.name, method.summary);
    if let Some(stage) = method.sample() {
        let mut rows = vec![];
        for (port, text) in ports(&*stage) {
            rows.push(vec!["takes".to_owned(), port, text]);
        }
        rows.push(vec!["gives".to_owned(), stage.output().0.to_owned()]);
        rows.push(vec!["revision".to_owned(), stage.revision().to_string()]);
        if !stage.streams().is_empty() {
            rows.push(vec![
                "draws".to_owned(),
                format!("random streams {}", stage.streams().join(", ")),
            ]);
        }
        if stage.needs() == Needs::Device {
            rows.push(vec!["runs on".to_owned(), "the device".to_owned()]);
        }
        out.push_str(&columns(&rows, |_| false));
    }
    out.push_str("\nexample:\n");
    for line in example::example(method).lines() {
        writeln!(out, "  {line}").ok();
    }
    let settings = settings(method);
    if !settings.is_empty() {
        out.push_str("\nsettings (in `with`):\n");
        for setting in &settings {
            let path = &setting.path;
            let kind = &setting.kind;
            match &setting.default {
                Some(Value::Null) => writeln!(out, "  {path}: {kind}, optional"),
                Some(default) => writeln!(out, "  {path} = {default}: {kind}"),
                None if setting.required => writeln!(out, "  {path}: {kind}, required"),
                None => writeln!(out, "  {path}: {kind}"),
            }
            .ok();
            out.push_str(&wrapped(&setting.description, 6));
        }
    }
    out.push_str(&protocols::of_method(registry, method.name));
    if !method.manual.trim().is_empty() {
        out.push('\n');
        out.push_str(&wrapped(method.manual.trim(), 0));
    }
    out
}

/// Returns each port's name and what it takes, in words.
fn ports(stage: &dyn Stage) -> Vec<(String, String)> {
    let ports = stage.inputs();
    let alone = |choice| ports.iter().filter(|port| port.choice() == Some(choice)).count() < 2;
    let text = |arity| match arity {
        Arity::One => String::new(),
        Arity::Optional => ", optional".to_owned(),
        Arity::Many => ", one or a list".to_owned(),
        Arity::OneOf(choice) if alone(choice) => String::new(),
        Arity::OneOf(Choice("input")) => ", exactly one of these".to_owned(),
        Arity::OneOf(Choice(choice)) => format!(", exactly one of these for the {choice}"),
        Arity::ManyOf(_) => ", one or a list, exactly one of these".to_owned(),
    };
    let port = |port: &engine::Port| {
        (port.name.to_owned(), format!("{}{}", port.kind.0, text(port.arity)))
    };
    ports.iter().map(port).collect()
}

fn manual_json(method: &Method) -> Value {
    let mut value = json!({
        "name": method.name,
        "family": family(method),
        "summary": method.summary,
        "manual": method.manual,
        "example": example::example(method),
        "schema": (method.schema)(),
    });
    let setting = |one: Setting| {
        json!({
            "path": one.path,
            "type": one.kind,
            "default": one.default,
            "required": one.required,
            "description": one.description,
        })
    };
    value["settings"] = settings(method).into_iter().map(setting).collect();
    if let Some(stage) = method.sample() {
        let port = |port: engine::Port| {
            let arity = match port.arity {
                Arity::One => "one",
                Arity::Optional => "optional",
                Arity::Many => "many",
                Arity::OneOf(_) => "one-of",
                Arity::ManyOf(_) => "many-of",
            };
            json!({ "name": port.name, "kind": port.kind.0, "arity": arity })
        };
        value["inputs"] = stage.inputs().into_iter().map(port).collect();
        value["output"] = stage.output().0.into();
        value["revision"] = stage.revision().into();
        value["streams"] = json!(stage.streams());
        value["device"] = (stage.needs() == Needs::Device).into();
    }
    value
}

/// One setting as a manual shows it.
struct Setting {
    /// Its path inside `with`.
    path: String,
    kind: String,
    /// `Some(Null)` where it may be left out and nothing takes its place.
    default: Option<Value>,
    required: bool,
    description: String,
}

fn settings(method: &Method) -> Vec<Setting> {
    let root = (method.schema)().to_value();
    let mut out = vec![];
    collect(&root, &root, None, "", &mut out);
    out
}

fn collect(root: &Value, table: &Value, given: Option<&Value>, path: &str, out: &mut Vec<Setting>) {
    let required = |name: &String| {
        let all = table["required"].as_array();
        all.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(name)))
    };
    for (name, property) in table["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let inner = resolved(root, property);
        // A default of the whole table is more to the point than that of its type.
        let default = given.and_then(|given| given.get(name)).or_else(|| property.get("default"));
        if inner["properties"].is_object() && inner.get("oneOf").is_none() {
            collect(root, inner, default, &path, out);
            continue;
        }
        // A method without settings of its own.
        if inner["additionalProperties"] == false {
            continue;
        }
        let text = |value: &Value| value["description"].as_str().map(str::to_owned);
        let mut description = text(property).or_else(|| text(inner)).unwrap_or_default();
        for choice in choices(root, inner) {
            if let Some(about) = text(choice)
                && let Some(name) = choice_name(choice)
            {
                let _ = write!(description, "\n- `{name}`: {about}");
            }
        }
        out.push(Setting {
            path,
            kind: kind(root, property),
            default: default.cloned(),
            required: required(name),
            description: description.trim().to_owned(),
        });
    }
}

/// Follows a reference, also one that may be null.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(path) = schema["$ref"].as_str() {
        let target = path.strip_prefix('#').and_then(|path| root.pointer(path));
        return target.map_or(schema, |target| resolved(root, target));
    }
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([one, null]) if null["type"] == "null" => resolved(root, one),
        _ => match schema["allOf"].as_array().map(Vec::as_slice) {
            Some([one]) => resolved(root, one),
            _ => schema,
        },
    }
}

fn choices<'a>(root: &'a Value, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
    let all = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    all.into_iter().flatten().map(|one| resolved(root, one))
}

fn choice_name(choice: &Value) -> Option<String> {
    let tag = || {
        let fields = choice["properties"].as_object()?;
        fields.values().find_map(|field| field["const"].as_str())
    };
    choice["const"].as_str().or_else(tag).map(str::to_owned)
}

/// Returns what a setting takes, in words.
fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolved(root, schema);
    if let Some(name) = choice_name(schema) {
        return name;
    }
    if let Some(values) = schema["enum"].as_array() {
        let words: Vec<String> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        return words.join(" | ");
    }
    let parts: Vec<String> = choices(root, schema)
        .filter(|one| one["type"] != "null")
        .map(|one| kind(root, one))
        .collect();
    if !parts.is_empty() {
        // One choice may stand for several words already.
        return parts.join(" | ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("any")
        }
        _ => "any",
    };
    match name {
        "integer" => format!("whole number{}", range(schema)),
        "number" => format!("number{}", range(schema)),
        "boolean" => "true | false".to_owned(),
        "string" => "text".to_owned(),
        "object" => "table".to_owned(),
        "array" => format!("list of {}", kind(root, &schema["items"])),
        _ => "any value".to_owned(),
    }
}

fn range(schema: &Value) -> String {
    let bound = |name: &str| schema[name].as_f64();
    // The largest number of a machine word is not worth telling.
    let below = bound("maximum").filter(|most| *most < 65_535.0);
    match (bound("minimum"), bound("exclusiveMinimum"), below) {
        (Some(least), _, Some(most)) => format!(" from {least} to {most}"),
        (Some(least), _, None) if schema["type"] == "number" || least > 0.0 => {
            format!(" from {least}")
        }
        (None, Some(least), Some(most)) => format!(" above {least}, up to {most}"),
        (None, Some(least), None) => format!(" above {least}"),
        (None, None, Some(most)) => format!(" up to {most}"),
        _ => String::new(),
    }
}

/// Returns `text` with its paragraphs broken anew, and `indent` spaces before each line. An item of
/// a list hangs under its dash; what is indented after an empty line stays as it is.
fn wrapped(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut block = String::new();
    for line in text.lines() {
        let inside = line.starts_with(' ');
        let begins =
            ["- ", "* ", "# ", "| "].iter().any(|mark| line.trim_start().starts_with(mark));
        if line.trim().is_empty() || begins {
            push_block(&mut out, indent, &std::mem::take(&mut block));
        }
        match line.trim() {
            "" => out.push('\n'),
            _ if inside && block.is_empty() && !begins => {
                out.push_str(&format!("{}{}\n", " ".repeat(indent), line.trim_end()));
            }
            words => {
                let gap = if block.is_empty() {
                    &line[..line.len() - line.trim_start().len()]
                } else {
                    " "
                };
                block.extend([gap, words]);
            }
        }
    }
    push_block(&mut out, indent, &block);
    out
}

fn push_block(out: &mut String, indent: usize, block: &str) {
    if block.is_empty() {
        return;
    }
    let inside = block.len() - block.trim_start().len();
    let hang = if block.trim_start().starts_with(['-', '*']) { inside + 2 } else { inside };
    let mut line = " ".repeat(indent + inside);
    let mut empty = true;
    for word in block.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = " ".repeat(indent + hang);
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_told_with_their_defaults() {
        let root = json!({
            "type": "object",
            "properties": {
                "keep": { "anyOf": [{ "$ref": "#/$defs/Fraction" }, { "type": "null" }], "default": null },
                "kind": { "$ref": "#/$defs/Kind", "description": "Which.", "default": "pair" },
                "rule": { "$ref": "#/$defs/Rule", "default": { "bins": 50 } },
                "path": { "type": "string" },
            },
            "required": ["path"],
            "$defs": {
                "Fraction": { "type": "number", "minimum": 0, "maximum": 1 },
                "Kind": { "oneOf": [
                    { "const": "pair", "description": "Each class to the next." },
                    { "enum": ["symmetric", "none"] },
                ] },
                "Rule": { "type": "object", "properties": { "bins": { "type": "integer", "minimum": 1 } } },
            },
        });
        let mut all = vec![];
        collect(&root, &root, None, "", &mut all);
        let told: Vec<(&str, &str, Option<&Value>, bool)> = all
            .iter()
            .map(|one| (one.path.as_str(), one.kind.as_str(), one.default.as_ref(), one.required))
            .collect();
        let pair = json!("pair");
        let bins = json!(50);
        for wanted in [
            ("keep", "number from 0 to 1", Some(&Value::Null), false),
            ("kind", "pair | symmetric | none", Some(&pair), false),
            ("rule.bins", "whole number from 1", Some(&bins), false),
            ("path", "text", None, true),
        ] {
            assert!(told.contains(&wanted), "{wanted:?} in {told:?}");
        }
        assert_eq!(all[1].description, "Which.\n- `pair`: Each class to the next.");
    }

    #[test]
    fn items_hang_under_their_dash() {
        let text = format!("- word\n  {}\n\n  deep\n", "word ".repeat(19).trim());
        let wanted = format!("- {}\n  word\n\n  deep\n", "word ".repeat(19).trim());
        assert_eq!(wrapped(&text, 0), wanted);
    }
}
