//! Runs: hits, sharing, early cutoff, failure, damage, reasons.

mod fake;

use cache::{Digest, Store};
use engine::{
    Event, Forecast, LogTail, Outlook, Plan, PlanRequest, Reason, RunOptions, RunRecord, RunResult,
    RunStatus, RunSummary,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

fn plan(text: &str) -> Plan {
    let request = PlanRequest { path: "test.toml".into(), ..PlanRequest::default() };
    Plan::read_text(text, &request, &fake::registry())
        .unwrap_or_else(|errors| panic!("{:#?}", errors.errors))
}

fn options(id: u64) -> RunOptions {
    RunOptions {
        id: format!("run-{id:04}"),
        jobs: 2,
        device_jobs: 1,
        device: "cpu".into(),
        resources: None,
        build: "test".into(),
        now: 1_000_000 + id,
        name: None,
        note: None,
        force: BTreeSet::new(),
        fail_fast: false,
        part: None,
        cancel: Arc::new(AtomicBool::new(false)),
    }
}

struct TestRuns {
    dir: tempfile::TempDir,
    runs: u64,
}

impl TestRuns {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a place"), runs: 0 }
    }

    fn store(&self) -> Store {
        Store::open(self.dir.path().join("store")).expect("a store")
    }

    fn run(&mut self, text: &str) -> (RunResult, Vec<Event>) {
        self.runs += 1;
        let mut events = vec![];
        let mut sink = |event: &Event| events.push(event.clone());
        let result = engine::run(&plan(text), &self.store(), &options(self.runs), &mut sink);
        (result.expect("the run goes on"), events)
    }

    fn summary(&mut self, text: &str) -> (usize, usize) {
        let RunSummary { hits, computed, failed, skipped, stopped } = self.run(text).0.summary;
        assert_eq!((failed, skipped, stopped), (0, 0, 0));
        (hits, computed)
    }

    fn reasons(&self, text: &str, label: &str) -> Vec<String> {
        let plan = plan(text);
        let forecast = Forecast::of(&plan, &self.store()).expect("a forecast");
        let (id, _) = plan.nodes().find(|(_, node)| &*node.label == label).expect("the stage");
        match &forecast.outlooks[id.index()] {
            Outlook::Hit(_) => vec!["hit".into()],
            Outlook::Run(reasons) => reasons.iter().map(ToString::to_string).collect(),
            Outlook::Waits(on) => {
                on.iter().map(|one| format!("waits on {}", plan.node(*one).label)).collect()
            }
        }
    }
}

fn digests(result: &RunResult) -> Vec<Digest> {
    result.outputs.iter().flatten().map(|output| output.digest()).collect()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}

const CHAIN: &str = r#"
[stage.a]
use = "make"
with = { text = "hello" }
[stage.b]
use = "join"
from = { texts = ["a", "a"] }
[stage.c]
use = "count"
from = { text = "b" }
"#;

#[test]
fn nothing_is_done_twice() {
    let mut place = TestRuns::new();
    assert_eq!(place.summary(CHAIN), (0, 3));
    assert_eq!(place.summary(CHAIN), (3, 0));
    let renamed = CHAIN.replace("stage.b", "stage.joined").replace("\"b\"", "\"joined\"");
    assert_eq!(place.summary(&format!("# a remark\n{renamed}")), (3, 0), "names are labels");
    // Other settings, equal bytes: the change stops there.
    assert_eq!(place.summary(&CHAIN.replace("\"hello\" }", "\"hello\", size = 3 }")), (2, 1));
    // Only the length of the text counts for the last stage's bytes, but its input is another.
    assert_eq!(place.summary(&CHAIN.replace("hello", "world")), (0, 3));
}

