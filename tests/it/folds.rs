//! Proxies trained in folds: samples are judged by networks that have not seen them.

use crate::program::Sandbox;

const PIPELINE: &str = r#"
[stage.data]
use = "load.digits"
[stage.noisy]
use  = "corrupt.labels"
from = { data = "data" }
with = { kind = "symmetric", rate = 0.2 }
[stage.proxy]
use  = "proxy-train"
from = { data = "noisy" }
with = { model = "mlp", epochs = 60, batch = 32, lr = 0.05, weight-decay = 0, schedule.kind = "constant", record = "clean" }
[stage.score]
use  = "score.loss"
from = { proxy = "proxy" }
[stage.found]
use  = "evaluate.scores"
from = { scores = "score", data = "noisy" }
[matrix]
"proxy.with.folds" = [2, 5]
"#;

/// A network that has learnt its wrong labels by heart no longer finds them; one that has not seen them
/// does.
#[test]
fn a_network_finds_the_wrong_labels_it_has_not_seen() {
    let place = Sandbox::new();
    let folds = place.write("folds.toml", PIPELINE);
    let whole =
        place.write("whole.toml", &PIPELINE.replace("\"proxy.with.folds\" = [2, 5]", "seed = [0]"));
    let auroc = |path: &std::path::Path| -> Vec<f64> {
        let path = path.to_str().expect("text");
        place.run(path, &[]);
        let table = place.json(&["table", path, "--metric", "auroc", "--over", "none"]);
        let rows = table["rows"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["metrics"]["auroc"]["mean"].as_f64().expect("a number")).collect()
    };
    let (seen, unseen) = (auroc(&whole), auroc(&folds));
    assert_eq!((seen.len(), unseen.len()), (1, 2));
    assert!(unseen.iter().all(|found| *found > seen[0].max(0.95)), "{seen:?} {unseen:?}");
}

#[test]
fn what_needs_one_space_is_refused_with_a_way_out() {
    let place = Sandbox::new();
    let text = PIPELINE.replace("score.loss", "score.grand");
    let path = place.write("p.toml", &text);
    let output = place.output(&["run", path.to_str().expect("text"), "--device", "cpu"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the proxy keeps no embeddings"), "{said}");
    assert!(said.contains("connect one trained without"), "{said}");
    let one = place.write("one.toml", &text.replace("[2, 5]", "[1]"));
    let output = place.output(&["plan", one.to_str().expect("text")]);
    assert_eq!(output.status.code(), Some(2));
}
