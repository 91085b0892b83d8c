//! Slurm: the text of batch scripts, and the programs `sbatch`, `sacct`, `scontrol`, `squeue` and
//! `scancel`. The only file that knows it.

use super::{
    jobs::{After, Submission},
    settings::{JobResources, Megabytes},
};
use crate::context::{Failure, shell};
use std::{
    collections::BTreeMap,
    env,
    fmt::{Display, Write as _},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// The variable with the number of a job in its array.
const NUMBER: &str = "SLURM_ARRAY_TASK_ID";
/// The most jobs of an array where Slurm does not say.
const MOST: u32 = 1000;
/// The states of jobs that have not ended.
const LIVE: [&str; 10] = [
    "PENDING",
    "RUNNING",
    "COMPLETING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_FED",
    "REQUEUE_HOLD",
    "RESIZING",
    "SUSPENDED",
    "STAGE_OUT",
];

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JobEnd {
    /// The state, such as `TIMEOUT`.
    pub(super) state: String,
    /// The signal that ended it, or 0.
    pub(super) signal: u32,
    /// The memory it asked for.
    pub(super) memory: Option<Megabytes>,
}

/// What is to follow from the end of a job whose results are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A stage of it failed for a reason of its own.
    StageFailed,
    /// It is to run again.
    Again,
    /// It is to run again with more memory.
    MoreMemory,
}

impl JobEnd {
    /// Returns what follows for a job that ended so, if that is known; `stage_failed` tells whether
    /// its log has a stage that failed.
    pub(super) fn verdict(end: Option<&Self>, stage_failed: bool) -> Verdict {
        match end {
            // The kernel may have ended the program of a stage, which then fails.
            Some(end) if end.state == "OUT_OF_MEMORY" => Verdict::MoreMemory,
            _ if stage_failed => Verdict::StageFailed,
            // Slurm's own watch over memory kills all of it, and calls that a failure.
            Some(end) if end.state == "FAILED" && end.signal == 9 => Verdict::MoreMemory,
            // Not known is not lost: accounting may lag behind, or not be there.
            _ => Verdict::Again,
        }
    }
}

/// Returns the script of array `array` of the last round of `submission`.
pub(super) fn array_script(
    submission: &Submission,
    array: usize,
    ids: &[Option<String>],
) -> String {
    let round = submission.rounds.len() - 1;
    let jobs = &submission.rounds[round].arrays[array];
    let numbers: Vec<u32> = jobs.jobs.keys().copied().collect();
    let mut options = vec![];
    let limit = submission.settings.at_once.map_or(String::new(), |limit| format!("%{limit}"));
    options.push(format!("--array={}{limit}", ranges(&numbers)));
    if let Some(dependency) = dependency(&jobs.after, ids) {
        options.push(format!("--dependency={dependency}"));
        options.push("--kill-on-invalid-dep=yes".to_owned());
    }
    options.push("--requeue".to_owned());
    options.push(format!("--signal=B:USR1@{}", submission.settings.warn));
    let log = format!("{round:02}-{array:03}-%a.txt");
    let job = format!("{round} {array} \"${NUMBER}\"");
    script(submission, &jobs.resources, options, &log, &job)
}

/// Returns the script of the closing job of the last round.
pub(super) fn closing_script(submission: &Submission, ids: &[Option<String>]) -> String {
    let sent: Vec<&str> = ids.iter().flatten().map(String::as_str).collect();
    let mut options = vec!["--requeue".to_owned()];
    if !sent.is_empty() {
        options.push(format!("--dependency=afterany:{}", sent.join(":")));
    }
    let resources = submission.settings.resources([], false);
    let round = submission.rounds.len() - 1;
    script(submission, &resources, options, &format!("{round:02}-closing.txt"), "close")
}

