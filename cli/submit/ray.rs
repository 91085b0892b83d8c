//! Ray: the table `[ray]` of `coresift.toml`, and the driver, a Python program, that runs the jobs of a run
//! as Ray tasks. The only file that knows it.

use super::{
    jobs::{After, JobArray, Submission},
    settings::{JobResources, Megabytes, SlurmSettings},
};
use crate::{
    context::{Context, Failure},
    signals,
};
use engine::SubmittedRun;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::Ordering,
};

/// The program that talks to Ray.
const DRIVER: &str = include_str!("ray_driver.py");
/// The variable in which the driver tells a job how many cores it has.
const CORES: &str = "CORESIFT_JOB_CPUS";

/// The table `[ray]`: where Ray is, and what jobs ask for. Nothing of it is in any key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(crate) struct RaySettings {
    /// The cluster: `auto` for the one this machine belongs to, `ray://HOST:10001`, or nothing for one that is
    /// started here and ends with the run.
    address: Option<String>,
    /// The Python that has the package `ray`.
    python: PathBuf,
    /// How many times a job runs again that was killed.
    retries: u32,
    /// What every job asks for.
    job: RayResources,
    /// What jobs ask for that have a stage which uses the device.
    device: RayResources,
    /// What the others ask for.
    host: RayResources,
    /// What jobs with a stage of that name ask for.
    stage: BTreeMap<String, RayResources>,
}

/// What a job asks for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct RayResources {
    /// The cores; one if it is not said.
    cpus: Option<u32>,
    /// The GPUs.
    gpus: Option<u32>,
    /// The memory, such as `32G`.
    mem: Option<Megabytes>,
}

impl Default for RaySettings {
    fn default() -> Self {
        Self {
            address: None,
            python: "python3".into(),
            retries: 2,
            job: RayResources::default(),
            device: RayResources::default(),
            host: RayResources::default(),
            stage: BTreeMap::new(),
        }
    }
}

impl RayResources {
    fn asked(&self) -> JobResources {
        JobResources { cpus: self.cpus, gpus: self.gpus, mem: self.mem, ..JobResources::default() }
    }
}

impl RaySettings {
    /// Returns the cluster, or the one at `address`.
    pub(super) fn cluster(&self, address: Option<&str>) -> RayCluster {
        let address = address.map(str::to_owned).or_else(|| self.address.clone());
        RayCluster { address, python: self.python.clone() }
    }

    /// Returns what jobs ask for, in the form that bundles are made jobs with.
    pub(super) fn jobs(&self) -> SlurmSettings {
        SlurmSettings {
            // One task is as good as another.
            most: Some(u32::MAX),
            retries: self.retries,
            job: self.job.asked(),
            device: self.device.asked(),
            host: self.host.asked(),
            stage: self.stage.iter().map(|(name, one)| (name.clone(), one.asked())).collect(),
            ..SlurmSettings::default()
        }
    }
}

/// A Ray cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RayCluster {
    /// Where it is; `None` starts one here.
    address: Option<String>,
    /// The Python that has the package `ray`.
    python: PathBuf,
}

/// Returns how many cores this job was given, if it is a task of Ray's.
pub(crate) fn cores_of_this_job() -> Option<u16> {
    env::var_os(CORES)?.to_str()?.parse().ok()
}

/// Runs the jobs of the last round, and returns once all have ended, or the run was stopped.
///
/// # Errors
///
/// Fails if Ray does not start.
pub(super) fn run(
    cluster: &RayCluster,
    submission: &Submission,
    submitted: &SubmittedRun,
    context: &Context,
) -> Result<(), Failure> {
    let cancel = signals::watch()?;
    let mut driver = start(cluster)?;
    let told = work(cluster, submission, submitted).to_string();
    let mut stdin = driver.stdin.take().expect("it is a pipe");
    // One that ends before it has read all of it says why.
    stdin.write_all(told.as_bytes()).ok();
    drop(stdin);
    let all = submission.last_arrays().iter().map(|array| array.jobs.len()).sum::<usize>();
    let mut ended = 0;
    let lines = BufReader::new(driver.stdout.take().expect("it is a pipe")).lines();
    for line in lines.map_while(Result::ok) {
        let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
        if let Some(note) = said["note"].as_str() {
            context.note(&format!("note: {note}"));
        }
        let (Some(job), Some(state)) = (said["job"].as_str(), said["state"].as_str()) else {
            continue;
        };
        ended += 1;
        let why = said["why"].as_str().map_or(String::new(), |why| format!(": {why}"));
        context.note(&format!("{ended} of {all} jobs: {job} {state}{why}"));
    }
    let status = driver.wait().map_err(|error| cannot_run(cluster, error))?;
    let stopped = cancel.load(Ordering::Relaxed) || super::is_stopped(submitted);
    if status.success() || stopped {
        return Ok(());
    }
    let python = cluster.python.display();
    let failure = Failure::failed(format!("Ray's driver ended with {status}"));
    Err(failure.hint(format!("its words are above; `{python} -m pip install ray` installs Ray")))
}

