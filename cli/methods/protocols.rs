//! The protocols as `coresift methods` shows them: under the name `protocol.NAME`.

use super::wrapped;
use crate::context::columns;
use engine::{Protocol, Registry};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What stands before a protocol's name, as the family of a method does.
pub(super) const FAMILY: &str = "protocol";

/// Returns the protocol that `name`, `protocol.NAME`, stands for.
pub(super) fn find<'a>(registry: &'a Registry, name: &str) -> Option<(&'a str, &'a Protocol)> {
    let name = name.strip_prefix(FAMILY)?.strip_prefix('.')?;
    registry.protocols().find(|(one, _)| *one == name)
}

/// Returns a line for each, and how one is used.
pub(super) fn list(registry: &Registry) -> String {
    let row = |(name, protocol): (&str, &Protocol)| {
        vec![format!("{FAMILY}.{name}"), protocol.summary.clone()]
    };
    let rows: Vec<Vec<String>> = registry.protocols().map(row).collect();
    format!(
        "{}\nA protocol is the recipe of a paper: `protocol = \"NAME\"` beside `use` sets what `with` leaves \
         out.\n",
        columns(&rows, |_| false)
    )
}

/// Returns what a protocol is, where it comes from, and all it sets.
pub(super) fn manual(name: &str, protocol: &Protocol) -> String {
    let mut out = format!("{FAMILY}.{name}: {}\n\nexample:\n", protocol.summary);
    let _ = writeln!(
        out,
        "  [stage.student]\n  use      = \"train\"\n  protocol = \"{name}\"\n  from     = {{ data = \"data\", \
         subset = \"subset\" }}"
    );
    for method in protocol.methods() {
        let _ = writeln!(out, "\n{method}:");
        for (path, value) in protocol.settings(method) {
            let _ = writeln!(out, "  {path} = {value}");
        }
    }
    out.push('\n');
    out.push_str(&wrapped(protocol.source.trim(), 0));
    out
}

pub(super) fn json(name: &str, protocol: &Protocol) -> Value {
    let methods: serde_json::Map<String, Value> = protocol
        .methods()
        .map(|method| {
            let settings = protocol.settings(method).into_iter();
            let settings: serde_json::Map<String, Value> =
                settings.map(|(path, value)| (path, Value::String(value))).collect();
            (method.to_owned(), Value::Object(settings))
        })
        .collect();
    json!({
        "name": format!("{FAMILY}.{name}"),
        "family": FAMILY,
        "summary": protocol.summary,
        "source": protocol.source,
        "settings": methods,
    })
}

/// Returns the section of a method's manual on the protocols that speak of it; empty if none does.
pub(super) fn of_method(registry: &Registry, method: &str) -> String {
    let mut out = String::new();
    for (name, protocol) in registry.protocols() {
        let settings = protocol.settings(method);
        if settings.is_empty() {
            continue;
        }
        let all: Vec<String> =
            settings.iter().map(|(path, value)| format!("{path} = {value}")).collect();
        let _ = writeln!(out, "  {name}");
        out.push_str(&wrapped(&all.join(", "), 6));
    }
    if out.is_empty() {
        return out;
    }
    format!("\nprotocols (`protocol = \"…\"` beside `use`):\n{out}")
}
