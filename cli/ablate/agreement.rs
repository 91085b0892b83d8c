//! How alike the cells of an ablation score and select: rank correlations of scores, overlaps of subsets.

use crate::{
    context::{Failure, axis_names, columns},
    results::is_seed,
    sources::ResultSource,
    stats::{MeanStd, jaccard, spearman},
};
use artifacts::{SampleId, parts::PartError, scores, subset};
use cache::{Artifact, Store};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How much the scores or the subsets of a stage agree from setting to setting.
pub(super) struct OutputAgreement {
    stage: String,
    kind: ComparedKind,
    /// Its coordinates on the axes that are not swept: path, name, value.
    coords: Vec<(String, String, String)>,
    /// The settings swept.
    settings: Vec<String>,
    /// Means over the seeds, row by row; `None` where there is nothing to compare.
    matrix: Vec<Vec<Option<f64>>>,
    seeds: usize,
    /// The Jaccard index two random subsets of these sizes have on average.
    by_chance: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ComparedKind {
    Scores,
    Subset,
}

/// The scores or the subset one computation gave.
enum ComparedOutput {
    Scores(Vec<f64>),
    Subset { kept: Vec<SampleId>, of: Option<f64> },
}

/// The kind, stage and coordinates common to computations that differ in swept settings and seeds.
type GroupKey = (ComparedKind, String, Vec<(usize, u32)>);
/// Computations by the settings swept, then by seeds.
type GroupMembers = BTreeMap<Vec<(usize, u32)>, BTreeMap<Vec<(usize, u32)>, usize>>;

/// Compares the scores and the subsets of `source` between the values of the axes `swept`.
pub(super) fn all(
    source: &ResultSource,
    store: &Store,
    swept: &[String],
) -> Result<Vec<OutputAgreement>, Failure> {
    let is_swept = |axis: usize| swept.contains(&source.axes[axis].0);
    let is_seed = |axis: usize| is_seed(&source.axes[axis].0);
    let mut groups: BTreeMap<GroupKey, GroupMembers> = BTreeMap::new();
    for (at, node) in source.nodes.iter().enumerate() {
        let kind = match node.output.as_ref().map(|output| output.kind.as_str()) {
            Some("scores") => ComparedKind::Scores,
            Some("subset") => ComparedKind::Subset,
            _ => continue,
        };
        let on = |takes: &dyn Fn(usize) -> bool| -> Vec<(usize, u32)> {
            let axes = node.axes.iter().map(|axis| *axis as usize).filter(|axis| takes(*axis));
            axes.map(|axis| (axis, node.coords[axis])).collect()
        };
        let settings = on(&|axis| is_swept(axis) && !is_seed(axis));
        // An output that does not depend on the setting is the same at each of its values.
        if !settings.is_empty() {
            let group = (kind, node.label.clone(), on(&|axis| !is_swept(axis) && !is_seed(axis)));
            let seeds = on(&is_seed);
            groups.entry(group).or_default().entry(settings).or_default().insert(seeds, at);
        }
    }
    let groups = groups.into_iter().filter(|(_, members)| members.len() > 1);
    groups.map(|(group, members)| OutputAgreement::of(source, store, group, &members)).collect()
}

impl OutputAgreement {
    fn of(
        source: &ResultSource,
        store: &Store,
        (kind, stage, coords): GroupKey,
        members: &GroupMembers,
    ) -> Result<Self, Failure> {
        let mut outputs: BTreeMap<usize, ComparedOutput> = BTreeMap::new();
        for at in members.values().flat_map(BTreeMap::values) {
            if let Some(artifact) = &source.nodes[*at].output {
                outputs.insert(*at, read(kind, artifact, store)?);
            }
        }
        let mut seeds = 0;
        let mut chances = vec![];
        let sets: Vec<_> = members.values().collect();
        let mut matrix = vec![vec![None; sets.len()]; sets.len()];
        for (row, one) in sets.iter().enumerate() {
            for (column, other) in sets.iter().enumerate().skip(row) {
                let pairs = one.iter().filter_map(|(seed, a)| Some((*a, *other.get(seed)?)));
                let mut found = vec![];
                for (a, b) in pairs {
                    let (value, chance) = agree(&outputs[&a], &outputs[&b]);
                    found.extend(value);
                    chances.extend(chance.filter(|_| row != column));
                }
                seeds = seeds.max(found.len());
                matrix[row][column] = mean(&found);
                matrix[column][row] = matrix[row][column];
            }
        }
        let names = axis_names(source.axes.iter().map(|(path, _)| path.as_str()));
        let value = |(axis, value): &(usize, u32)| source.axes[*axis].1[*value as usize].clone();
        let setting = |settings: &Vec<(usize, u32)>| {
            let pair = |at: &(usize, u32)| format!("{}={}", names[at.0], value(at));
            settings.iter().map(pair).collect::<Vec<_>>().join(" ")
        };
        let coord =
            |at: &(usize, u32)| (source.axes[at.0].0.clone(), names[at.0].clone(), value(at));
        Ok(Self {
            stage,
            kind,
            coords: coords.iter().map(coord).collect(),
            settings: members.keys().map(setting).collect(),
            matrix,
            seeds,
            by_chance: mean(&chances),
        })
    }

