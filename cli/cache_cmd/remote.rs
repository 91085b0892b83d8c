//! `coresift cache stats --remote`: what the remote store holds.

use crate::context::{Context, Failure, bytes_of, columns, print, print_line};
use crate::remote::{RemoteArgs, RemoteUse};
use cache::RemoteTier;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn stats(context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store_with_remote(&RemoteArgs::of_environment(), RemoteUse::Read)?;
    let Some(tier) = store.remote() else { return Ok(ExitCode::FAILURE) };
    let (records, _) = count(tier, "records")?;
    let (objects, bytes) = count(tier, "objects")?;
    let unsent = store.unsent()?.len();
    if context.global.json {
        let stats = json!({
            "remote": tier.name(),
            "records": records,
            "objects": objects,
            "bytes": bytes,
            "unsent": unsent,
        });
        print_line(&stats.to_string());
    } else {
        let objects = format!("{objects} in {}", bytes_of(bytes));
        let mut rows = vec![
            vec!["remote".to_owned(), tier.name().to_owned()],
            vec!["results".to_owned(), records.to_string()],
            vec!["objects".to_owned(), objects],
        ];
        if unsent > 0 {
            rows.push(vec!["yet to be sent".to_owned(), unsent.to_string()]);
        }
        print(&columns(&rows, |_| false));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the number of files in a folder of the remote store, and their bytes.
fn count(tier: &RemoteTier, folder: &str) -> Result<(u64, u64), Failure> {
    let (mut files, mut bytes) = (0, 0);
    let listed = tier.remote().list(folder, &mut |size| {
        files += 1;
        bytes += size;
    });
    listed.map_err(|error| {
        Failure::failed(format!("cannot list the remote store {}", tier.name())).because(error)
    })?;
    Ok((files, bytes))
}
