//! `coresift stop`: cancels the jobs of a submitted run.

use crate::{
    context::{Context, Failure, print_line},
    submit,
};
use engine::{RunStatus, SubmittedRun};
use serde_json::json;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct StopArgs {
    /// The run: its name, the beginning of it, or `last`.
    run: String,
}

pub(crate) fn run(args: &StopArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let record = crate::runs::find(&store, &args.run)?;
    let Some(submitted) = SubmittedRun::find(&store, &record.id) else {
        if record.status(&store)? != RunStatus::GoingOn {
            return Err(Failure::mistake(format!("run {} has ended", record.id)));
        }
        let what = format!("run {} was not submitted", record.id);
        let hint = format!("end the process that runs it: `{}`", record.process);
        return Err(Failure::mistake(what).hint(hint));
    };
    if !submitted.is_open() {
        return Err(Failure::mistake(format!("run {} has ended", record.id)));
    }
    submit::stop(&record, &submitted, &store, context)?;
    if context.global.json {
        print_line(&json!({ "stopped": record.id }).to_string());
    } else {
        let again = submit::again_command(&record.id);
        context.note(&format!(
            "stopped run {}; what was finished is kept, `{again}` goes on",
            record.id
        ));
    }
    Ok(ExitCode::SUCCESS)
}
