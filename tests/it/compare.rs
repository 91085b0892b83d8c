//! Comparing results: diff, table over several sources, ablate.

use crate::program::Sandbox;
use serde_json::Value;

const PIPELINE: &str = r#"
[stage.data]
use  = "load.synthetic"
with = { n = 97, test = 31, d = 6, classes = 3 }

[stage.proxy]
use  = "proxy-train"
from = { data = "data" }
with = { model = "mlp", epochs = 2, batch = 32, lr = 0.05 }

[stage.hardness]
use  = "score.el2n"
from = { proxy = "proxy" }
with = { rule = { of = "mean", last = 1 } }

[stage.subset]
use  = "select.top"
from = { scores = "hardness" }
with = { keep = 0.3 }

[stage.student]
use  = "train"
from = { data = "data", subset = "subset" }
with = { model = "mlp", epochs = 3, batch = 16, lr = 0.05 }

[stage.result]
use  = "evaluate"
from = { data = "data", model = "student" }

[matrix]
seed = [0, 1]

[matrix.selector]
random = { subset = { use = "select.random", from = { data = "data" } } }
top    = { subset = { use = "select.top", from = { scores = "hardness" } } }
"#;

fn stage<'a>(diff: &'a Value, name: &str) -> &'a Value {
    let stages = diff["stages"].as_array().expect("a list");
    stages.iter().find(|stage| stage["stage"] == name).expect("the stage is there")
}

#[test]
fn a_diff_names_what_differs_and_nothing_else() {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place.run("p.toml", &[]);
    place.run("p.toml", &["--set", "student.with.lr=0.1"]);
    assert!(place.ok(&["diff", "p.toml", "p.toml@~1"]).contains("no difference"));
    let text = place.ok(&["diff", "p.toml@~1", "p.toml@last"]);
    assert!(text.contains("  with.lr: 0.05 → 0.1\n"), "{text}");
    assert!(text.contains("4 of 6 stages are the same"), "{text}");
    let diff = place.json(&["diff", "p.toml@~1", "last"]);
    for same in ["data", "proxy", "hardness", "subset"] {
        assert_eq!(stage(&diff, same)["pairs"], stage(&diff, same)["same"], "{same}: {diff}");
    }
    let student = stage(&diff, "student");
    assert_eq!((&student["pairs"], &student["same"]), (&Value::from(4), &Value::from(0)));
    assert_eq!(student["differences"].as_array().map(Vec::len), Some(1), "{student}");
    assert_eq!(student["differences"][0]["path"], "student.with.lr");
    assert!(stage(&diff, "result")["metrics"]["loss"].as_array().is_some_and(|l| l.len() == 4));
    // What only one of them has is told, and what it shares with the other is not.
    let more = PIPELINE.replace("seed = [0, 1]", "seed = [0, 1, 2]");
    place.write("more.toml", &more);
    let diff = place.json(&["diff", "p.toml", "more.toml"]);
    assert_eq!(diff["axes"][0]["axis"], "seed");
    assert_eq!(stage(&diff, "subset")["only_b"].as_array().map(Vec::len), Some(2), "{diff}");
    assert_eq!(stage(&diff, "subset")["only_a"].as_array().map(Vec::len), Some(0), "{diff}");
}

#[test]
fn tables_lay_sources_side_by_side_and_pool_nothing_unasked() {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place.write("q.toml", &PIPELINE.replace("classes = 3", "classes = 4"));
    place.run("p.toml", &[]);
    place.run("q.toml", &[]);
    let rows = |args: &[&str]| {
        let table = place.json(&[&["table"], args].concat());
        table["rows"].as_array().expect("rows").clone()
    };
    // A run, read back from its record, is the pipeline it was.
    assert_eq!(rows(&["p.toml"]), rows(&["p.toml@last"]));
    let both = rows(&["p.toml", "q.toml"]);
    assert_eq!(both.len(), 4, "{both:?}");
    assert_ne!(both[0]["coords"]["dataset"], both[2]["coords"]["dataset"]);
    // Without the source, the data set still keeps them apart; without both, it is said.
    assert_eq!(rows(&["p.toml", "q.toml", "--over", "seed", "--over", "source"]).len(), 4);
    let pooled = ["table", "p.toml", "q.toml", "--over", "source", "--over", "dataset"];
    let said = place.output(&pooled).stderr;
    assert!(String::from_utf8_lossy(&said).contains("rows average over different data sets"));
    let some = rows(&["p.toml", "q.toml", "--where", "selector=top", "--where", "source!=q.toml"]);
    assert_eq!(some.len(), 1, "{some:?}");
    assert_eq!(rows(&["p.toml", "--where", "student.with.lr=0.05"]).len(), 2);
    assert_eq!(
        place.output(&["table", "p.toml", "--where", "selector=none"]).status.code(),
        Some(2)
    );
    let several = place.output(&["table", "p.toml", "q.toml", "--pivot", "selector,seed"]);
    assert_eq!(several.status.code(), Some(2), "a cell would hold two data sets");
}

