//! The main job from end to end, and what the other commands make of it.

use crate::program::{Sandbox, repository};
use serde_json::Value;

#[test]
fn the_schema_is_current() {
    let place = Sandbox::new();
    let made = place.ok(&["schema"]);
    let kept = std::fs::read_to_string(repository("pipelines/schema.json")).expect("checked in");
    assert!(made == kept, "run `coresift schema > pipelines/schema.json`");
}

#[test]
fn digits_end_in_a_table() {
    let place = Sandbox::new();
    let text = std::fs::read_to_string(repository("pipelines/digits.toml")).expect("text");
    // The file itself, but shorter.
    place.write(
        "p.toml",
        &text.replace("epochs = 100", "epochs = 5").replace("[0, 1, 2]", "[0, 1]"),
    );
    place.run("p.toml", &[]);
    let table = place.ok(&["table", "p.toml"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let head = words(table.lines().next().unwrap_or_default());
    assert_eq!(head[..4], ["keep", "selector", "accuracy", "%"], "{table}");
    // Behind an empty line stand the conditions.
    let rows = table.lines().skip(1).take_while(|line| !line.is_empty());
    let rows: Vec<Vec<String>> = rows.map(words).collect();
    let names: Vec<String> = rows.iter().map(|row| row[..2].join(" ")).collect();
    let wanted =
        ["0.1 random", "0.1 grand", "0.1 herding", "0.3 random", "0.3 grand", "0.3 herding"];
    assert_eq!(names, wanted, "{table}");
    assert!(rows.iter().all(|row| row[3] == "±"), "a mean and its standard deviation: {table}");
    let json = place.json(&["table", "p.toml"]);
    let rows = json["rows"].as_array().or_else(|| json.as_array()).expect("rows");
    assert_eq!(rows.len(), 6, "{json}");
    let plan = place.json(&["plan", "p.toml"]);
    assert_eq!(plan["waits"], 0);
    place.ok(&["explain", "p.toml", "subset"]);
    place.ok(&["graph", "p.toml", "--format", "dot"]);
    place.ok(&["runs"]);
    place.ok(&["show", "last"]);
    let cell = ["--cell", "selector=grand", "--cell", "keep=0.1", "--cell", "seed=0"];
    let args = [&["export", "p.toml", "subset", "--to", "kept.txt"][..], &cell].concat();
    place.ok(&args);
    let kept = std::fs::read_to_string(place.path("kept.txt")).expect("written");
    let kept: Vec<usize> = kept.lines().map(|line| line.parse().expect("an index")).collect();
    assert_eq!(kept.len(), 144, "a tenth of 1,442, rounded");
    assert!(kept.is_sorted_by(|a, b| a < b));
    let before = place.digests();
    place.ok(&["cache", "gc", "--min-age", "0s"]);
    assert_eq!(place.run("p.toml", &[]).0.1, 0, "what the last runs reach is kept");
    assert_eq!(place.digests(), before);
    place.ok(&["cache", "verify"]);
}

/// Selectors and scores that are nobody's method: there is no paper to name.
const NO_PAPER: [&str; 6] =
    ["score.import", "score.random", "select.full", "select.import", "select.random", "select.top"];
/// Those that do no work of which a cost could be told.
const NO_COST: [&str; 4] = ["score.import", "score.random", "select.full", "select.import"];

/// A manual of a selector or a score names the paper and the cost. Of every method each setting is
/// shown, with what it means.
#[test]
fn every_method_has_a_manual() {
    let place = Sandbox::new();
    let mut lacking = vec![];
    for method in networks::registry().iter() {
        let name = method.name;
        let mut lacks = |what: &str| lacking.push(format!("{name}: {what}"));
        let manual = &method.manual;
        if name.starts_with("select.") || name.starts_with("score.") {
            // A title in italics, and a year.
            let is_title = |words: &str| words.starts_with(char::is_uppercase) && words.len() > 3;
            let has_title = manual.split('*').skip(1).any(is_title);
            if (!has_title || !has_year(manual)) && !NO_PAPER.contains(&name) {
                lacks("no paper");
            }
            if !manual.contains("Cost") && !NO_COST.contains(&name) {
                lacks("no cost");
            }
        }
        let shown = place.ok(&["methods", name]);
        if !shown.contains("[stage.") {
            lacks("no example");
        }
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !words(&shown).contains(&words(manual)) {
            lacks("the manual is not shown whole");
        }
        let json = place.json(&["methods", name]);
        for setting in settings(&json["schema"], &json["schema"], "") {
            let is_head = |line: &str| {
                let rest = line.strip_prefix("  ").and_then(|line| line.strip_prefix(&*setting));
                rest.is_some_and(|rest| rest.starts_with([':', ' ']))
            };
            let below = shown.lines().skip_while(|line| !is_head(line)).nth(1);
            if !below.is_some_and(|line| line.starts_with("      ")) {
                lacks(&format!("setting `{setting}` is not explained"));
            }
        }
    }
    assert!(lacking.is_empty(), "{}", lacking.join("\n"));
}

fn has_year(text: &str) -> bool {
    let numbers = text.split(|letter: char| !letter.is_ascii_digit());
    numbers.filter_map(|number| number.parse::<u32>().ok()).any(|year| (1900..2100).contains(&year))
}

/// Returns the paths of all settings of `schema`, a part of `whole`.
fn settings(whole: &Value, schema: &Value, path: &str) -> Vec<String> {
    let mut all = vec![];
    for (name, one) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let target = one["$ref"].as_str().and_then(|to| whole.pointer(to.strip_prefix('#')?));
        match target.filter(|target| target["properties"].is_object()) {
            Some(target) => all.extend(settings(whole, target, &path)),
            None if path == "rule" => {}
            None => all.push(path),
        }
    }
    all
}
