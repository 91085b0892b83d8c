//! `coresift diff`: in what two runs or pipelines differ, stage by stage.

use crate::{
    context::{Context, Failure, columns, duration_of, print, print_line},
    results::metrics_of,
    sources::{Overrides, ResultSource, SourceNode},
};
use cache::{Key, Store};
use engine::{Reason, differences};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    process::ExitCode,
};

/// How many cells are named to people; programs get all.
const SHOWN: usize = 4;

#[derive(clap::Args)]
pub(crate) struct DiffArgs {
    /// A pipeline file, a run (its name, the beginning of it, `last`), or FILE@RUN (where RUN may
    /// also be `~1`, the run before the last).
    a: String,
    /// What it is compared with, named in the same way.
    b: String,
    /// Compare this stage alone.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
}

pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<ExitCode, Failure> {
    let store = context.store()?;
    let a = ResultSource::read(&args.a, Overrides::default(), context, &store)?;
    let b = ResultSource::read(&args.b, Overrides::default(), context, &store)?;
    let mut labels: BTreeSet<&str> =
        a.nodes.iter().chain(&b.nodes).map(|node| node.label.as_str()).collect();
    if let Some(stage) = &args.stage {
        labels.retain(|label| label == stage);
        if labels.is_empty() {
            let what = format!("neither has a stage called `{stage}`");
            return Err(Failure::mistake(what));
        }
    }
    let both = Both { a: &a, b: &b, axes: common_axes(&a, &b) };
    // In the order of the work: a stage's last computation comes after those of all it needs.
    let place = |label: &str| {
        let find =
            |source: &ResultSource| source.nodes.iter().rposition(|node| node.label == label);
        find(&a).or_else(|| find(&b))
    };
    let mut labels: Vec<&str> = labels.into_iter().collect();
    labels.sort_by_key(|label| place(label));
    let stages = labels.into_iter().map(|label| both.stage(label, &store));
    let stages: Vec<StageDifference> = stages.collect::<Result<_, _>>()?;
    if context.global.json {
        let stages: Vec<Value> = stages.iter().map(StageDifference::json).collect();
        let value = json!({
            "a": args.a,
            "b": args.b,
            "axes": both.matrix().iter().map(MatrixChange::json).collect::<Vec<_>>(),
            "stages": stages,
        });
        print_line(&value.to_string());
    } else {
        print(&text(&both, &stages));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the axes both have.
fn common_axes(a: &ResultSource, b: &ResultSource) -> Vec<String> {
    let has = |path: &String| b.axes.iter().any(|(one, _)| one == path);
    a.axes.iter().map(|(path, _)| path.clone()).filter(|path| has(path)).collect()
}

struct Both<'a> {
    a: &'a ResultSource,
    b: &'a ResultSource,
    axes: Vec<String>,
}

/// An axis that is not the same in both.
struct MatrixChange {
    path: String,
    a: Option<Vec<String>>,
    b: Option<Vec<String>>,
}

impl MatrixChange {
    fn json(&self) -> Value {
        json!({ "axis": self.path, "a": self.a, "b": self.b })
    }

    fn text(&self) -> String {
        let values = |values: &Option<Vec<String>>| {
            values.as_ref().map_or("(no axis)".to_owned(), |values| values.join(", "))
        };
        format!("  {}: {} → {}\n", self.path, values(&self.a), values(&self.b))
    }
}

/// In what one stage differs.
struct StageDifference {
    label: String,
    /// How many computations are in both, and how many of these are one and the same.
    pairs: usize,
    same: usize,
    /// The computations that only one has.
    only_a: Vec<String>,
    only_b: Vec<String>,
    /// The computations whose recipe is not known in one of them: they were never run.
    unknown: Vec<String>,
    /// Reasons, and the cells they hold in.
    reasons: Vec<(Reason, Vec<String>)>,
    /// Devices and builds that are not the same: which of the two, before, now.
    made: Vec<(&'static str, String, String)>,
    /// Pairs with different recipes that gave the same bytes.
    alike: usize,
    /// By name: cell, before, now.
    metrics: BTreeMap<String, Vec<Measurement>>,
    /// The seconds that pairs with different keys took to compute: before, now.
    seconds: Option<(f64, f64)>,
}

struct Measurement {
    cell: String,
    a: f64,
    b: f64,
}

impl Both<'_> {
    fn matrix(&self) -> Vec<MatrixChange> {
        let of = |source: &ResultSource, path: &str| {
            source.axes.iter().find(|(one, _)| one == path).map(|(_, values)| values.clone())
        };
        let mut paths: Vec<&String> = self.a.axes.iter().map(|(path, _)| path).collect();
        let new = self.b.axes.iter().map(|(path, _)| path).filter(|path| !self.axes.contains(path));
        paths.extend(new);
        let change = |path: &String| {
            let (a, b) = (of(self.a, path), of(self.b, path));
            (a != b).then(|| MatrixChange { path: path.clone(), a, b })
        };
        paths.into_iter().filter_map(change).collect()
    }

    /// Returns the computations called `label`, by where they stand on the axes both have.
    fn placed(
        &self,
        source: &ResultSource,
        label: &str,
    ) -> BTreeMap<Vec<Option<String>>, Vec<usize>> {
        let mut placed: BTreeMap<Vec<Option<String>>, Vec<usize>> = BTreeMap::new();
        for (at, node) in source.nodes.iter().enumerate().filter(|(_, node)| node.label == label) {
            let value = |path: &String| {
                let axis = source.axes.iter().position(|(one, _)| one == path)?;
                let depends = node.axes.iter().any(|one| *one as usize == axis);
                let value = *node.coords.get(axis)? as usize;
                depends.then(|| source.axes[axis].1.get(value).cloned()).flatten()
            };
            placed.entry(self.axes.iter().map(value).collect()).or_default().push(at);
        }
        placed
    }

    fn stage(&self, label: &str, store: &Store) -> Result<StageDifference, Failure> {
        let mut stage = StageDifference {
            label: label.to_owned(),
            pairs: 0,
            same: 0,
            only_a: vec![],
            only_b: vec![],
            unknown: vec![],
            reasons: vec![],
            made: vec![],
            alike: 0,
            metrics: BTreeMap::new(),
            seconds: None,
        };
        let (mut lone_a, mut lone_b) = (vec![], vec![]);
        let (in_a, mut in_b) = (self.placed(self.a, label), self.placed(self.b, label));
        for (place, a) in in_a {
            match (&a[..], in_b.remove(&place).as_deref()) {
                (&[a], Some(&[b])) => {
                    let name = self.a.describe(a);
                    stage.compare(name, &self.a.nodes[a], &self.b.nodes[b], store)?;
                }
                // An axis that only one has makes several of one.
                (a, b) => {
                    lone_a.extend(a);
                    lone_b.extend(b.unwrap_or_default());
                }
            }
        }
        lone_b.extend(in_b.into_values().flatten());
        // The same computation may stand at another place of another matrix.
        let keys = |source: &ResultSource| -> BTreeSet<Key> {
            let named = source.nodes.iter().filter(|node| node.label == label);
            named.filter_map(|node| node.key).collect()
        };
        let (keys_a, keys_b) = (keys(self.a), keys(self.b));
        let is_new = |source: &ResultSource, at: usize, keys: &BTreeSet<Key>| {
            source.nodes[at].key.is_none_or(|key| !keys.contains(&key))
        };
        let moved = lone_a.len();
        lone_a.retain(|at| is_new(self.a, *at, &keys_b));
        lone_b.retain(|at| is_new(self.b, *at, &keys_a));
        stage.same += moved - lone_a.len();
        stage.pairs += moved - lone_a.len();
        stage.only_a = lone_a.into_iter().map(|at| self.a.describe(at)).collect();
        stage.only_b = lone_b.into_iter().map(|at| self.b.describe(at)).collect();
        Ok(stage)
    }
}

impl StageDifference {
    fn compare(
        &mut self,
        name: String,
        a: &SourceNode,
        b: &SourceNode,
        store: &Store,
    ) -> Result<(), Failure> {
        self.pairs += 1;
        if a.key.is_some() && a.key == b.key {
            self.same += 1;
            return Ok(());
        }
        let (Some(was), Some(now)) = (&a.recipe, &b.recipe) else {
            self.unknown.push(name);
            return Ok(());
        };
        for reason in differences(&self.label, was, now) {
            match self.reasons.iter_mut().find(|(one, _)| *one == reason) {
                Some((_, cells)) => cells.push(name.clone()),
                None => self.reasons.push((reason, vec![name.clone()])),
            }
        }
        if let (Some(was), Some(now)) = (&a.provenance, &b.provenance) {
            let (before, after) = self.seconds.unwrap_or_default();
            self.seconds = Some((before + was.seconds, after + now.seconds));
            let made = [("device", &was.device, &now.device), ("build", &was.build, &now.build)];
            for (what, was, now) in made {
                let change = (what, was.clone(), now.clone());
                if was != now && !self.made.contains(&change) {
                    self.made.push(change);
                }
            }
        }
        if let (Some(was), Some(now)) = (&a.output, &b.output) {
            self.alike += usize::from(was.digest() == now.digest());
            let was = metrics_of(was, store)?;
            let now = metrics_of(now, store)?;
            for (metric, a) in was {
                if let Some(b) = now.get(&metric).copied().filter(|b| *b != a) {
                    let found = Measurement { cell: name.clone(), a, b };
                    self.metrics.entry(metric).or_default().push(found);
                }
            }
        }
        Ok(())
    }

    fn differs(&self) -> bool {
        self.same < self.pairs || !self.only_a.is_empty() || !self.only_b.is_empty()
    }

    fn json(&self) -> Value {
        let reason = |(reason, cells): &(Reason, Vec<String>)| {
            let mut value = json!(reason);
            value["text"] = reason.to_string().into();
            value["cells"] = json!(cells);
            value
        };
        let made = |(what, a, b): &(&str, String, String)| json!({ "what": what, "a": a, "b": b });
        let cell = |one: &Measurement| json!({ "cell": one.cell, "a": one.a, "b": one.b });
        let metric = |(name, all): (&String, &Vec<Measurement>)| {
            (name.clone(), all.iter().map(cell).collect::<Value>())
        };
        json!({
            "stage": self.label,
            "pairs": self.pairs,
            "same": self.same,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "not_computed": self.unknown,
            "differences": self.reasons.iter().map(reason).collect::<Vec<_>>(),
            "made": self.made.iter().map(made).collect::<Vec<_>>(),
            "same_output": self.alike,
            "metrics": self.metrics.iter().map(metric).collect::<serde_json::Map<_, _>>(),
            "seconds": self.seconds.map(|(a, b)| json!({ "a": a, "b": b })),
        })
    }

    fn text(&self, out: &mut String) -> std::fmt::Result {
        let apart = self.pairs - self.same;
        writeln!(out, "{}", self.label)?;
        for (reason, cells) in &self.reasons {
            let told = reason.to_string();
            let told = told.strip_prefix(&format!("{}.", self.label)).unwrap_or(&told);
            writeln!(out, "  {told}{}", where_(cells, self.pairs))?;
        }
        for (what, a, b) in &self.made {
            writeln!(out, "  {what}: {a} → {b}")?;
        }
        if self.alike > 0 {
            writeln!(out, "  the output is the same all the same{}", of(self.alike, self.pairs))?;
        }
        let rows: Vec<Vec<String>> =
            self.metrics.iter().map(|(name, all)| metric_row(name, all)).collect();
        for line in columns(&rows, |column| column > 0 && column < 4).lines() {
            writeln!(out, "  {line}")?;
        }
        if let Some((a, b)) = self.seconds {
            let (a, b) = (duration_of(a), duration_of(b));
            let noun = if apart == 1 { "computation" } else { "computations" };
            writeln!(out, "  took {a} → {b} ({apart} {noun})")?;
        }
        for (what, cells) in [
            ("not computed in one of them, or in neither", &self.unknown),
            ("only in A", &self.only_a),
            ("only in B", &self.only_b),
        ] {
            if !cells.is_empty() {
                writeln!(out, "  {what}: {}", some(cells))?;
            }
        }
        Ok(())
    }
}

/// Returns a metric's row: its name, its means before and now, and the change.
fn metric_row(name: &str, all: &[Measurement]) -> Vec<String> {
    let mean = |of: fn(&Measurement) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
    let (a, b) = (mean(|one| one.a), mean(|one| one.b));
    let changes = all.iter().map(|one| one.b - one.a);
    let (low, high) = changes.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), change| {
        (low.min(change), high.max(change))
    });
    let spread = match all.len() {
        1 => String::new(),
        n => format!("over the {n} cells that differ, by {low:+.4} to {high:+.4}"),
    };
    vec![name.to_owned(), format!("{a:.4}"), format!("→ {b:.4}"), format!("{:+.4}", b - a), spread]
}

