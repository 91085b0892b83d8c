//! The state of a run in the live view, built from its log entries one by one.

use crate::context::duration_of;
use engine::{Event, LogLine, NodeId, RunSummary, StageCount};
use std::collections::{BTreeMap, VecDeque};

/// The most lines of the log that are kept.
const LINES: usize = 2000;
/// The most stages that ended and are kept with their curves.
const ENDED: usize = 300;
/// The most points of a curve: one that has more loses every second point.
const POINTS: usize = 1200;

/// The computations of one stage of the pipeline.
pub(super) struct StageRow {
    pub(super) about: StageCount,
    pub(super) hits: usize,
    pub(super) computed: usize,
    pub(super) running: usize,
    /// The stages another process is computing.
    pub(super) leased: usize,
    pub(super) failed: usize,
    /// Skipped or stopped.
    pub(super) lost: usize,
}

impl StageRow {
    pub(super) fn waiting(&self) -> usize {
        let known = self.hits + self.computed + self.running + self.failed + self.lost;
        self.about.nodes.saturating_sub(known)
    }
}

/// A figure over the progress of a stage.
pub(super) struct Curve {
    pub(super) figure: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// One computation that runs or ran.
pub(super) struct TaskProgress {
    pub(super) name: String,
    pub(super) began: f64,
    /// How long it took and how it ended, once it has.
    pub(super) ended: Option<(f64, End)>,
    pub(super) done: u64,
    pub(super) total: u64,
    pub(super) unit: String,
    /// The time and progress of the first event: a training may go on from a checkpoint.
    first: Option<(f64, u64)>,
    last: f64,
    pub(super) curves: Vec<Curve>,
}

/// How a computation ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed,
    Stopped,
}

impl TaskProgress {
    /// Returns units a second, once there is something to tell it from.
    pub(super) fn rate(&self) -> Option<f64> {
        let (since, from) = self.first?;
        let time = self.last - since;
        let units = self.done.saturating_sub(from);
        (time > 0.0 && units > 0).then(|| units as f64 / time)
    }

    /// Returns how many seconds are left, at the rate so far.
    pub(super) fn left(&self) -> Option<f64> {
        let rate = self.rate()?;
        Some(self.total.saturating_sub(self.done) as f64 / rate)
    }

    /// Returns the last value of `figure`.
    pub(super) fn latest(&self, figure: &str) -> Option<f64> {
        let curve = self.curves.iter().find(|curve| curve.figure == figure)?;
        curve.points.last().map(|point| point.1)
    }
}

/// The run as far as it has been heard of.
#[derive(Default)]
pub(super) struct RunModel {
    pub(super) run: String,
    pub(super) pipeline: String,
    pub(super) device: String,
    pub(super) process: u32,
    pub(super) nodes: usize,
    pub(super) cells: usize,
    pub(super) stages: Vec<StageRow>,
    /// The computations that run and ran, in the order they began.
    pub(super) tasks: Vec<(NodeId, TaskProgress)>,
    waiting: BTreeMap<NodeId, String>,
    pub(super) log: VecDeque<String>,
    /// How many lines have ever been added to the log.
    pub(super) logged: usize,
    pub(super) t: f64,
    pub(super) summary: Option<RunSummary>,
}