fn script(
    submission: &Submission,
    resources: &JobResources,
    own: Vec<String>,
    log: &str,
    job: &str,
) -> String {
    let named = |name: &str, value: Option<String>| value.map(|value| format!("--{name}={value}"));
    let folder = submission.store.join("submitted").join(&submission.run).join("log");
    // A `%` stands for something in the name of a log.
    let folder = folder.display().to_string().replace('%', "%%");
    let asked = [
        named("partition", resources.partition.as_ref().map(|word| word.0.clone())),
        named("account", resources.account.as_ref().map(|word| word.0.clone())),
        named("qos", resources.qos.as_ref().map(|word| word.0.clone())),
        named("time", resources.time.as_ref().map(|word| word.0.clone())),
        named("mem", resources.mem.map(|mem| mem.to_string())),
        named("cpus-per-task", resources.cpus.map(|cpus| cpus.to_string())),
        named("gres", resources.gpus.filter(|gpus| *gpus > 0).map(|gpus| format!("gpu:{gpus}"))),
    ];
    let mut options = vec![
        "--job-name=coresift".to_owned(),
        format!("--comment=coresift run {}", submission.run),
        "--ntasks=1".to_owned(),
        format!("--chdir={}", submission.folder.display()),
        "--open-mode=append".to_owned(),
        format!("--output={folder}/{log}"),
    ];
    options.extend(asked.into_iter().flatten());
    options.extend(resources.extra.iter().map(|option| option.0.clone()));
    options.extend(own);
    let mut text = "#!/bin/sh\n".to_owned();
    for option in options {
        writeln!(text, "#SBATCH {}", quoted(&option)).ok();
    }
    for line in &submission.settings.setup {
        writeln!(text, "{line}").ok();
    }
    // `exec`: signals are to reach the program, not a shell that waits for it.
    writeln!(
        text,
        "exec {} --store {} work {} {job}",
        shell(&submission.program.display().to_string()),
        shell(&submission.store.display().to_string()),
        submission.run,
    )
    .ok();
    text
}

/// Returns an option as `sbatch` reads it in a script.
fn quoted(option: &str) -> String {
    match option.contains([' ', '\t', '\'', '"', '\\', '#']) {
        true => format!("\"{}\"", option.replace('\\', "\\\\").replace('"', "\\\"")),
        false => option.to_owned(),
    }
}

/// Returns sorted numbers as `0-3,7`.
fn ranges(numbers: &[u32]) -> String {
    let follows = |one: &u32, next: &u32| one + 1 == *next;
    let range = |run: &[u32]| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(ToString::to_string).collect(),
    };
    numbers.chunk_by(follows).map(range).collect::<Vec<_>>().join(",")
}

/// Returns what an array waits for; `ids` are those of the arrays before it.
fn dependency(after: &After, ids: &[Option<String>]) -> Option<String> {
    let id = |array: usize| ids[array].as_deref().unwrap_or_default();
    let all: Vec<String> = match after {
        After::Nothing => return None,
        After::SameNumber(array) => return Some(format!("aftercorr:{}", id(*array))),
        After::Jobs(jobs) => {
            jobs.iter().map(|(array, number)| format!("{}_{number}", id(*array))).collect()
        }
        After::Arrays(arrays) => arrays.iter().map(|array| id(*array).to_owned()).collect(),
    };
    Some(format!("afterok:{}", all.join(":")))
}

/// Returns a command of Slurm's. Within a job, what Slurm told that job is kept from it: `sbatch`
/// would take some of it for options.
fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("SLURM") && text != "SLURM_CONF" {
            command.env_remove(name);
        }
    }
    command
}

fn cannot_run(name: &str, error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot run `{name}`"))
        .because(error)
        .hint("jobs are submitted where Slurm's programs are: on a login node of the cluster")
}

