//! The jobs of a submitted run: arrays of them, what each computes and waits for, and the file that
//! remembers them. Knows no batch system: an id is a text.

use super::{
    ray::RayCluster,
    settings::{JobResources, SlurmSettings},
};
use crate::context::{Failure, write_file};
use engine::{Bundle, NodeId, SubmittedRun};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// The file in the run's folder.
const NAME: &str = "submission.json";

/// The most jobs that one waits for by name; beyond, it waits for whole arrays.
const MOST_NAMED: usize = 50;

/// What is known of a submitted run and its jobs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Submission {
    /// The run.
    pub(crate) run: String,
    /// The program the jobs run.
    pub(crate) program: PathBuf,
    /// The store, by its whole path.
    pub(crate) store: PathBuf,
    /// The folder the jobs run in.
    pub(crate) folder: PathBuf,
    /// Who runs the jobs.
    pub(crate) system: BatchSystem,
    /// The device the stages use, as the command line says it.
    pub(crate) device: String,
    /// When it was submitted, in seconds since 1970 (UTC).
    pub(crate) at: u64,
    /// The site's settings.
    pub(crate) settings: SlurmSettings,
    /// How many more times what is missing is sent again.
    pub(crate) retries_left: u32,
    /// The computations that failed for reasons of their own, and are not sent again.
    pub(crate) failed: BTreeSet<NodeId>,
    /// The memory that computations were found to need, in mebibytes.
    pub(crate) memory: BTreeMap<NodeId, u64>,
    /// What was sent, the last round last.
    pub(crate) rounds: Vec<Round>,
}

/// Who runs the jobs of a submitted run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BatchSystem {
    /// Slurm: the program leaves.
    Slurm,
    /// Ray: the program stays until its tasks have ended.
    Ray(RayCluster),
}

/// Jobs that were sent together.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Round {
    /// The arrays; each waits only for those before it.
    pub(crate) arrays: Vec<JobArray>,
    /// The id of the closing job, once it is sent.
    pub(crate) closing: Option<String>,
}

/// An array of jobs that ask for the same and wait in the same way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobArray {
    /// Its id, once it is sent.
    pub(crate) id: Option<String>,
    /// What each asks for.
    pub(crate) resources: JobResources,
    /// What they wait for.
    pub(crate) after: After,
    /// The jobs, by their number in the array.
    pub(crate) jobs: BTreeMap<u32, Job>,
}

/// A job: the computations it makes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Job {
    /// The computations.
    pub(crate) nodes: Vec<NodeId>,
    /// Those of them that the others lead to.
    pub(crate) targets: Vec<NodeId>,
}

/// What the jobs of an array wait for, by the places of arrays before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum After {
    /// Nothing.
    Nothing,
    /// Single jobs: array and number.
    Jobs(BTreeSet<(usize, u32)>),
    /// All jobs of these arrays.
    Arrays(BTreeSet<usize>),
    /// Each for the job of its number in that array.
    SameNumber(usize),
}

impl Submission {
    /// Reads what is known of the jobs of `run`.
    pub(crate) fn read(run: &SubmittedRun) -> Result<Self, Failure> {
        let path = run.folder().join(NAME);
        let refused = || Failure::failed(format!("cannot read `{}`", path.display()));
        let bytes = fs::read(&path).map_err(|error| refused().because(error))?;
        serde_json::from_slice(&bytes).map_err(|error| refused().because(error))
    }

    /// Writes it, in place of what was known before.
    pub(crate) fn write(&self, run: &SubmittedRun) -> Result<(), Failure> {
        let bytes = serde_json::to_vec(self).expect("a submission has no map with odd keys");
        write_file(&run.folder().join(NAME), &bytes)
    }

    /// Returns the name of a job, which is that of its log.
    pub(crate) fn job_name(round: usize, array: usize, number: u32) -> String {
        format!("{round:02}-{array:03}-{number:04}")
    }

    /// Returns the ids that may be in the queue: those of the last round.
    pub(crate) fn ids(&self) -> Vec<&str> {
        let last = self.rounds.last();
        let arrays = last.into_iter().flat_map(|round| &round.arrays);
        let closing = last.and_then(|round| round.closing.as_deref());
        arrays.filter_map(|array| array.id.as_deref()).chain(closing).collect()
    }
}