impl RunModel {
    /// Takes one entry.
    pub(super) fn hear(&mut self, entry: &LogLine) {
        self.t = self.t.max(entry.t);
        let t = entry.t;
        let name = entry.name.as_deref().unwrap_or_default();
        if let Some(line) = crate::follow::line(entry) {
            for (at, line) in line.lines().enumerate() {
                let time = if at == 0 { duration_of(t) } else { String::new() };
                self.log.push_back(format!("{time:>10}  {line}"));
                self.logged += 1;
            }
            while self.log.len() > LINES {
                self.log.pop_front();
            }
        }
        if let Some(node) = entry.event.node()
            && let Some(stage) = self.waiting.get(&node).cloned()
            && !matches!(entry.event, Event::Waiting { .. })
        {
            self.waiting.remove(&node);
            self.row(&stage, |row| row.leased -= 1);
        }
        let stage = entry.stage.as_deref().unwrap_or_default();
        match &entry.event {
            Event::RunStarted { nodes, cells, pipeline, stages, device, process } => {
                (self.run, self.pipeline) = (entry.run.clone(), pipeline.clone());
                (self.nodes, self.cells) = (*nodes, *cells);
                (self.device, self.process) = (device.clone(), *process);
                let row = |about: &StageCount| StageRow {
                    about: about.clone(),
                    hits: 0,
                    computed: 0,
                    running: 0,
                    leased: 0,
                    failed: 0,
                    lost: 0,
                };
                self.stages = stages.iter().map(row).collect();
            }
            Event::Hit { node, .. } => {
                let ran = self.end(*node, t, End::Done);
                self.row(stage, |row| {
                    row.running -= usize::from(ran);
                    row.hits += 1;
                });
            }
            Event::Waiting { node, .. } => {
                self.waiting.insert(*node, stage.to_owned());
                self.row(stage, |row| row.leased += 1);
            }
            Event::Started { node, .. } => {
                self.row(stage, |row| row.running += 1);
                self.start(*node, name, t);
            }
            Event::Progressed { node, progress } => self.progress(*node, progress, t),
            Event::Finished { node, .. } => {
                let ran = self.end(*node, t, End::Done);
                self.row(stage, |row| {
                    row.running -= usize::from(ran);
                    row.computed += 1;
                });
            }
            Event::Failed { node, .. } => {
                let ran = self.end(*node, t, End::Failed);
                self.row(stage, |row| {
                    row.running -= usize::from(ran);
                    row.failed += 1;
                });
            }
            Event::Stopped { node } => {
                let ran = self.end(*node, t, End::Stopped);
                self.row(stage, |row| {
                    row.running -= usize::from(ran);
                    row.lost += 1;
                });
            }
            Event::Skipped { .. } => self.row(stage, |row| row.lost += 1),
            Event::RunFinished { summary } => self.summary = Some(*summary),
            _ => {}
        }
    }

    fn row(&mut self, stage: &str, change: impl FnOnce(&mut StageRow)) {
        if let Some(row) = self.stages.iter_mut().find(|row| row.about.stage == stage) {
            change(row);
        }
    }

    fn start(&mut self, node: NodeId, name: &str, t: f64) {
        // A damaged input sends a stage to wait, and then to begin anew.
        let stage = self.tasks.iter().position(|(one, task)| *one == node && task.ended.is_none());
        if let Some(at) = stage {
            self.tasks.remove(at);
            let label = name.split(" [").next().unwrap_or(name).to_owned();
            self.row(&label, |row| row.running -= 1);
        }
        self.tasks.push((
            node,
            TaskProgress {
                name: name.to_owned(),
                began: t,
                ended: None,
                done: 0,
                total: 0,
                unit: String::new(),
                first: None,
                last: t,
                curves: vec![],
            },
        ));
        if self.tasks.len() > ENDED
            && let Some(at) = self.tasks.iter().position(|(_, task)| task.ended.is_some())
        {
            self.tasks.remove(at);
        }
    }

    /// Marks the task of `node` as ended; tells whether it ran.
    fn end(&mut self, node: NodeId, t: f64, how: End) -> bool {
        let open = |(one, task): &&mut (NodeId, TaskProgress)| *one == node && task.ended.is_none();
        let Some((_, task)) = self.tasks.iter_mut().rev().find(open) else { return false };
        task.ended = Some((t - task.began, how));
        true
    }

