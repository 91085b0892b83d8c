//! The main job from end to end, and what the other commands make of it.

use crate::program::{Place, repository};

#[test]
fn the_schema_is_current() {
    let place = Place::new();
    let made = place.ok(&["schema"]);
    let kept = std::fs::read_to_string(repository("pipelines/schema.json")).expect("checked in");
    assert!(made == kept, "run `coresift schema > pipelines/schema.json`");
}

#[test]
fn digits_end_in_a_table() {
    let place = Place::new();
    let text = std::fs::read_to_string(repository("pipelines/digits.toml")).expect("text");
    // The file itself, but shorter.
    place.write(
        "p.toml",
        &text.replace("epochs = 100", "epochs = 5").replace("[0, 1, 2]", "[0, 1]"),
    );
    place.run("p.toml", &[]);
    let table = place.ok(&["table", "p.toml"]);
    for word in ["selector", "keep", "accuracy", "random", "grand", "herding", "±"] {
        assert!(table.contains(word), "{word}: {table}");
    }
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

#[test]
fn every_method_has_a_manual() {
    let place = Place::new();
    for method in networks::registry().iter() {
        // More than a name: what it computes, beside the settings and example that are generated.
        assert!(method.manual.len() > 60, "{}: {}", method.name, method.manual);
        let shown = place.ok(&["methods", method.name]);
        let word = method.manual.split_whitespace().next().expect("it is not empty");
        assert!(shown.contains(word) && shown.contains("[stage."), "{}: {shown}", method.name);
    }
}
