//! Laws every method keeps. A new one is held to them by being registered.

use crate::program::Sandbox;
use cache::{Artifact, Store};
use engine::{Event, Plan, PlanRequest, RunOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// The stages every method is tried on: 97 samples of three classes of unlike sizes would be too
/// even without the limit, some of them mislabelled.
const STAGES: &str = r#"
seed = 7
[stage.data]
use  = "load.synthetic"
with = { n = 97, test = 31, d = 6, classes = 3 }
[stage.noisy]
use  = "corrupt.labels"
from = { data = "data" }
with = { rate = 0.2, count = "bernoulli" }
[stage.part]
use  = "select.random"
from = { data = "noisy" }
with = { keep = 0.9, balance = "class" }
[stage.proxy]
use  = "proxy-train"
from = { data = "noisy", subset = "part" }
with = { model = "mlp", epochs = 12, batch = 16, lr = 0.05, record = "clean" }
[stage.scores]
use  = "score.el2n"
from = { proxy = "proxy" }
[stage.few]
use  = "select.random"
from = { data = "noisy" }
with = { keep = 0.1 }
"#;

/// As many texts, for what reads such.
const TEXTS: &str = r#"
[stage.texts]
use  = "load.text"
with = { train = "FILE", dimension = 64 }
[stage.some-texts]
use  = "select.random"
from = { data = "texts" }
with = { keep = 0.1 }
"#;

const WIRINGS: [&str; 8] = [
    r#"{ scores = "scores" }"#,
    r#"{ proxy = "proxy" }"#,
    r#"{ data = "noisy" }"#,
    r#"{ proxy = "proxy", data = "noisy" }"#,
    r#"{ scores = "scores", proxy = "proxy" }"#,
    r#"{ proxy = "proxy", query = "few" }"#,
    r#"{ data = "texts", query = "some-texts" }"#,
    r#"{ data = "texts", like = "some-texts" }"#,
];

fn read(text: &str) -> Result<Plan, Vec<String>> {
    let targets = vec!["it".to_owned()];
    let request = PlanRequest { path: "laws.toml".into(), set: vec![], targets };
    Plan::read_text(text, &request, &networks::registry())
        .map_err(|errors| errors.errors.iter().map(ToString::to_string).collect())
}

fn texts() -> String {
    let file = crate::program::repository("tests/it/texts.txt");
    TEXTS.replace("FILE", file.to_str().expect("text"))
}

/// Returns a pipeline in which stage `it` uses `method`, wired in the first way that fits.
fn pipeline(method: &str, with: &str, matrix: &str) -> String {
    let texts = texts();
    let text = |from: &str| {
        let it = format!("[stage.it]\nuse = \"{method}\"\nfrom = {from}\nwith = {with}\n{matrix}");
        format!("{STAGES}{texts}\n{it}")
    };
    let fits = WIRINGS.into_iter().map(text).find(|text| read(text).is_ok());
    fits.unwrap_or_else(|| panic!("{method}: {:?}", read(&text(WIRINGS[0])).err()))
}

fn run(store: &Store, text: &str) -> (Plan, Vec<Artifact>, Vec<String>) {
    let plan = read(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let options = RunOptions {
        id: "laws".into(),
        jobs: 2,
        device_jobs: 2,
        device: "cpu".into(),
        resources: None,
        build: "test".into(),
        now: 0,
        name: None,
        note: None,
        force: BTreeSet::new(),
        fail_fast: false,
        part: None,
        cancel: Arc::new(AtomicBool::new(false)),
    };
    let mut failures = vec![];
    let mut sink = |event: &Event| {
        if let Event::Failed { causes, .. } = event {
            failures.push(causes.join(": "));
        }
    };
    let result = engine::run(&plan, store, &options, &mut sink).expect("a run");
    let outputs = plan.cells.iter().filter_map(|cell| {
        let node = cell.node("it")?;
        result.outputs[node.index()].as_ref().map(|output| (**output).clone())
    });
    let outputs = outputs.collect();
    (plan, outputs, failures)
}

fn numbers(store: &Store, artifact: &Artifact, part: &str, tensor: &str) -> Option<Vec<f64>> {
    let bytes = store.get(&artifact.parts[part]).expect("readable");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let view = tensors.tensor(tensor).ok()?;
    let eight = |b: &[u8]| <[u8; 8]>::try_from(b).expect("eight bytes");
    let four = |b: &[u8]| <[u8; 4]>::try_from(b).expect("four bytes");
    Some(match view.dtype() {
        safetensors::Dtype::I64 => {
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(eight(b)) as f64).collect()
        }
        _ => view.data().chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(four(b)))).collect(),
    })
}