    fn progress(&mut self, node: NodeId, progress: &engine::StageProgress, t: f64) {
        let Some((_, task)) = self.tasks.iter_mut().rev().find(|(one, _)| *one == node) else {
            return;
        };
        if task.first.is_none() {
            task.first = Some((t, progress.done));
        }
        task.done = progress.done;
        task.total = progress.total;
        task.unit = progress.unit.to_string();
        task.last = t;
        let Some((figure, value)) = progress.figure.as_ref().filter(|(_, value)| value.is_finite())
        else {
            return;
        };
        let at = task.curves.iter().position(|curve| curve.figure == *figure);
        let at = at.unwrap_or_else(|| {
            task.curves.push(Curve { figure: figure.to_string(), points: vec![] });
            task.curves.len() - 1
        });
        let points = &mut task.curves[at].points;
        points.push((progress.done as f64, *value));
        if points.len() > POINTS {
            let mut keep = false;
            points.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Returns what runs, oldest first, then what ended, newest first.
    pub(super) fn listed(&self) -> Vec<(NodeId, &TaskProgress)> {
        let (running, ended): (Vec<_>, Vec<_>) = self
            .tasks
            .iter()
            .map(|(node, task)| (*node, task))
            .partition(|one| one.1.ended.is_none());
        running.into_iter().chain(ended.into_iter().rev()).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a model that heard `lines`.
    pub(in crate::watch) fn heard(lines: &str) -> RunModel {
        let mut model = RunModel::default();
        for line in lines.lines() {
            let entry: LogLine = serde_json::from_str(line).expect("a line of a log");
            model.hear(&entry);
        }
        model
    }

    pub(in crate::watch) const LINES: &str = r#"{"run":"r","t":0.0,"event":"run-started","nodes":6,"cells":3,"pipeline":"p.toml","device":"cpu","process":1,"stages":[{"stage":"data","methods":["load.digits"],"from":[],"nodes":1},{"stage":"proxy","methods":["proxy-train"],"from":["data"],"nodes":5}]}
{"run":"r","t":0.1,"stage":"data","name":"data","event":"hit","node":0,"key":"0000000000000000000000000000000000000000000000000000000000000000"}
{"run":"r","t":0.1,"stage":"proxy","name":"proxy [seed=0]","event":"started","node":1,"key":"0000000000000000000000000000000000000000000000000000000000000000"}
{"run":"r","t":0.1,"stage":"proxy","name":"proxy [seed=1]","event":"started","node":2,"key":"0000000000000000000000000000000000000000000000000000000000000000"}
{"run":"r","t":0.2,"stage":"proxy","name":"proxy [seed=3]","event":"waiting","node":4,"holder":"process 7"}
{"run":"r","t":1.1,"stage":"proxy","name":"proxy [seed=0]","event":"progressed","node":1,"progress":{"done":40,"total":100,"unit":"step","figure":["loss",2.0]}}
{"run":"r","t":3.1,"stage":"proxy","name":"proxy [seed=0]","event":"progressed","node":1,"progress":{"done":60,"total":100,"unit":"step","figure":["loss",1.5]}}
{"run":"r","t":3.1,"stage":"proxy","name":"proxy [seed=0]","event":"progressed","node":1,"progress":{"done":60,"total":100,"unit":"step","figure":["train accuracy",0.5]}}
{"run":"r","t":3.2,"stage":"proxy","name":"proxy [seed=1]","event":"failed","node":2,"causes":["no\n    more"],"hint":"less"}"#;

    #[test]
    fn counts_rates_and_curves_follow_the_entries() {
        let model = heard(LINES);
        let proxy = &model.stages[1];
        let counts = (proxy.running, proxy.failed, proxy.leased, proxy.waiting());
        assert_eq!(counts, (1, 1, 1, 3));
        assert_eq!((model.stages[0].hits, model.stages[0].waiting()), (1, 0));
        let (node, task) = model.listed()[0];
        assert_eq!(node, NodeId(1), "what runs comes first");
        // 20 steps in 2 seconds, from where it was first heard of.
        assert_eq!((task.rate(), task.left()), (Some(10.0), Some(4.0)));
        assert_eq!(task.curves[0].points, [(40.0, 2.0), (60.0, 1.5)]);
        assert_eq!(task.latest("train accuracy"), Some(0.5));
        let last: Vec<&str> = model.log.iter().rev().take(3).rev().map(String::as_str).collect();
        assert_eq!(
            last,
            [
                "    3.20 s  failed proxy [seed=1]: no",
                "                more",
                "              help: less"
            ]
        );
        assert!(model.listed()[1].1.ended.is_some_and(|(_, how)| how == End::Failed));
    }
}
