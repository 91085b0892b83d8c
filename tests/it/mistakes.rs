//! Every kind of mistake in a pipeline file, at its place.

use crate::program::{Sandbox, files, repository};
use std::fs;

/// A file under tests/specs/invalid opens with the mistakes it holds, `# expect LINE: message`;
/// a message is given by its beginning. All of them must be found, in this order, and no other.
#[test]
fn every_mistake_is_shown_at_its_line() {
    let place = Sandbox::new();
    let specs = files(&repository("tests/specs/invalid"));
    assert!(specs.len() > 25, "the files are there");
    let mut wrong = vec![];
    for path in specs {
        let text = fs::read_to_string(&path).expect("text");
        let wanted: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# expect ")).collect();
        let output = place.output(&["plan", path.to_str().expect("text"), "--json"]);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let found: Vec<String> = found["mistakes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| format!("{}: {}", one["line"], one["message"].as_str().unwrap_or_default()))
            .collect();
        let same = wanted.len() == found.len()
            && wanted.iter().zip(&found).all(|(wanted, found)| found.starts_with(wanted));
        if !same || output.status.code() != Some(2) {
            wrong.push(format!("{}: wanted {wanted:#?}, found {found:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(place.stored("objects").is_empty(), "nothing was run");
}

#[test]
fn valid_files_are_accepted() {
    let place = Sandbox::new();
    let mut all = files(&repository("tests/specs/valid"));
    all.extend(
        files(&repository("pipelines"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml")),
    );
    for path in all {
        let output = place.output(&["plan", path.to_str().expect("text"), "--json"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // A data set that is not on this machine is the one thing that may be missing.
        let only_data = told["mistakes"].as_array().is_some_and(|all| {
            let brings = |hint: &str| {
                let ways = ["download", "install", "put the images there"];
                ways.iter().any(|way| hint.starts_with(way))
            };
            // Nor may what `scripts/brown-texts`, `mail-texts`, `mnist-digits` and `mlbench-tables` make, or the texts
            // and the model of an example.
            let made = |said: &str| {
                let folders = ["brown/", "mail/", "`mnist`", "tables/", "examples/embed/"];
                let file = said.strip_prefix("there is no file `");
                let file = file.or(said.strip_prefix("a data set of IDX files is not in "));
                file.is_some_and(|file| folders.iter().any(|folder| file.contains(folder)))
            };
            all.iter().all(|one| {
                one["hint"].as_str().is_some_and(brings)
                    || one["message"].as_str().is_some_and(made)
            })
        });
        assert!(output.status.success() || only_data, "{}: {text}", path.display());
    }
}

#[test]
fn a_device_that_is_not_there_is_a_mistake() {
    let place = Sandbox::new();
    let path = repository("pipelines/digits.toml");
    let output = place.output(&["run", path.to_str().expect("text"), "--device", "cuda:9"]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("--device cpu"), "{text}");
    assert!(place.stored("objects").is_empty(), "nothing was run");
}
