//! `coresift cache share`: a store that a group reads and writes.

use crate::context::{Context, Failure, print_line};
use cache::Store;
use serde_json::json;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct ShareArgs {
    /// The group, by name or number [default: the one that owns the store's folder]
    #[arg(long)]
    group: Option<String>,
}

pub(super) fn run(args: &ShareArgs, store: &Store, context: &Context) -> Result<ExitCode, Failure> {
    let group = args.group.as_deref().map(group_of).transpose()?;
    let report = store.share(group)?;
    if context.global.json {
        print_line(&json!({ "opened": report.opened, "refused": report.refused }).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&format!("opened {} files and folders to the group", report.opened));
    if report.refused > 0 {
        context.note(&format!(
            "{} belong to others, and stay as they are: have their owners run this, too",
            report.refused
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the number of a group.
fn group_of(name: &str) -> Result<u32, Failure> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        Failure::mistake(format!("--group {name}: no group of /etc/group is called so"))
            .hint("`id` lists yours; one that a directory service knows goes by its number")
    })
}
