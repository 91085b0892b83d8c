//! Coming.
use crate::context::{Context, Failure};
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, _: &Context) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