/// Puts bundles into arrays of at most `most`: of each, `resources` tells what its job asks for.
pub(crate) fn arrays(
    bundles: &[Bundle],
    resources: impl Fn(&Bundle) -> JobResources,
    most: u32,
) -> Vec<JobArray> {
    let mut layer = vec![0_usize; bundles.len()];
    for (at, bundle) in bundles.iter().enumerate() {
        layer[at] = bundle.after.iter().map(|before| layer[*before] + 1).max().unwrap_or(0);
    }
    let asks: Vec<JobResources> = bundles.iter().map(resources).collect();
    let mut place: Vec<(usize, u32)> = vec![(0, 0); bundles.len()];
    let mut all: Vec<JobArray> = vec![];
    for depth in 0..=layer.iter().copied().max().unwrap_or(0) {
        let mut groups: BTreeMap<(&JobResources, After), Vec<usize>> = BTreeMap::new();
        // Those that wait for one job, by the array that is in.
        let mut single: BTreeMap<(&JobResources, usize), BTreeMap<u32, Vec<usize>>> =
            BTreeMap::new();
        for at in (0..bundles.len()).filter(|at| layer[*at] == depth) {
            let before: BTreeSet<(usize, u32)> =
                bundles[at].after.iter().map(|before| place[*before]).collect();
            match (before.len(), before.first()) {
                (1, Some((array, number))) => {
                    let of = single.entry((&asks[at], *array)).or_default();
                    of.entry(*number).or_default().push(at);
                }
                _ => groups.entry((&asks[at], after(before))).or_default().push(at),
            }
        }
        let mut numbered: Vec<(&JobResources, After, BTreeMap<u32, usize>)> = vec![];
        for ((asks, array), of) in single {
            let widest = of.values().map(Vec::len).max().unwrap_or(0);
            if widest < of.len() {
                // Fewer arrays if the n-th job behind each of those is in the n-th array.
                for rank in 0..widest {
                    let nth =
                        of.iter().filter_map(|(number, jobs)| Some((*number, *jobs.get(rank)?)));
                    numbered.push((asks, After::SameNumber(array), nth.collect()));
                }
                continue;
            }
            for (number, jobs) in of {
                let after = After::Jobs(BTreeSet::from([(array, number)]));
                groups.insert((asks, after), jobs);
            }
        }
        for ((asks, after), jobs) in groups {
            for jobs in jobs.chunks(usize::try_from(most.max(1)).unwrap_or(usize::MAX)) {
                numbered.push((asks, after.clone(), (0..).zip(jobs.iter().copied()).collect()));
            }
        }
        for (asks, after, jobs) in numbered {
            for (number, bundle) in &jobs {
                place[*bundle] = (all.len(), *number);
            }
            let job = |bundle: &Bundle| Job {
                nodes: bundle.nodes.clone(),
                targets: bundle.targets.clone(),
            };
            let jobs = jobs.into_iter().map(|(number, at)| (number, job(&bundles[at]))).collect();
            all.push(JobArray { id: None, resources: asks.clone(), after, jobs });
        }
    }
    all
}

fn after(before: BTreeSet<(usize, u32)>) -> After {
    match before.len() {
        0 => After::Nothing,
        1..=MOST_NAMED => After::Jobs(before),
        _ => After::Arrays(before.into_iter().map(|(array, _)| array).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundles(after: &[&[usize]]) -> Vec<Bundle> {
        let bundle =
            |after: &&[usize]| Bundle { nodes: vec![], targets: vec![], after: after.to_vec() };
        after.iter().map(bundle).collect()
    }

    /// Returns the arrays as what they wait for and the numbers of their jobs.
    fn shape(after: &[&[usize]], most: u32) -> Vec<(After, Vec<u32>)> {
        let all = arrays(&bundles(after), |_| JobResources::default(), most);
        all.into_iter().map(|one| (one.after, one.jobs.into_keys().collect())).collect()
    }

    #[test]
    fn equal_jobs_are_one_array_and_wait_for_single_jobs() {
        let jobs = |one: &[(usize, u32)]| After::Jobs(one.iter().copied().collect());
        // Two proxies, three students of each.
        let found = shape(&[&[], &[], &[0], &[0], &[0], &[1], &[1], &[1]], 100);
        let wanted = [
            (After::Nothing, vec![0, 1]),
            (jobs(&[(0, 0)]), vec![0, 1, 2]),
            (jobs(&[(0, 1)]), vec![0, 1, 2]),
        ];
        assert_eq!(found, wanted);
        // Three proxies, one student of each: one array, each behind the job of its number.
        let found = shape(&[&[], &[], &[], &[0], &[1], &[2]], 100);
        assert_eq!(found, [(After::Nothing, vec![0, 1, 2]), (After::SameNumber(0), vec![0, 1, 2])]);
        // Cut in two, the students follow their proxies.
        let found = shape(&[&[], &[], &[], &[], &[0], &[1], &[2], &[3]], 2);
        let wanted = [
            (After::Nothing, vec![0, 1]),
            (After::Nothing, vec![0, 1]),
            (After::SameNumber(0), vec![0, 1]),
            (After::SameNumber(1), vec![0, 1]),
        ];
        assert_eq!(found, wanted);
        let found = shape(&[&[], &[], &[0, 1]], 100);
        assert_eq!(found[1], (jobs(&[(0, 0), (0, 1)]), vec![0]));
    }

    #[test]
    fn one_that_waits_for_very_many_waits_for_their_arrays() {
        let mut after: Vec<Vec<usize>> = vec![vec![]; 60];
        after.push((0..60).collect());
        let after: Vec<&[usize]> = after.iter().map(Vec::as_slice).collect();
        let found = shape(&after, 40);
        assert_eq!(found[2].0, After::Arrays(BTreeSet::from([0, 1])));
    }
}