/// Submits a script and returns the id of the job.
pub(super) fn submit(script: &str) -> Result<String, Failure> {
    let mut command = command("sbatch");
    command.arg("--parsable").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| cannot_run("sbatch", error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read all of it says why.
        stdin.write_all(script.as_bytes()).ok();
    }
    let output = child.wait_with_output().map_err(|error| cannot_run("sbatch", error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let id = said.trim().split(';').next().unwrap_or_default();
    if output.status.success() && id.parse::<u64>().is_ok() {
        return Ok(id.to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let why: Vec<&str> = why.lines().map(|line| line.trim_start_matches("sbatch: ")).collect();
    Err(Failure::failed(format!("sbatch refused the job: {}", why.join("; ").trim())))
}

/// Runs a command of Slurm's and returns what it says, or `None` if it fails or is not there.
fn answer(name: &str, args: &[impl Display]) -> Option<String> {
    let args = args.iter().map(ToString::to_string);
    let output = command(name).args(args).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns how many jobs an array may have.
pub(super) fn most() -> u32 {
    let told = answer("scontrol", &["show", "config"]);
    let line = told.as_deref().unwrap_or_default();
    let line = line.lines().find_map(|line| line.strip_prefix("MaxArraySize"));
    // The numbers are smaller than that.
    line.and_then(|line| line.trim_start_matches([' ', '=']).trim().parse().ok())
        .map_or(MOST, |size: u32| size.saturating_sub(1).max(1))
}

/// Returns how the jobs of these arrays ended, by array and number, as far as anybody knows.
pub(super) fn ends(ids: &[&str]) -> BTreeMap<(String, u32), JobEnd> {
    let mut all = BTreeMap::new();
    if ids.is_empty() {
        return all;
    }
    let format = "JobID,State,ExitCode,ReqMem";
    let accounting = answer("sacct", &["-X", "-n", "-P", "-j", &ids.join(","), "-o", format]);
    all.extend(accounting.iter().flat_map(|text| text.lines()).flat_map(accounted));
    for id in ids {
        // What accounting has not heard of yet, the controller still knows for some minutes.
        let known = answer("scontrol", &["show", "job", *id, "-o"]);
        all.extend(known.iter().flat_map(|text| text.lines()).flat_map(controlled));
    }
    all.retain(|_, end| !LIVE.contains(&end.state.as_str()));
    all
}

/// Reads a line of `sacct`: `29_1|OUT_OF_MEMORY|0:125|100M`.
fn accounted(line: &str) -> Vec<((String, u32), JobEnd)> {
    let fields: Vec<&str> = line.split('|').collect();
    let [job, state, exit, memory, ..] = fields[..] else { return vec![] };
    let Some((array, some)) = job.split_once('_') else { return vec![] };
    let end = end(state, exit, memory.parse().ok());
    numbers(some).map(|number| ((array.to_owned(), number), end.clone())).collect()
}

/// Reads a line of `scontrol show job -o`.
fn controlled(line: &str) -> Vec<((String, u32), JobEnd)> {
    let field = |name: &str| {
        line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap_or("")
    };
    let end = end(field("JobState"), field("ExitCode"), field("MinMemoryNode").parse().ok());
    let array = field("ArrayJobId");
    numbers(field("ArrayTaskId")).map(|number| ((array.to_owned(), number), end.clone())).collect()
}

/// Returns the numbers in `3`, `[4-7]`, `0-1,5` or `0-7%2`: jobs that never began are told together.
fn numbers(text: &str) -> impl Iterator<Item = u32> {
    let text = text.trim_matches(['[', ']']).split('%').next().unwrap_or_default();
    let ranges = text.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten()
}

fn end(state: &str, exit: &str, memory: Option<Megabytes>) -> JobEnd {
    // `CANCELLED by 1000`
    let state = state.split(' ').next().unwrap_or_default().to_owned();
    let signal = exit.split_once(':').and_then(|(_, signal)| signal.parse().ok()).unwrap_or(0);
    JobEnd { state, signal, memory }
}

/// Returns how many of these jobs are in the queue, by their state in lowercase; `None` if Slurm does
/// not answer.
pub(super) fn in_queue(ids: &[&str]) -> Option<BTreeMap<String, usize>> {
    let mut states = BTreeMap::new();
    // With a list in which one is gone for good, squeue shows none.
    let told = answer("squeue", &["--noheader", "--array", "--me", "--format=%F %T"])?;
    for line in told.lines() {
        let Some((id, state)) = line.trim().split_once(' ') else { continue };
        if ids.contains(&id) {
            *states.entry(state.trim().to_lowercase()).or_default() += 1;
        }
    }
    Some(states)
}

/// Cancels jobs.
pub(super) fn cancel(ids: &[&str]) -> Result<(), Failure> {
    if ids.is_empty() {
        return Ok(());
    }
    // Of those that have ended it says that they are no more, and fails.
    let ran = command("scancel").arg("--quiet").args(ids).output();
    let output = ran.map_err(|error| cannot_run("scancel", error))?;
    let why = String::from_utf8_lossy(&output.stderr);
    let gone = |line: &str| line.contains("Invalid job id") || line.contains("already completing");
    match why.lines().find(|line| !line.trim().is_empty() && !gone(line)) {
        Some(line) if !output.status.success() => {
            Err(Failure::failed(format!("scancel failed: {line}")))
        }
        _ => Ok(()),
    }
}

/// Puts the job this process is back into the queue, under its id. Tells whether Slurm does so.
pub(crate) fn requeue_this_job() -> bool {
    let Some(id) = env::var_os("SLURM_JOB_ID") else { return false };
    answer("scontrol", &["requeue".to_owned(), id.to_string_lossy().into_owned()]).is_some()
}

/// Returns how many cores this job was given.
pub(crate) fn cores_of_this_job() -> Option<u16> {
    let number = |name: &str| env::var_os(name)?.to_str()?.parse().ok();
    number("SLURM_CPUS_PER_TASK").or_else(|| number("SLURM_CPUS_ON_NODE"))
}

/// Returns the file in which the output of array `array` of round `round` stands.
pub(super) fn log_of(folder: &Path, round: usize, array: usize, number: u32) -> String {
    folder.join("log").join(format!("{round:02}-{array:03}-{number}.txt")).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_slurm_says_of_ended_jobs_is_read() {
        let one = |mut all: Vec<((String, u32), JobEnd)>| {
            assert_eq!(all.len(), 1);
            all.remove(0)
        };
        let (job, end) = one(accounted("29_1|OUT_OF_MEMORY|0:125|100M"));
        assert_eq!(job, ("29".to_owned(), 1));
        assert_eq!((end.signal, end.memory), (125, Some(Megabytes(100))));
        assert_eq!(JobEnd::verdict(Some(&end), true), Verdict::MoreMemory);
        let line = "JobId=31 ArrayJobId=29 ArrayTaskId=2 JobName=coresift UserId=a(1) JobState=FAILED \
                    Reason=JobLaunchFailure ExitCode=0:9 NumNodes=1 MinMemoryNode=2G Features=(null)";
        let (job, end) = one(controlled(line));
        assert_eq!(job, ("29".to_owned(), 2));
        assert_eq!(JobEnd::verdict(Some(&end), false), Verdict::MoreMemory);
        assert_eq!(JobEnd::verdict(Some(&end), true), Verdict::StageFailed);
        let (_, end) = one(accounted("29_3|CANCELLED by 1000|0:0|"));
        assert_eq!((end.state.as_str(), end.memory), ("CANCELLED", None));
        assert_eq!(JobEnd::verdict(Some(&end), false), Verdict::Again);
        assert_eq!(JobEnd::verdict(None, false), Verdict::Again);
        let told: Vec<u32> =
            accounted("29_[4-6,9%2]|PENDING|0:0|100M").iter().map(|(job, _)| job.1).collect();
        assert_eq!(told, [4, 5, 6, 9]);
        let single = "JobId=12 JobName=x JobState=COMPLETED ExitCode=0:0 MinMemoryNode=1M";
        assert_eq!(controlled(single), []);
    }

    #[test]
    fn dependencies_name_arrays_and_their_jobs() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        let ids = [Some("4".to_owned()), Some("9".to_owned())];
        let jobs = After::Jobs(BTreeSet::from([(0, 3), (1, 0)]));
        assert_eq!(dependency(&jobs, &ids).as_deref(), Some("afterok:4_3:9_0"));
        let same = After::SameNumber(1);
        assert_eq!(dependency(&same, &ids).as_deref(), Some("aftercorr:9"));
        assert_eq!(dependency(&After::Nothing, &ids), None);
        assert_eq!(quoted("--chdir=/a b"), "\"--chdir=/a b\"");
    }
}