#[test]
fn equal_stages_run_once_and_lists_keep_their_order() {
    let mut place = TestRuns::new();
    let text = r#"
[stage.a]
use = "make"
with = { text = "a" }
[stage.b]
use = "make"
with = { text = "b" }
[stage.again]
use = "make"
with = { text = "b" }
[stage.ab]
use = "join"
from = { texts = ["a", "b"] }
[stage.ba]
use = "join"
from = { texts = ["again", "a"] }
"#;
    let (result, events) = place.run(text);
    assert_eq!((result.summary.hits, result.summary.computed), (1, 4), "again is b");
    let started = events.iter().filter(|event| matches!(event, Event::Started { .. })).count();
    assert_eq!(started, 4);
    let outputs: std::collections::BTreeSet<Digest> = digests(&result).into_iter().collect();
    assert_eq!(outputs.len(), 4, "ab is not ba");
}

#[test]
fn failure_stops_what_needs_it_and_nothing_else() {
    for how in ["fail", "panic"] {
        let mut place = TestRuns::new();
        let text = format!(
            "{CHAIN}\n[stage.bad]\nuse = \"join\"\nfrom = {{ texts = \"a\" }}\nwith = {{ {how} = true }}\n\
             [stage.lost]\nuse = \"count\"\nfrom = {{ text = \"bad\" }}\n"
        );
        let (result, events) = place.run(&text);
        let wanted = RunSummary { hits: 0, computed: 3, failed: 1, skipped: 1, stopped: 0 };
        assert_eq!(result.summary, wanted, "{how}");
        let told = events.iter().any(
            |event| matches!(event, Event::Failed { causes, .. } if causes[0].contains("told to")),
        );
        assert!(told, "{events:#?}");
        // Failed stages run again, finished ones are hits.
        let (result, _) = place.run(&text);
        assert_eq!((result.summary.hits, result.summary.failed), (3, 1));
    }
}

#[test]
fn plans_give_the_reason() {
    let mut place = TestRuns::new();
    assert_eq!(place.reasons(CHAIN, "a"), ["it has not been run before"]);
    assert_eq!(place.reasons(CHAIN, "c"), ["waits on b"]);
    place.run(CHAIN);
    let changed = CHAIN.replace("\"hello\" }", "\"hello\", rule.depth = 4 }");
    assert_eq!(place.reasons(&changed, "a"), ["a.with.rule.depth: 0 → 4"]);
    let changed = CHAIN.replace("[\"a\", \"a\"] }", "[\"a\"] }");
    assert_eq!(place.reasons(&changed, "b"), ["input `texts.1` has changed"]);
    let changed = CHAIN.replace("use = \"join\"", "use = \"join\"\nwith = { sleep = 1 }");
    assert_eq!(place.reasons(&changed, "b"), ["b.with.sleep: 0 → 1"]);
}

#[test]
fn plans_tell_a_failure_from_a_result_that_is_gone() {
    let mut place = TestRuns::new();
    place.run(CHAIN);
    let failing = CHAIN.replace("use = \"join\"", "use = \"join\"\nwith = { fail = true }");
    place.run(&failing);
    let reasons = place.reasons(&failing, "b");
    let [first, second] = &reasons[..] else { panic!("{reasons:?}") };
    assert!(first.starts_with("it failed in run ") && first.ends_with(": told to fail"), "{first}");
    assert_eq!(second, "b.with.fail: false → true");
    let plan = plan(&failing);
    let forecast = Forecast::of(&plan, &place.store()).expect("a forecast");
    let Outlook::Run(reasons) = &forecast.outlooks[1] else { panic!("b is to run") };
    let Reason::Failed { why: Some(why), .. } = &reasons[0] else { panic!("{reasons:?}") };
    assert_eq!(why.hint.as_deref(), Some("tell it otherwise"));
    // A result removed from the store is not reported as a failure.
    let store = place.dir.path().join("store");
    files(&store.join("records")).iter().for_each(|file| fs::remove_file(file).expect("removed"));
    assert_eq!(place.reasons(CHAIN, "a"), ["its result is no longer in the store"]);
}