fn text(both: &Both<'_>, stages: &[StageDifference]) -> String {
    let mut out = format!("A  {}\nB  {}\n", both.a.name, both.b.name);
    let matrix = both.matrix();
    if !matrix.is_empty() {
        out.push_str("\nmatrix\n");
        out.extend(matrix.iter().map(MatrixChange::text));
    }
    let different: Vec<&StageDifference> = stages.iter().filter(|stage| stage.differs()).collect();
    for stage in &different {
        out.push('\n');
        stage.text(&mut out).expect("a string takes everything");
    }
    let same = stages.len() - different.len();
    match (different.len(), matrix.is_empty()) {
        (0, true) => out.push_str("\nno difference\n"),
        _ => writeln!(out, "\n{same} of {} stages are the same", stages.len())
            .expect("a string takes everything"),
    }
    out
}

/// Returns in which cells something holds, if not in all of them.
fn where_(cells: &[String], all: usize) -> String {
    if cells.len() == all {
        return String::new();
    }
    format!("{}: {}", of(cells.len(), all), some(cells))
}

fn of(some: usize, all: usize) -> String {
    if some == all { String::new() } else { format!(", in {some} of {all}") }
}

fn some(cells: &[String]) -> String {
    let shown: Vec<&str> = cells.iter().take(SHOWN).map(String::as_str).collect();
    let more = match cells.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}
