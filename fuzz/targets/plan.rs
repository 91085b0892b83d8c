//! Pipeline files and overrides: whatever they hold, they are read or refused.
//!
//! An input is a pipeline file, and before it overrides and targets, one each, that end in a NUL.
#![no_main]

#[path = "../../engine/tests/fake/mod.rs"]
#[expect(dead_code, reason = "the tests of the engine use more of it")]
mod fake;

use engine::{Plan, PlanRequest, Registry};
use libfuzzer_sys::{Corpus, fuzz_target};
use std::sync::LazyLock;

static REGISTRY: LazyLock<Registry> = LazyLock::new(fake::registry);
/// More cells than this would be a plan that is rightly large.
const MOST_CELLS: usize = 10_000;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(bytes) else { return Corpus::Reject };
    // What a file extends is read from the disk, which is no part of the input.
    if text.contains("extends") && text.contains('/') {
        return Corpus::Reject;
    }
    let mut pieces: Vec<&str> = text.split('\0').collect();
    let text = pieces.pop().unwrap_or_default();
    let (targets, set): (Vec<&str>, Vec<&str>) =
        pieces.into_iter().partition(|piece| !piece.contains('='));
    let owned = |all: Vec<&str>| all.into_iter().map(str::to_owned).collect();
    let request = PlanRequest {
        path: "/nowhere/p.toml".into(),
        set: owned(set),
        targets: owned(targets),
        ..PlanRequest::default()
    };
    match Plan::read_text(text, &request, &REGISTRY) {
        Ok(plan) => {
            assert!(plan.cells.len() <= MOST_CELLS * 100, "{} cells", plan.cells.len());
            for (id, node) in plan.nodes() {
                let before = node.inputs.iter().all(|(_, input)| input.index() < id.index());
                assert!(before, "an input stands before what needs it");
            }
            for cell in &plan.cells {
                let axes = plan.coordinates(cell).len();
                assert_eq!(axes, plan.axes.len());
            }
        }
        Err(errors) => assert!(!format!("{errors:?}{errors}").is_empty()),
    }
    Corpus::Keep
});
