//! Corrupted samples from end to end: what is known about them reaches the evaluation.

use crate::program::Sandbox;

const GROUPS: &str = r#"
seed = 3
[stage.data]
use = "load.digits"
[stage.coloured]
use  = "corrupt.groups"
from = { data = "data" }
with = { correlation = 0.98 }
[stage.noisy]
use  = "corrupt.labels"
from = { data = "coloured" }
with = { kind = "instance-dependent", rate = 0.1 }
[stage.subset]
use  = "select.random"
from = { data = "noisy" }
with = { keep = 0.5 }
[stage.student]
use  = "train"
from = { data = "noisy", subset = "subset" }
with = { model = "mlp", epochs = 20, batch = 32, lr = 0.05 }
[stage.result]
use  = "evaluate"
from = { data = "noisy", model = "student" }
"#;

/// A sample may be a copy, then changed, then replaced.
const ORIGINS: &str = r#"
seed = 3
[stage.data]
use = "load.digits"
[stage.copied]
use  = "corrupt.duplicates"
from = { data = "data" }
with = { share = 0.2, mode = "append", noise = 0.02, shift = 1 }
[stage.dull]
use  = "corrupt.images"
from = { data = "copied" }
with = { kind = "contrast", severity = 5, share = 0.3, split = "both" }
[stage.strange]
use  = "corrupt.images"
from = { data = "data" }
with = { kind = "impulse-noise", severity = 5 }
[stage.noisy]
use  = "corrupt.outliers"
from = { data = "dull", foreign = "strange" }
with = { share = 0.1 }
[stage.proxy]
use  = "proxy-train"
from = { data = "noisy" }
with = { model = "mlp", epochs = 2, batch = 32, lr = 0.05 }
[stage.scores]
use  = "score.el2n"
from = { proxy = "proxy" }
[stage.found]
use  = "evaluate.scores"
from = { scores = "scores", data = "noisy" }
with = { of = "foreign" }
[stage.student]
use  = "train"
from = { data = "noisy" }
with = { model = "mlp", epochs = 1, batch = 32, lr = 0.05 }
[stage.result]
use  = "evaluate"
from = { data = "noisy", model = "student" }
"#;

/// Returns what the stage `target` of a pipeline measured of each metric.
fn measured<const N: usize>(place: &Sandbox, target: &str, metrics: [&str; N]) -> [f64; N] {
    let named = metrics.iter().flat_map(|metric| ["--metric", metric]);
    let args: Vec<&str> =
        ["table", "p.toml", "--target", target].into_iter().chain(named).collect();
    let table = place.json(&args);
    let row = &table["rows"][0]["metrics"];
    metrics.map(|name| row[name]["mean"].as_f64().unwrap_or_else(|| panic!("{name}: {table}")))
}

#[test]
fn what_goes_with_the_colour_fails_in_the_groups_that_go_against_it() {
    let place = Sandbox::new();
    place.write("p.toml", GROUPS);
    place.run("p.toml", &[]);
    let names = ["accuracy", "worst_group", "group_gap", "minority_share", "minority_kept"];
    let [accuracy, worst, gap, available, kept] = measured(&place, "result", names);
    assert!((accuracy - worst - gap).abs() < 1e-12 && worst < accuracy, "{accuracy} {worst}");
    // About 0.02 of 1,442 samples, and of half of them.
    assert!(
        (0.005..0.05).contains(&available) && (0.001..0.06).contains(&kept),
        "{available} {kept}"
    );
}

#[test]
fn what_was_done_to_samples_is_counted_among_those_kept() {
    let place = Sandbox::new();
    place.write("p.toml", ORIGINS);
    place.run("p.toml", &[]);
    // 1,442 samples and 288 copies; 173 of all are replaced.
    let [wrong, samples, auroc] = measured(&place, "found", ["wrong", "samples", "auroc"]);
    assert_eq!((wrong, samples), (173.0, 1730.0));
    assert!((0.0..=1.0).contains(&auroc));
    let names = ["foreign_kept", "duplicate_kept", "changed_kept"];
    let [foreign, copies, changed] = measured(&place, "result", names);
    assert_eq!(foreign, 173.0 / 1730.0);
    // Some of the copies were replaced, and of the changed some were copies.
    assert!(copies < 288.0 / 1730.0 && copies > 0.1, "{copies}");
    assert!(changed < 0.3 * 0.9 && changed > 0.15, "{changed}");
    // The same seed draws the same.
    let before = place.digests();
    assert_eq!(place.run("p.toml", &["--force", "noisy"]).0.1, 1);
    assert_eq!(place.digests(), before);
}
