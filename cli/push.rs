//! `coresift push` and `coresift pull`: the results of whole runs, to and from the remote store.

use crate::{
    context::{Context, Failure, print_line},
    remote::{RemoteArgs, RemoteUse},
    runs, signals,
};
use cache::{Key, RemoteTier, Store};
use engine::RunRecord;
use std::{collections::BTreeSet, process::ExitCode};

#[derive(clap::Args)]
pub(crate) struct PushArgs {
    /// The runs whose results are sent, with their records [default: what earlier runs could not
    /// send].
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

#[derive(clap::Args)]
pub(crate) struct PullArgs {
    /// The runs whose results are fetched: of this store, or by their full names of others that
    /// were pushed.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

pub(crate) fn push(args: &PushArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store_with_remote(&args.remote, RemoteUse::Write)?;
    let tier = remote_of(&store)?;
    let stop = signals::watch()?;
    let found: Vec<RunRecord> =
        args.runs.iter().map(|name| runs::find(&store, name)).collect::<Result<_, _>>()?;
    for run in &found {
        store.send(&keys(run));
    }
    let left = context.finish_remote(&store, &stop)?;
    let mut failed = left > 0;
    for run in &found {
        // The run's record goes last: who finds it finds what it tells of.
        if left == 0 && tier.takes_writes() && run.send(&store)? {
            print_line(&run.id);
        } else {
            failed = true;
        }
    }
    context.sum_up_remote();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(crate) fn pull(args: &PullArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store_with_remote(&args.remote, RemoteUse::Read)?;
    let mut complete = true;
    for name in &args.runs {
        let run = match runs::find(&store, name) {
            Ok(run) => run,
            Err(failure) => match RunRecord::fetch(&store, name)? {
                Some(run) => run,
                None => {
                    let hint = "a run that was pushed elsewhere is pulled by its full name, as \
                                `coresift push` prints it";
                    return Err(failure.hint(hint));
                }
            },
        };
        let keys = keys(&run);
        let here = store.pull(&keys)?;
        complete &= here == keys.len();
        print_line(&format!("{}: {here} of {} results are here", run.id, keys.len()));
    }
    context.sum_up_remote();
    Ok(if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the keys of what `run` gave, each once.
fn keys(run: &RunRecord) -> Vec<Key> {
    let keys: BTreeSet<Key> = run.nodes.iter().filter_map(|node| node.key).collect();
    keys.into_iter().collect()
}

fn remote_of(store: &Store) -> Result<&RemoteTier, Failure> {
    store.remote().ok_or_else(|| Failure::mistake("no remote store is named"))
}
