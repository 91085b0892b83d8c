//! What a change to a pipeline file makes run again.

use crate::program::Sandbox;

const PIPELINE: &str = r#"
seed = 3

[stage.data]
use = "load.digits"

[stage.noisy]
use  = "corrupt.labels"
from = { data = "data" }
with = { rate = 0.1 }

[stage.proxy]
use  = "proxy-train"
from = { data = "noisy" }
with = { model = "mlp", epochs = 2, batch = 64, schedule.horizon = 6 }

[stage.hardness]
use  = "score.grand"
from = { proxy = "proxy" }

[stage.subset]
use  = "select.top"
from = { scores = "hardness" }
with = { keep = 0.1, balance = "class" }

[stage.student]
use  = "train"
from = { data = "noisy", subset = "subset" }
with = { model = "mlp", epochs = 3 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }
"#;

#[test]
fn a_change_runs_what_it_touches_and_says_why() {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    assert_eq!(place.run("p.toml", &[]).0, (0, 7));
    assert_eq!(place.run("p.toml", &[]).0, (7, 0));

    let plan = place.ok(&["plan", "p.toml", "--set", "subset.with.keep=0.2"]);
    let wanted = "run    subset: subset.with.keep: 0.1 → 0.2\n\
                  waits  student: on subset\n\
                  waits  result: on student\n\
                  1 cell: 4 hits, 1 to run, 2 waiting on them\n";
    assert_eq!(plan, wanted);
    assert_eq!(place.run("p.toml", &["--set", "subset.with.keep=0.2"]).0, (4, 3));

    // A stage's name, the order of the file and remarks mean nothing.
    let mut parts: Vec<&str> = PIPELINE.split("\n\n").collect();
    parts[1..].reverse();
    let moved = parts.join("\n\n# a remark\n").replace("stage.subset", "stage.kept");
    let moved = moved.replace("subset = \"subset\"", "subset = \"kept\"");
    place.write("moved.toml", &moved);
    assert_eq!(place.run("moved.toml", &[]).0, (7, 0));
}

#[test]
fn a_longer_proxy_goes_on_where_the_shorter_ended() {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place.run("p.toml", &["--target", "proxy"]);
    let (counts, said) =
        place.run("p.toml", &["--target", "proxy", "--set", "proxy.with.epochs=4"]);
    assert_eq!(counts, (2, 1));
    assert!(said.contains("epoch 2"), "it says from where it goes on: {said}");
    let continued = place.digests();
    // In one go, in a store of its own: the same bytes.
    let other = Sandbox::new();
    other.write("p.toml", PIPELINE);
    other.run("p.toml", &["--target", "proxy", "--set", "proxy.with.epochs=4"]);
    let whole = other.digests();
    assert!(whole.iter().all(|record| continued.contains(record)), "{whole:#?} {continued:#?}");
}

#[test]
fn no_corruption_is_the_clean_run() {
    let place = Sandbox::new();
    let clean = PIPELINE.replace("from = { data = \"noisy\"", "from = { data = \"data\"");
    place.write("clean.toml", &clean);
    let ((_, computed), _) = place.run("clean.toml", &[]);
    place.write("p.toml", PIPELINE);
    let (counts, said) = place.run("p.toml", &["--set", "noisy.with.rate=0.0"]);
    assert_eq!(counts, (computed, 1), "only the corruption itself: {said}");
}

/// `PIPELINE` with a score and a selector of DeepCore's own, `grand` and `craig` saying which.
fn deepcore(grand: &str, craig: &str) -> String {
    let text = PIPELINE.replace(
        "use  = \"score.grand\"\nfrom = { proxy = \"proxy\" }",
        &format!("from = {{ proxy = \"proxy\" }}\n{grand}"),
    );
    text.replace(
        "use  = \"select.top\"\nfrom = { scores = \"hardness\" }\nwith = { keep = 0.1, balance = \"class\" }",
        &format!("from = {{ proxy = \"proxy\" }}\n{craig}"),
    )
}

#[test]
fn former_names_are_read_as_what_they_are_now() {
    let place = Sandbox::new();
    let new = deepcore(
        "use = \"score.deepcore.grand\"\nwith.rule = { release = \"2022\", batch = 64 }",
        "use = \"select.deepcore.craig\"\nwith = { keep = 0.1, rule.search.optimizer = \"naive\" }",
    );
    let old = deepcore(
        "use = \"score.grand\"\nwith.rule = { compat = \"deepcore-2022\", batch = 64 }",
        "use = \"select.craig\"\nwith = { keep = 0.1, rule = { compat = \"deepcore\", optimizer = \"naive\" } }",
    );
    place.write("new.toml", &new);
    place.write("old.toml", &old);
    let targets = ["--target", "subset", "--target", "hardness"];
    let ((_, computed), said) = place.run("new.toml", &targets);
    assert_eq!(computed, 5);
    assert!(!said.contains("is now"), "{said}");
    let (counts, said) = place.run("old.toml", &targets);
    assert_eq!(counts, (5, 0), "the same computations: {said}");
    let notes: Vec<&str> = said.lines().filter(|line| line.contains("is now")).collect();
    let wanted = [
        "old.toml:20: `rule.compat = \"deepcore-2022\"` of `score.grand` is now a method: write \
         `use = \"score.deepcore.grand\"` with `rule.release = \"2022\"`",
        "old.toml:25: `rule.compat = \"deepcore\"` of `select.craig` is now a method: write \
         `use = \"select.deepcore.craig\"` without it",
        "old.toml:25: `rule.optimizer` of `select.deepcore.craig` is now `rule.search.optimizer`",
    ];
    assert_eq!(notes.len(), wanted.len(), "{said}");
    for (note, wanted) in notes.iter().zip(wanted) {
        assert_eq!(note.trim_start_matches("note: "), wanted);
    }
}