fn methods(family: &str) -> Vec<&'static str> {
    let registry = networks::registry();
    // What comes out of a file has no law to keep.
    let own = |name: &&str| name.starts_with(family) && !name.ends_with(".import");
    let names: Vec<&'static str> = registry.iter().map(|method| method.name).filter(own).collect();
    assert!(names.len() >= 6, "{family}: {names:?}");
    names
}

const KEEPS: [f64; 7] = [0.0, 0.01, 0.1, 0.33, 0.5, 0.99, 1.0];

#[test]
fn selectors_keep_their_budget() {
    let dir = tempfile::tempdir().expect("a place");
    let store = Store::open(dir.path().join("store")).expect("a store");
    let labels = labels(&store);
    let class_of = |index: f64| labels[index as usize] as usize;
    let sizes = [0, 1, 2].map(|class| labels.iter().filter(|one| **one as usize == class).count());
    assert_eq!(sizes.iter().sum::<usize>(), 97);
    for method in methods("select.") {
        for balance in ["none", "class"] {
            let matrix = format!("[matrix]\n\"it.with.keep\" = {KEEPS:?}\n");
            let with = format!("{{ keep = 0.1, balance = \"{balance}\" }}");
            // `full` has no budget to keep.
            let with = if method == "select.full" { "{}".to_owned() } else { with };
            let matrix = if method == "select.full" { String::new() } else { matrix };
            let text = pipeline(method, &with, &matrix);
            let of_texts = text.contains("from = { data = \"texts\", ");
            let (_, outputs, failures) = run(&store, &text);
            assert!(failures.is_empty(), "{method} {balance}: {failures:#?}");
            for (output, keep) in outputs.iter().zip(KEEPS) {
                let keep = if method == "select.full" { 1.0 } else { keep };
                let kept = numbers(&store, output, "subset", "indices").expect("indices");
                let budget = (keep * 97.0).round_ties_even() as usize;
                let name = format!("{method} {balance} keep {keep}");
                // DeepCore's GradMatch drops what has no weight.
                let drops = method == "select.deepcore.gradmatch";
                let exact = kept.len() == budget || (drops && kept.len() < budget);
                assert!(exact, "{name}: the budget is exact, not {}", kept.len());
                assert!(kept.is_sorted_by(|a, b| a < b), "{name}: each sample once");
                assert!(kept.iter().all(|index| (0.0..97.0).contains(index)), "{name}: in the set");
                if let Some(weights) = numbers(&store, output, "subset", "weights") {
                    assert_eq!(weights.len(), kept.len(), "{name}: a weight for each");
                    let sound = |weight: &f64| weight.is_finite() && *weight >= 0.0;
                    assert!(weights.iter().all(sound), "{name}: {weights:?}");
                }
                // The texts are of one class.
                if balance == "class" && method != "select.full" && !drops && !of_texts {
                    for (class, size) in sizes.into_iter().enumerate() {
                        let count = kept.iter().filter(|index| class_of(**index) == class).count();
                        let exact = keep * size as f64;
                        let near = (count as f64 - exact).abs() < 1.0 + 1e-9;
                        assert!(near, "{name}: class {class} of {size} keeps {count}");
                    }
                }
            }
        }
    }
}

fn labels(store: &Store) -> Vec<f64> {
    let text =
        format!("{STAGES}\n[stage.it]\nuse = \"corrupt.none\"\nfrom = {{ data = \"noisy\" }}\n");
    let (_, outputs, failures) = run(store, &text);
    assert!(failures.is_empty(), "{failures:?}");
    numbers(store, &outputs[0], "labels", "train").expect("labels")
}

