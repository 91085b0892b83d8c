//! The provenance of the results: run, data, failures, and the files to make them again.

use super::page::{self, escape};
use crate::{
    context::{Failure, duration_of, shell, time_of},
    plot::figures::StageLine,
    results::Study,
    runs::name,
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt::Write as _, fs};

pub(super) fn stage_table(lines: &[StageLine]) -> String {
    let head = ["stage", "methods", "computations", "in the store", "made", "hits", "took"];
    let mut all = vec![head.map(str::to_owned).to_vec()];
    let mut lines: Vec<&StageLine> = lines.iter().collect();
    // Ties go to the stage met first.
    lines.sort_by_key(|line| line.depth);
    for line in lines {
        let methods = match line.methods.len() {
            0..=2 => line.methods.join(", "),
            many => format!("{many} methods"),
        };
        let counts = [line.count, line.stored, line.made, line.hits];
        let mut row = vec![line.label.clone(), methods];
        row.extend(counts.map(|count| count.to_string()));
        row.push(duration_of(line.seconds));
        all.push(row);
    }
    page::table("The stages in numbers", &all, 2)
}

pub(super) fn facts(study: &Study<'_>) -> Result<String, Failure> {
    let mut facts: Vec<(&str, String)> = vec![];
    if let Some(run) = &study.run {
        facts.push(("run", run.id.clone()));
        facts.push(("pipeline", run.pipeline.clone()));
        facts.push(("began", format!("{} UTC", time_of(run.started))));
        let took = duration_of(run.seconds);
        facts.push(("ended", format!("{}, after {took}", run.status(study.store)?.label())));
        facts.push(("device", run.device.clone()));
        facts.push(("coresift", run.build.clone()));
    }
    // A run does not note its machine; the store it lies in is seldom carried to another.
    facts.push(("report made on", machine()));
    let mut out = String::from("<dl class=\"facts\">\n");
    for (name, value) in facts {
        writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value)).ok();
    }
    out.push_str("</dl>\n");
    let head = ["data", "name", "digest", "train samples", "test samples"];
    let mut all = vec![head.map(str::to_owned).to_vec()];
    for (id, _) in study.plan.nodes().filter(|(id, _)| study.kind(*id) == "data") {
        let Some(record) = study.forecast.record(id) else { continue };
        let Some(meta) = study.dataset(id)? else { continue };
        all.push(vec![
            study.plan.describe(id),
            meta.name,
            record.output.digest().to_string(),
            meta.train.to_string(),
            meta.test.to_string(),
        ]);
    }
    /// More data sets than these are alike but for their seeds.
    const SHOWN: usize = 12;
    all.truncate(SHOWN + 1);
    out.push_str(&page::table("The data, by the digest of its content", &all, 3));
    Ok(out)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map(|(_, name)| format!("{}, ", name.trim())).unwrap_or_default();
    format!("{model}{cores} cores, {} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// Returns a block for each stage of the newest run that failed and has not been made since.
pub(super) fn failures(study: &Study<'_>) -> Result<String, Failure> {
    /// More failures than these have the same few reasons.
    const SHOWN: usize = 12;
    let Some(run) = &study.failed else { return Ok(String::new()) };
    let mut out = String::new();
    let why = run.failures(study.store)?;
    let mended = |key| study.store.record(key).map(|record| record.is_some());
    let mut shown = 0;
    let mut more = 0;
    for (at, why) in why {
        let Some(node) = run.nodes.get(at) else { continue };
        if node.key.map(mended).transpose()?.unwrap_or_default() {
            continue;
        }
        if shown == SHOWN {
            more += 1;
            continue;
        }
        let hint = why.hint.as_ref().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
        block(&mut out, &name(run, node), &format!("{}{hint}", why.message()), " open");
        shown += 1;
    }
    if more > 0 {
        writeln!(out, "<p class=\"note\">and {more} more</p>").ok();
    }
    Ok(out)
}

/// Adds a text to fold away under `name`.
fn block(out: &mut String, name: &str, text: &str, open: &str) {
    let name = escape(name);
    let text = escape(text.trim_end());
    writeln!(
        out,
        "<details{open}><summary>{name}</summary><div class=\"scroll\" tabindex=\"0\">\
         <pre><code>{text}</code></pre></div></details>"
    )
    .ok();
}

pub(super) fn repeat(study: &Study<'_>) -> String {
    let mut out = String::new();
    let (flags, files): (Vec<_>, Vec<_>) =
        study.plan.sources.iter().partition(|source| source.name == "--set");
    let mut command = format!("coresift run {}", shell(&study.plan.path.display().to_string()));
    for flag in flags {
        command.push_str(&format!(" --set {}", shell(&flag.text)));
    }
    block(&mut out, "the command", &command, " open");
    for (at, file) in files.iter().enumerate() {
        block(&mut out, &file.name, &file.text, if at == 0 { " open" } else { "" });
    }
    block(&mut out, "one cell with every default (resolved.toml)", &resolved(study), "");
    out
}

/// Returns the first cell as a pipeline of its own that leaves nothing to defaults.
fn resolved(study: &Study<'_>) -> String {
    let Some(cell) = study.plan.cells.first() else { return String::new() };
    let coords = study.plan.coordinates(cell);
    let coords: Vec<String> =
        coords.iter().map(|(axis, value)| format!("{axis} = {value}")).collect();
    let mut out = String::new();
    if !coords.is_empty() {
        writeln!(out, "# The cell {}. Paths are not part of it.", coords.join(", ")).ok();
    }
    let names: BTreeMap<_, &str> = cell.stages().map(|(name, node)| (node, &**name)).collect();
    for (id, name) in &names {
        let node = study.plan.node(*id);
        writeln!(out, "\n[stage.{}]\nuse = {}", key(name), text(node.stage.method())).ok();
        if let Some(seed) = node.seed {
            writeln!(out, "seed = {seed}").ok();
        }
        let mut ports: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (port, source) in &node.inputs {
            ports.entry(port).or_default().push(names[source]);
        }
        if !ports.is_empty() {
            let wires = ports.iter().map(|(port, from)| match from[..] {
                [one] => format!("{port} = {}", text(one)),
                _ => {
                    let all: Vec<String> = from.iter().map(|one| text(one)).collect();
                    format!("{port} = [{}]", all.join(", "))
                }
            });
            writeln!(out, "from = {{ {} }}", wires.collect::<Vec<_>>().join(", ")).ok();
        }
        if let Value::Object(settings) = &*node.settings {
            let lines = table("with", settings);
            if !lines.is_empty() {
                writeln!(out, "{}", lines.join("\n")).ok();
            }
        }
    }
    out
}

/// Returns a line for each setting; those that are not set have none.
fn table(path: &str, settings: &Map<String, Value>) -> Vec<String> {
    let mut lines = vec![];
    for (name, value) in settings {
        let path = format!("{path}.{}", key(name));
        match value {
            Value::Null => {}
            Value::Object(inner) => lines.extend(table(&path, inner)),
            _ => lines.push(format!("{path} = {}", literal(value))),
        }
    }
    lines
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let pairs = fields.iter().filter(|(_, value)| !value.is_null());
            let pairs = pairs.map(|(name, value)| format!("{} = {}", key(name), literal(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        _ => value.to_string(),
    }
}

/// A JSON string is a TOML one, but for the delete character.
fn text(string: &str) -> String {
    Value::from(string).to_string().replace('\u{7f}', "\\u007f")
}

fn key(name: &str) -> String {
    let bare = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { text(name) }
}