#[test]
fn a_damaged_store_mends_itself() {
    let mut place = TestRuns::new();
    let clean = digests(&place.run(CHAIN).0);
    let store = place.dir.path().join("store");
    let kinds = ["objects", "records"];
    for kind in kinds {
        let count = files(&store.join(kind)).len();
        assert_eq!(count, 3, "one {kind} for each stage");
        for i in 0..count {
            for harm in ["flip", "cut", "delete"] {
                let victim = files(&store.join(kind))[i].clone();
                let bytes = fs::read(&victim).expect("readable");
                fs::remove_file(&victim).expect("removable");
                match harm {
                    "flip" => {
                        let mut bytes = bytes.clone();
                        let middle = bytes.len() / 2;
                        bytes[middle] ^= 1;
                        fs::write(&victim, bytes).expect("written");
                    }
                    "cut" => fs::write(&victim, &bytes[..bytes.len() / 2]).expect("written"),
                    _ => {}
                }
                let (result, events) = place.run(CHAIN);
                assert_eq!(digests(&result), clean, "{kind} {i} {harm}");
                assert_eq!(result.summary.computed, 1, "{kind} {i} {harm}: {events:#?}");
                let said = events.iter().any(|event| matches!(event, Event::Damaged { .. }));
                let silent = kind == "records" && harm == "delete";
                assert_eq!(said, !silent, "{kind} {i} {harm}: {events:#?}");
                assert_eq!(place.summary(CHAIN), (3, 0), "whole again");
            }
        }
    }
}

