//! The epochs the trainings of an ablation cost, and those they would have cost one by one.

use crate::sources::ResultSource;
use cache::Key;
use engine::{NodeId, Plan, trajectory_key};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The beginning of the log line of a training that went on from a checkpoint.
const GOES_ON: &str = "goes on after epoch ";

/// The epochs of all trainings of a plan, and the checkpoints they went on from.
pub(super) struct Trainings {
    /// By computation.
    all: BTreeMap<usize, TrainingCost>,
}

struct TrainingCost {
    label: String,
    seed: Option<u64>,
    key: Option<Key>,
    /// How many epochs it has, and after how many it went on from another.
    epochs: u64,
    from: u64,
    /// The one it went on from, where this plan has it.
    before: Option<usize>,
}

impl Trainings {
    /// Reads the records of the trainings of `plan`, computed as `source`.
    pub(super) fn of(plan: &Plan, source: &ResultSource) -> Self {
        let mut all = BTreeMap::new();
        let mut ends: BTreeMap<(Key, u64), usize> = BTreeMap::new();
        let mut filed: BTreeMap<usize, Key> = BTreeMap::new();
        for (at, node) in source.nodes.iter().enumerate() {
            let id = NodeId(u32::try_from(at).expect("a plan has fewer than 2^32 nodes"));
            let (Some(recipe), Some(made)) = (&node.recipe, &node.provenance) else { continue };
            let Some(trajectory) = trajectory_key(plan, id, recipe) else { continue };
            // The length of a training counted in steps is not known in epochs.
            let Some(epochs) = recipe.settings["epochs"].as_u64() else { continue };
            let mut begun =
                made.log.iter().filter_map(|line| line.strip_prefix(GOES_ON)?.parse().ok());
            let from = begun.next_back().unwrap_or(0);
            ends.entry((trajectory, epochs)).or_insert(at);
            filed.insert(at, trajectory);
            let label = node.label.clone();
            let key = node.key;
            let seed = recipe.seed;
            all.insert(at, TrainingCost { label, seed, key, epochs, from, before: None });
        }
        for (at, trajectory) in filed {
            let training = all.get_mut(&at).expect("it was read");
            training.before =
                ends.get(&(trajectory, training.from)).copied().filter(|one| *one != at);
        }
        Self { all }
    }

    /// Returns what computation `at` took, with the trainings it went on from; `None` if that of
    /// one is not known.
    pub(super) fn seconds(&self, source: &ResultSource, at: usize) -> Option<f64> {
        let own = source.nodes[at].provenance.as_ref()?.seconds;
        match self.all.get(&at) {
            // Each one before is shorter, so there is an end.
            Some(training) if training.from > 0 => {
                Some(own + self.seconds(source, training.before?)?)
            }
            _ => Some(own),
        }
    }

    /// Returns the epochs really trained for each result of `source`, by computation and metric.
    pub(super) fn metrics(
        &self,
        source: &ResultSource,
        stages: &[String],
    ) -> BTreeMap<usize, BTreeMap<String, u64>> {
        let mut found: BTreeMap<usize, BTreeMap<String, u64>> = BTreeMap::new();
        for (at, node) in source.nodes.iter().enumerate() {
            if node.cells.is_empty() {
                continue;
            }
            for one in source.behind(at).iter().filter_map(|one| self.all.get(one)) {
                if stages.contains(&one.label) {
                    let trained = one.epochs - one.from.min(one.epochs);
                    found.entry(at).or_default().insert(metric(&one.label), trained);
                }
            }
        }
        found
    }

    /// Returns, for each of `stages`, the epochs really trained and those that it would have
    /// taken if each had begun anew.
    pub(super) fn totals(&self, stages: &[String]) -> Vec<Total> {
        let total = |stage: &String| {
            let mut met = BTreeSet::new();
            let mut total =
                Total { stage: stage.clone(), trained: 0, anew: 0, trainings: 0, seeds: 0 };
            let mut seeds = BTreeSet::new();
            for one in self.all.values().filter(|one| one.label == *stage) {
                if one.key.is_none_or(|key| met.insert(key)) {
                    total.trained += one.epochs - one.from.min(one.epochs);
                    total.anew += one.epochs;
                    total.trainings += 1;
                    seeds.insert(one.seed);
                }
            }
            total.seeds = seeds.len() as u64;
            total
        };
        stages.iter().map(total).filter(|total| total.trainings > 0).collect()
    }
}

/// Returns the metric that counts the epochs really trained for a stage.
pub(super) fn metric(stage: &str) -> String {
    format!("{stage}_epochs_trained")
}

/// The epochs of all trainings of a stage.
pub(super) struct Total {
    stage: String,
    trained: u64,
    anew: u64,
    trainings: usize,
    /// How many seeds they have between them.
    seeds: u64,
}

impl Total {
    pub(super) fn text(&self) -> String {
        let Self { stage, trained, anew, trainings, seeds } = self;
        let noun = if *trainings == 1 { "training" } else { "trainings" };
        let mut text = format!(
            "{stage}: {trained} epochs really trained in {trainings} {noun}; {anew} if each began anew"
        );
        if *seeds > 1 && trained % seeds == 0 && anew % seeds == 0 {
            let trained = trained / seeds;
            let anew = anew / seeds;
            text.push_str(&format!(" (for each of {seeds} seeds {trained}, not {anew})"));
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "stage": self.stage,
            "trainings": self.trainings,
            "epochs_trained": self.trained,
            "epochs_anew": self.anew,
            "seeds": self.seeds,
        })
    }
}