    pub(super) fn text(&self) -> String {
        let what = match self.kind {
            ComparedKind::Scores => "rank correlation of the scores (Spearman)",
            ComparedKind::Subset => {
                "share of the samples in either subset that are in both (Jaccard)"
            }
        };
        let pairs: Vec<String> =
            self.coords.iter().map(|(_, name, value)| format!("{name}={value}")).collect();
        let place =
            if pairs.is_empty() { String::new() } else { format!(" [{}]", pairs.join(" ")) };
        let seeds = match self.seeds {
            0 | 1 => String::new(),
            n => format!(", mean over {n} seeds"),
        };
        let mut head = vec![String::new()];
        head.extend(self.settings.iter().cloned());
        let row = |(name, values): (&String, &Vec<Option<f64>>)| {
            let shown =
                |value: &Option<f64>| value.map_or("-".to_owned(), |one| format!("{one:.3}"));
            std::iter::once(name.clone()).chain(values.iter().map(shown)).collect()
        };
        let mut rows = vec![head];
        rows.extend(self.settings.iter().zip(&self.matrix).map(row));
        let chance = self.by_chance.map(|chance| {
            format!("two random subsets of these sizes would share about {chance:.3}\n")
        });
        let title = format!("{}{place}: {what}{seeds}\n", self.stage);
        title + &columns(&rows, |column| column > 0) + &chance.unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        let coords: Map<String, Value> =
            self.coords.iter().map(|(path, _, value)| (path.clone(), json!(value))).collect();
        let measure = match self.kind {
            ComparedKind::Scores => "spearman",
            ComparedKind::Subset => "jaccard",
        };
        json!({
            "stage": self.stage,
            "measure": measure,
            "coords": coords,
            "settings": self.settings,
            "matrix": self.matrix,
            "seeds": self.seeds,
            "by_chance": self.by_chance,
        })
    }
}

/// Returns how much two outputs agree, and how much two random ones of their sizes would.
fn agree(a: &ComparedOutput, b: &ComparedOutput) -> (Option<f64>, Option<f64>) {
    match (a, b) {
        (ComparedOutput::Scores(a), ComparedOutput::Scores(b)) if a.len() == b.len() => {
            (spearman(a, b), None)
        }
        (ComparedOutput::Subset { kept: a, of: n }, ComparedOutput::Subset { kept: b, of: m })
            if n == m =>
        {
            let (sizes, product) = ((a.len() + b.len()) as f64, (a.len() * b.len()) as f64);
            let chance = n.map(|n| product / n / (sizes - product / n));
            (Some(jaccard(a, b)), chance.filter(|chance| chance.is_finite()))
        }
        _ => (None, None),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    Some(MeanStd::of(values)?.mean)
}

fn read(kind: ComparedKind, artifact: &Artifact, store: &Store) -> Result<ComparedOutput, Failure> {
    let unread = |error: PartError| match error {
        PartError::Store(error) => error.into(),
        other => Failure::failed("a result does not read").because(other),
    };
    match kind {
        ComparedKind::Scores => {
            Ok(ComparedOutput::Scores(scores::open(store, artifact).map_err(unread)?))
        }
        ComparedKind::Subset => {
            let kept = subset::open(store, artifact).map_err(unread)?;
            let of = subset::samples(store, artifact).ok().map(|n| n as f64);
            Ok(ComparedOutput::Subset { kept, of })
        }
    }
}