#[test]
fn a_stopped_run_says_what_is_left() {
    let place = TestRuns::new();
    let options = options(1);
    let cancel = Arc::clone(&options.cancel);
    let mut sink = |event: &Event| {
        if matches!(event, Event::Finished { .. }) {
            cancel.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let result = engine::run(&plan(CHAIN), &place.store(), &options, &mut sink).expect("a run");
    assert_eq!((result.summary.computed, result.summary.stopped), (1, 2));
    let run = RunRecord::read(&place.store(), "run-0001").expect("readable").expect("a run");
    assert_eq!(run.status(&place.store()).expect("readable"), RunStatus::Interrupted);
}

#[test]
fn a_panic_is_told_with_its_place() {
    engine::keep_panics_of_stages(false);
    let text = format!(
        "{CHAIN}\n[stage.bad]\nuse = \"join\"\nfrom = {{ texts = \"a\" }}\nwith = {{ panic = true }}\n[stage.lost]\nuse = \"count\"\nfrom = {{ text = \"bad\" }}\n"
    );
    let (result, events) = TestRuns::new().run(&text);
    assert_eq!((result.summary.failed, result.summary.computed), (1, 3));
    let cause = events.iter().find_map(|event| match event {
        Event::Failed { causes, .. } => Some(causes[0].clone()),
        _ => None,
    });
    let cause = cause.expect("it is told");
    assert!(
        cause.starts_with("the method broke off: told to (at ") && cause.contains("fake/mod.rs:"),
        "{cause}"
    );
}

#[test]
fn the_first_failure_can_be_the_last() {
    let mut place = TestRuns::new();
    let plan = plan(&format!(
        "{CHAIN}\n[stage.bad]\nuse = \"join\"\nfrom = {{ texts = \"a\" }}\nwith = {{ fail = true, rule.width = 1 }}\n[stage.lost]\nuse = \"count\"\nfrom = {{ text = \"bad\" }}\n\
         [matrix]\n\"bad.with.rule.width\" = [1, 2, 3, 4, 5, 6, 7, 8]\n"
    ));
    place.runs = 1;
    let options = RunOptions { fail_fast: true, jobs: 1, ..options(1) };
    let mut events = vec![];
    let mut sink = |event: &Event| events.push(event.clone());
    let result = engine::run(&plan, &place.store(), &options, &mut sink).expect("a run");
    assert_eq!(result.summary.failed, 1);
    let left = result.summary.stopped;
    let told = |event: &Event| matches!(event, Event::NotBegun { nodes, .. } if *nodes == left);
    assert!(left >= 7 && events.iter().any(told), "{events:#?}");
}

#[test]
fn a_forced_stage_is_computed_again() {
    let mut place = TestRuns::new();
    place.run(CHAIN);
    let plan = plan(CHAIN);
    let (b, _) = plan.nodes().find(|(_, node)| &*node.label == "b").expect("it is there");
    let options = RunOptions { force: BTreeSet::from([b]), ..options(2) };
    let result = engine::run(&plan, &place.store(), &options, &mut |_: &Event| {}).expect("a run");
    // It gives the same, so what needs it stays.
    assert_eq!((result.summary.hits, result.summary.computed), (2, 1));
}

#[test]
fn names_of_runs_do_not_follow_the_clock() {
    let mut place = TestRuns::new();
    place.run(CHAIN);
    let store = place.store();
    let day = 86_400_000;
    let first = RunRecord::new_id(&store, 20_000 * day, 7).expect("readable");
    let options = RunOptions { id: first.clone(), ..options(1) };
    engine::run(&plan(CHAIN), &store, &options, &mut |_: &Event| {}).expect("a run");
    // The clock was set back a day; then two runs begin in one millisecond.
    let second = RunRecord::new_id(&store, 19_999 * day, 7).expect("readable");
    let third = RunRecord::new_id(&store, 19_999 * day, 8).expect("readable");
    assert!(first < second && first < third && second != third, "{first} {second} {third}");
}

#[test]
fn a_full_disk_is_told_once_and_nothing_more_is_started() {
    let text = r#"
[stage.a]
use = "make"
with = { text = "a" }
[stage.b]
use = "join"
from = { texts = "a" }
with = { full = true, rule.width = 1 }
[stage.c]
use = "join"
from = { texts = "b" }
[stage.n]
use = "count"
from = { text = "c" }
[matrix]
"b.with.rule.width" = [1, 2, 3, 4, 5, 6, 7, 8]
"#;
    let (result, events) = TestRuns::new().run(text);
    let failures = events.iter().filter(|event| matches!(event, Event::Failed { .. })).count();
    let Some(met) = events.iter().find_map(|event| match event {
        Event::StorageFull { met } => Some(*met),
        _ => None,
    }) else {
        panic!("it is told: {events:?}")
    };
    assert_eq!((failures, result.summary.failed), (1, met));
    // Two run at once, so no more than two can have met it.
    assert!(met <= 2, "{met}");
    assert!(result.summary.stopped >= 6, "{:?}", result.summary);
}

#[test]
fn what_happened_can_be_read_again() {
    let mut place = TestRuns::new();
    let (_, events) = place.run(CHAIN);
    let store = place.store();
    let mut log = LogTail::open(&store, "run-0001").expect("readable").expect("it is there");
    assert!(!log.is_growing(), "its writer is gone");
    let entries = log.read_new();
    let told: Vec<Event> = entries.iter().map(|entry| entry.event.clone()).collect();
    assert_eq!(told, events);
    assert!(entries.windows(2).all(|pair| pair[0].t <= pair[1].t));
    let stage = |entry: &engine::LogLine| entry.stage.is_some() == entry.event.node().is_some();
    assert!(entries.iter().all(stage));
    assert_eq!(log.read_new(), []);
    // A line cut short by a killed process is left out.
    let path = place.dir.path().join("store/runs/run-0001.events.jsonl");
    let mut bytes = fs::read(&path).expect("readable");
    bytes.truncate(bytes.len() - 10);
    fs::write(&path, bytes).expect("written");
    let mut cut = LogTail::open(&store, "run-0001").expect("readable").expect("it is there");
    assert_eq!(cut.read_new(), entries[..entries.len() - 1]);
    assert_eq!(RunRecord::list(&store).expect("readable"), ["run-0001"], "a log is no run");
    // A run of nothing but hits has one, too.
    place.run(CHAIN);
    let log = LogTail::open(&store, "run-0002").expect("readable");
    let hits = log.expect("it is there").read_new();
    let hit = |entry: &&engine::LogLine| matches!(entry.event, Event::Hit { .. });
    assert_eq!(hits.iter().filter(hit).count(), 3);
}