#[test]
fn a_test_pairs_cells_that_differ_in_the_method_alone() {
    let place = Sandbox::new();
    place.write("p.toml", PIPELINE);
    place.run("p.toml", &[]);
    let cells = place.json(&["table", "p.toml", "--over", "none", "--metric", "loss"]);
    let loss = |selector: &str, seed: &str| {
        let rows = cells["rows"].as_array().expect("rows").iter();
        let mut there = rows
            .filter(|row| row["coords"]["selector"] == selector && row["coords"]["seed"] == seed);
        there.next().expect("a cell")["metrics"]["loss"]["mean"].as_f64().expect("a number")
    };
    let difference = |seed: &str| loss("top", seed) - loss("random", seed);
    let found = place.json(&["table", "p.toml", "--test", "--metric", "loss"]);
    let test = &found["comparisons"][0]["tests"][0];
    let mean = test["difference"]["mean"].as_f64().expect("a number");
    assert!((mean - (difference("0") + difference("1")) / 2.0).abs() < 1e-12, "{test}");
    assert_eq!(test["pairs"], 2);
    let ranks = place.json(&["table", "p.toml", "--ranks", "--metric", "loss"]);
    let first = ranks["rankings"][0]["ranks"][0]["rank"].as_f64().expect("a rank");
    let wins = [difference("0") < 0.0, difference("1") < 0.0];
    let tops = wins.iter().filter(|win| **win).count().max(wins.iter().filter(|w| !**w).count());
    // Of two methods over two blocks, the better one has rank 1 where it wins and 2 elsewhere.
    assert_eq!(first, (tops + 2 * (2 - tops)) as f64 / 2.0, "{ranks}");
}

#[test]
fn longer_trainings_of_an_ablation_go_on_from_shorter_ones() {
    let place = Sandbox::new();
    place.write("p.toml", &PIPELINE.replace("seed = [0, 1]", "seed = [0]"));
    let args = ["ablate", "p.toml", "proxy.with.epochs=20,1,10,2,5", "--device", "cpu"];
    let found = place.json(&args);
    assert_eq!(found["horizons"][0]["set"], 20, "{found}");
    let sweep = &found["sweeps"][0];
    assert_eq!(sweep["trainings"][0]["epochs_trained"], 20, "{sweep}");
    assert_eq!(sweep["trainings"][0]["epochs_anew"], 38, "{sweep}");
    let rows = sweep["table"]["rows"].as_array().expect("rows");
    let trained = |epochs: &str| {
        let mut at = rows.iter().filter(|row| {
            let coords = &row["coords"];
            coords["proxy.with.epochs"] == epochs && coords["selector"] == "top"
        });
        at.next().expect("a row")["metrics"]["proxy_epochs_trained"]["mean"].as_f64()
    };
    assert_eq!((trained("5"), trained("20")), (Some(3.0), Some(10.0)), "{sweep}");
    let agreement = sweep["agreement"].as_array().expect("a list");
    let of = |measure: &str| {
        agreement.iter().find(|one| one["measure"] == measure).expect("it is compared")
    };
    assert_eq!(of("jaccard")["coords"]["selector"], "top", "random does not depend on the proxy");
    for measure in ["spearman", "jaccard"] {
        let matrix = &of(measure)["matrix"];
        assert_eq!(matrix[0][0], 1.0);
        assert_eq!(matrix[0][3], matrix[3][0]);
        // The score looks at the first epoch alone, which all lengths share under one horizon.
        assert_eq!(matrix[0][3], 1.0, "{matrix}");
    }
    // The same again is all there, and says the same of what was trained.
    assert_eq!(place.json(&args), found);
}

#[test]
fn an_ablation_keeps_the_horizon_of_the_file_and_sweeps_one_axis_at_a_time() {
    let place = Sandbox::new();
    let text = PIPELINE
        .replace("lr = 0.05 }\n\n[stage.h", "lr = 0.05, schedule.horizon = 6 }\n\n[stage.h");
    place.write("p.toml", &text.replace("seed = [0, 1]", "seed = [0]"));
    let args = ["ablate", "p.toml", "proxy.with.epochs=2,4", "proxy.with.lr=0.01,0.1"];
    let found = place.json(&[&args[..], &["--device", "cpu"]].concat());
    assert_eq!(found["horizons"][0]["set"], Value::Null);
    let why = found["horizons"][0]["why"].as_str().expect("a reason");
    assert!(why.contains("is 6, as the file says"), "{why}");
    let sweeps = found["sweeps"].as_array().expect("a list");
    let rows = |at: usize| sweeps[at]["table"]["rows"].as_array().map(Vec::len);
    assert_eq!((sweeps.len(), rows(0), rows(1)), (2, Some(4), Some(4)), "{found}");
    let grid = place.json(&[&args[..], &["--device", "cpu", "--grid"]].concat());
    assert_eq!(grid["sweeps"][0]["table"]["rows"].as_array().map(Vec::len), Some(8), "{grid}");
    assert_eq!(grid["sweeps"][0]["trainings"][0]["epochs_trained"], 8, "two rates, four epochs");
    let long = place.output(&["ablate", "p.toml", "proxy.with.epochs=2,9"]);
    assert_eq!(long.status.code(), Some(2), "9 epochs are more than the horizon");
    let both = ["ablate", "p.toml", "proxy.with.lr=0.1", "--set", "proxy.with.lr=0.2"];
    let said = String::from_utf8_lossy(&place.output(&both).stderr).into_owned();
    assert!(said.contains("swept and set at once"), "{said}");
    let wrong = place.output(&["ablate", "p.toml", "proxi.with.epochs=2"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("proxi") && said.contains("did you mean `proxy`"), "{said}");
}
