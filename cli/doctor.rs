//! `coresift doctor`: devices, data sets and the store.

use crate::{
    context::{Context, Failure, bytes_of, columns, print, print_line},
    site::Site,
};
use cache::{FileSystem, LockReach, Store, StoreError};
use engine::Registry;
use serde_json::{Map, Value, json};
use std::{path::Path, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct DoctorArgs {}

/// Names of devices, data sets or stores, and the state each is in.
type Findings = Vec<(String, String)>;

pub(crate) fn run(_: &DoctorArgs, context: &Context) -> Result<ExitCode, Failure> {
    let devices = networks::device_report(&crate::run::device_folders());
    let data = data_sets(&context.registry);
    let path = context.store_path();
    let heartbeat = Site::read()?.cache.heartbeat;
    let (store, failure) = match store(&path, heartbeat) {
        Ok(findings) => (findings, None),
        Err(error) => {
            let what = crate::context::chain(&error);
            (
                vec![
                    ("store".to_owned(), path.display().to_string()),
                    ("problem".to_owned(), what),
                ],
                Some(Failure::from(error)),
            )
        }
    };
    if context.global.json {
        let table = |findings: &Findings| -> Value {
            let pairs = findings.iter().map(|(what, how)| (what.clone(), json!(how)));
            Value::Object(pairs.collect::<Map<_, _>>())
        };
        let mut value = json!({
            "program": env!("CARGO_PKG_VERSION"),
            "devices": table(&devices),
            "data": table(&data),
            "store": table(&store),
        });
        // One answer holds both: what was found, and what is wrong.
        if let Some(failure) = &failure {
            value["error"] = failure.json()["error"].take();
        }
        print_line(&value.to_string());
    } else {
        let row = |(what, how): &(String, String)| vec![what.clone(), how.clone()];
        let mut rows = vec![vec!["coresift".to_owned(), env!("CARGO_PKG_VERSION").to_owned()]];
        for findings in [&devices, &data, &store] {
            rows.push(vec![]);
            rows.extend(findings.iter().map(row));
        }
        print(&columns(&rows, |_| false));
    }
    Ok(failure.map_or(ExitCode::SUCCESS, |failure| failure.report(false)))
}

/// Returns, for each data set that has files of its own, whether they are there.
fn data_sets(registry: &Registry) -> Findings {
    let mut findings = vec![];
    // One that has to be told a path has no place of its own to look in.
    let placed = |method: &&engine::Method| {
        method.name.starts_with("load.") && !["load.folder", "load.idx"].contains(&method.name)
    };
    for method in registry.iter().filter(placed) {
        let Some(stage) = method.sample() else { continue };
        let path = stage.files().and_then(|files| match files.into_iter().next() {
            Some(file) => Ok(Some(file.path)),
            None => Ok(stage.folders()?.into_iter().next().map(|folder| folder.path)),
        });
        let how = match path {
            Ok(None) => continue,
            Ok(Some(path)) => format!("found in {}", path.parent().unwrap_or(&path).display()),
            Err(problem) => problem.message,
        };
        findings.push((method.name.to_owned(), how));
    }
    findings
}

/// Looks at the store without making one.
fn store(path: &Path, heartbeat: Option<bool>) -> Result<Findings, StoreError> {
    let mut findings = vec![("store".to_owned(), path.display().to_string())];
    let mut say = |what: &str, how: String| findings.push((what.to_owned(), how));
    let Some(store) = Store::open_existing(path)? else {
        say("state", "not there yet: the first run makes it".to_owned());
        return Ok(findings);
    };
    let store = store.with_heartbeat(heartbeat);
    let stats = store.stats()?;
    let state = if store.is_read_only() { "can be read, not written" } else { "can be written" };
    say("state", state.to_owned());
    say(
        "holds",
        format!(
            "{} results, {} in {} objects",
            stats.records,
            bytes_of(stats.bytes),
            stats.objects
        ),
    );
    let system = store.file_system();
    let kind = system.kind.as_deref().unwrap_or("of a kind that is not known");
    let over = if system.is_network { ", over the network" } else { "" };
    say("file system", format!("{kind}{over}"));
    say("locks", locks(&system).to_owned());
    let heartbeat = match store.has_heartbeat() {
        true => "yes: what a process computes is free 90 s after it fell silent",
        false => "no: locks tell who computes what",
    };
    say("heartbeat", heartbeat.to_owned());
    if stats.quarantine > 0 {
        say(
            "set aside",
            format!("{} damaged files; `coresift cache gc` removes them", stats.quarantine),
        );
    }
    Ok(findings)
}

/// Returns what is known of the locks of a store's file system, as far as one machine can tell.
fn locks(system: &FileSystem) -> &'static str {
    match (system.locks, system.is_network) {
        (LockReach::None, _) => "none",
        (LockReach::Machine, false) => "hold among the processes of this machine",
        (LockReach::Machine, true) => "do not reach from one host to the other",
        (LockReach::Hosts, _) => "hold here, and reach from one host to the other by its kind",
        (LockReach::Unknown, _) => "hold here; whether they reach other hosts is not known",
    }
}