#[test]
fn labels_out_of_a_file_are_the_corruption_they_came_from() {
    let dir = tempfile::tempdir().expect("a place");
    let store = Store::open(dir.path().join("store")).expect("a store");
    let path = dir.path().join("labels.txt");
    let output = |stage: &str| {
        let (_, outputs, failures) = run(&store, &format!("{STAGES}\n[stage.it]\n{stage}"));
        (outputs.first().cloned(), failures)
    };
    let given = labels(&store);
    let (noisy, _) = output("use = \"corrupt.none\"\nfrom = { data = \"noisy\" }");
    let write = |labels: &[f64]| {
        let text: String = labels.iter().map(|label| format!("{label}\n")).collect();
        std::fs::write(&path, text).expect("written");
    };
    let read = |from: &str| {
        let file = path.display();
        let wires = format!("from = {{ data = \"{from}\" }}\nwith = {{ file = \"{file}\" }}");
        output(&format!("use = \"corrupt.label-file\"\n{wires}"))
    };
    write(&given);
    // Of the clean data it makes the corrupted, with the same clean labels and the same touched samples; the
    // corrupted it leaves as they are.
    for from in ["data", "noisy"] {
        let (found, failures) = read(from);
        assert_eq!(found, noisy, "{from}: {failures:?}");
    }
    write(&given[..96]);
    let (_, failures) = read("data");
    assert!(failures[0].contains("has 96 labels, but there are 97"), "{failures:?}");
    write(&[&given[..96], &[3.0]].concat());
    let (_, failures) = read("data");
    assert!(failures[0].contains("has label 3 for sample 96"), "{failures:?}");
}

#[test]
fn scores_are_one_finite_number_a_sample() {
    let dir = tempfile::tempdir().expect("a place");
    let store = Store::open(dir.path().join("store")).expect("a store");
    for method in methods("score.") {
        let (_, outputs, failures) = run(&store, &pipeline(method, "{}", ""));
        assert!(failures.is_empty(), "{method}: {failures:#?}");
        let scores = numbers(&store, &outputs[0], "scores", "scores").expect("scores");
        assert_eq!(scores.len(), 97, "{method}");
        assert!(scores.iter().all(|score| score.is_finite()), "{method}: {scores:?}");
        let first = scores[0];
        assert!(scores.iter().any(|score| *score != first), "{method} tells samples apart");
    }
}

/// Returns a store in which the proxy is one whose numbers are small multiples of 1/8: sums of
/// them are exact in any order, so that results are the same on every machine.
fn pinned(dir: &Path) -> Store {
    planted(dir, |i, salt| ((i * 7919 + salt * 104_729) % 41) as f32 / 8.0 - 2.5)
}

/// Returns a store in which the proxy's numbers are `value(place, tensor)`.
fn planted(dir: &Path, value: impl Fn(usize, usize) -> f32) -> Store {
    let real = Store::open(dir.join("real")).expect("a store");
    let (plan, _, _) = run(&real, &pipeline("score.el2n", "{}", ""));
    let forecast = engine::Forecast::of(&plan, &real).expect("a forecast");
    let proxy = plan.cells[0].node("proxy").expect("the proxy");
    let mut record = forecast.record(proxy).expect("it was trained").clone();

    let store = Store::open(dir.join("pinned")).expect("a store");
    // The data, whose labels the proxy shares.
    run(&store, &pipeline("corrupt.none", "{}", ""));
    let numbers = |count: usize, salt: usize| -> Vec<u8> {
        (0..count).flat_map(|i| value(i, salt).to_le_bytes()).collect()
    };
    let put = |tensors: &[(&str, usize, usize)]| {
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, width, salt)| numbers(97 * width, *salt)).collect();
        let views = tensors.iter().zip(&bytes).map(|((name, width, _), bytes)| {
            let dtype = safetensors::Dtype::F32;
            let view = safetensors::tensor::TensorView::new(dtype, vec![97, *width], bytes);
            (*name, view.expect("it fills the shape"))
        });
        store.put(&safetensors::serialize(views, None).expect("tensors")).expect("stored")
    };
    for (name, blob) in &mut record.output.parts {
        *blob = match name.strip_prefix("record.") {
            Some(epoch) => put(&[("logits", 3, epoch.parse().expect("a number"))]),
            None if name == "outputs" => put(&[("logits", 3, 0), ("embeddings", 5, 99)]),
            None => store.put(&real.get(blob).expect("readable")).expect("stored"),
        };
    }
    store.commit(&record).expect("committed");
    store
}