fn start(cluster: &RayCluster) -> Result<Child, Failure> {
    let mut command = Command::new(&cluster.python);
    command.args(["-u", "-c", DRIVER]).env("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|error| cannot_run(cluster, error))
}

fn cannot_run(cluster: &RayCluster, error: std::io::Error) -> Failure {
    Failure::failed(format!("cannot run `{}`", cluster.python.display()))
        .because(error)
        .hint("`python` in `[ray]` of coresift.toml names one that has the package `ray`")
}

/// Returns what the driver is told.
fn work(cluster: &RayCluster, submission: &Submission, submitted: &SubmittedRun) -> Value {
    let round = submission.rounds.len().saturating_sub(1);
    let arrays = submission.last_arrays();
    let mut jobs = vec![];
    for (at, array) in arrays.iter().enumerate() {
        for number in array.jobs.keys() {
            let name = Submission::job_name(round, at, *number);
            let place = [round.to_string(), at.to_string(), number.to_string()];
            let program = [
                submission.program.display().to_string(),
                "--store".to_owned(),
                submission.store.display().to_string(),
                "work".to_owned(),
                submission.run.clone(),
            ];
            let command = [&program[..], &place[..]].concat();
            let memory = array.resources.mem.map(|mem| mem.0.saturating_mul(1 << 20));
            jobs.push(json!({
                "log": submitted.folder().join("log").join(format!("{name}.txt")),
                "name": name,
                "command": command,
                "folder": submission.folder,
                "after": before(arrays, &array.after, *number),
                "cpus": array.resources.cpus.unwrap_or(1),
                "gpus": array.resources.gpus.unwrap_or(0),
                "memory": memory,
            }));
        }
    }
    json!({
        "address": cluster.address,
        "retries": submission.settings.retries,
        "stopped": submitted.folder().join(super::STOPPED),
        "jobs": jobs,
    })
}

/// Returns the places, among all jobs in their order, of those that job `number` waits for.
fn before(arrays: &[JobArray], after: &After, number: u32) -> Vec<usize> {
    let first = |array: usize| arrays[..array].iter().map(|one| one.jobs.len()).sum::<usize>();
    let place = |array: usize, number: u32| {
        let at = arrays[array].jobs.keys().position(|one| *one == number);
        at.map(|at| first(array) + at)
    };
    match after {
        After::Nothing => vec![],
        After::SameNumber(array) => place(*array, number).into_iter().collect(),
        After::Jobs(jobs) => {
            jobs.iter().filter_map(|(array, number)| place(*array, *number)).collect()
        }
        After::Arrays(all) => {
            let of = |array: &usize| first(*array)..first(*array + 1);
            all.iter().flat_map(of).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::jobs::Job, *};
    use std::collections::BTreeSet;

    #[test]
    fn jobs_wait_for_the_places_of_those_before_them() {
        let array = |numbers: &[u32], after| {
            let job = |number: &u32| (*number, Job { nodes: vec![], targets: vec![] });
            let jobs = numbers.iter().map(job).collect();
            JobArray { id: None, resources: JobResources::default(), after, jobs }
        };
        let arrays = [
            array(&[0, 1], After::Nothing),
            array(&[1], After::SameNumber(0)),
            array(&[0, 1, 2], After::Nothing),
            array(&[0], After::Nothing),
        ];
        assert_eq!(before(&arrays, &After::SameNumber(0), 1), [1]);
        assert_eq!(before(&arrays, &After::Jobs(BTreeSet::from([(1, 1), (2, 2)])), 0), [2, 5]);
        assert_eq!(before(&arrays, &After::Arrays(BTreeSet::from([0, 2])), 0), [0, 1, 3, 4, 5]);
    }

    #[test]
    fn what_ray_has_no_word_for_is_refused() {
        let settings: RaySettings =
            toml::from_str("address = \"auto\"\n[device]\ngpus = 1\nmem = \"4G\"")
                .expect("it reads");
        let asked = settings.jobs().resources(["student"], true);
        assert_eq!((asked.gpus, asked.mem), (Some(1), Some(Megabytes(4096))));
        for wrong in ["[job]\npartition = \"gpu\"", "warn = 3", "[job]\nmem = \"lots\""] {
            assert!(toml::from_str::<RaySettings>(wrong).is_err(), "{wrong}");
        }
    }
}