#[test]
fn numbers_nothing_can_be_made_of_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, 1e30] {
        let dir = tempfile::tempdir().expect("a place");
        // In sample 40 of three numbers each, or of five.
        let plain = |i: usize, salt: usize| ((i * 31 + salt * 17) % 23) as f32 / 8.0 - 1.0;
        let store = planted(dir.path(), |i, salt| match (i, salt) {
            (120, 0) | (200, 99) => bad,
            _ => plain(i, salt),
        });
        for method in methods("select.") {
            let with = if method == "select.full" { "{}" } else { "{ keep = 0.3 }" };
            let text = pipeline(method, with, "");
            let (_, outputs, failures) = run(&store, &text);
            let own = text.split("[stage.it]").nth(1).expect("the stage");
            // Its input is the record alone, where all is well.
            if method == "select.trajectory-clusters" {
                assert!(failures.is_empty(), "{failures:?}");
            } else if own.contains("from = { proxy") {
                assert!(outputs.is_empty(), "{method} takes {bad}");
                assert!(failures[0].contains("of sample 40 are not finite"), "{failures:?}");
            } else if outputs.is_empty() {
                // A score was made of it, or rather was not.
                assert!(failures[0].contains("sample 40"), "{method}: {failures:?}");
            }
        }
    }
}

// A changed line here means that a method gives other results than it did. If that is meant, its
// REVISION goes up in the same commit, or old records will be taken for new ones.
#[test]
fn results_are_frozen() {
    let dir = tempfile::tempdir().expect("a place");
    let store = pinned(dir.path());
    let mut frozen = BTreeMap::new();
    for (family, with) in [("score.", "{}"), ("select.", "{ keep = 0.3 }")] {
        for method in methods(family) {
            // It runs the network itself, whose sums follow the machine's vector width; the
            // conformance tests hold its numbers.
            if method.ends_with(".deepfool") {
                continue;
            }
            let with = if method == "select.full" { "{}" } else { with };
            let (plan, outputs, failures) = run(&store, &pipeline(method, with, ""));
            assert!(failures.is_empty(), "{method}: {failures:#?}");
            let node = plan.cells[0].node("it").expect("the stage");
            let revision = plan.node(node).stage.revision();
            frozen.insert(format!("{method}@{revision}"), outputs[0].digest().short());
        }
    }
    let text: String = frozen.iter().map(|(name, digest)| format!("{name} {digest}\n")).collect();
    let known = include_str!("frozen.txt");
    assert!(known == text, "tests/it/frozen.txt should read:\n{text}");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let all: String = methods("select.")
        .into_iter()
        .enumerate()
        .map(|(i, method)| {
            let with = if method == "select.full" { "{}" } else { "{ keep = 0.3 }" };
            let text = pipeline(method, with, "");
            let stage = text.split("[stage.it]").nth(1).expect("the stage").to_owned();
            format!("[stage.s{i}]{stage}")
        })
        .collect();
    let digests = |threads: &str| {
        let place = Sandbox::new();
        place.write("p.toml", &format!("{STAGES}{}\n{all}", texts()));
        place.run("p.toml", &["--threads", threads, "--no-table"]);
        place.digests()
    };
    assert_eq!(digests("1"), digests("2"));
}

#[test]
fn every_method_has_a_file_and_every_file_a_method() {
    let registry = networks::registry();
    for family in ["select", "score"] {
        let folder = crate::program::repository(&format!("stages/methods/src/{family}"));
        let prefix = format!("{family}.");
        // DeepCore's own stand in a folder of theirs.
        let names = registry.iter().filter_map(|method| method.name.strip_prefix(&prefix));
        let wanted: BTreeSet<String> = names.map(|name| name.replace('-', "_")).collect();
        let mut there = BTreeSet::new();
        let networks = crate::program::repository("stages/networks/src");
        for path in [&folder, &networks].into_iter().flat_map(|one| crate::program::files(one)) {
            let text = std::fs::read_to_string(&path).expect("text");
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let own = path.parent().is_some_and(|folder| folder.ends_with("deepcore"));
            let name = if own { format!("deepcore.{stem}") } else { stem };
            // A method's file is one that says its own name.
            if text.contains(&format!("\"{prefix}{}\"", name.replace('_', "-"))) {
                there.insert(name);
            }
        }
        assert_eq!(wanted, there, "{family}: one method, one file");
    }
}
