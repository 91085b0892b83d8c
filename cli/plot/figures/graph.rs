//! The DAG: a box for each stage, with what became of its computations.

use super::Panel;
use crate::{
    context::duration_of,
    plot::{
        drawing::{Anchor, BODY, Drawing, DrawnShape, Ink, SMALL},
        font,
    },
    results::Study,
};
use engine::{NodeId, RunState};
use std::collections::{BTreeMap, BTreeSet};

const BOX: (f64, f64) = (156.0, 62.0);
const GAP: (f64, f64) = (22.0, 40.0);
/// The gap an edge needs to pass by a box.
const PASS: f64 = 14.0;

/// The counts and seconds of a stage over all cells.
pub(crate) struct StageLine {
    pub(crate) label: String,
    pub(crate) methods: Vec<&'static str>,
    /// Its computations, and how many of them the store has.
    pub(crate) count: usize,
    pub(crate) stored: usize,
    /// How many computations the run of this report found and made.
    pub(crate) hits: usize,
    pub(crate) made: usize,
    pub(crate) failed: usize,
    /// The seconds it took to compute the results that are there, in whichever run.
    pub(crate) seconds: f64,
    /// How many stages it stands below the first.
    pub(crate) depth: usize,
    /// The stages it needs, by their places in the list.
    inputs: BTreeSet<usize>,
}

/// Returns the stages in the order they were met.
pub(crate) fn stages(study: &Study<'_>) -> Vec<StageLine> {
    let mut lines: Vec<StageLine> = vec![];
    let mut place: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (id, node) in study.plan.nodes() {
        let at = lines.iter().position(|line| line.label == *node.label).unwrap_or_else(|| {
            let label = node.label.to_string();
            let methods = vec![];
            let inputs = BTreeSet::new();
            let count = 0;
            let stored = 0;
            let hits = 0;
            let made = 0;
            let failed = 0;
            let seconds = 0.0;
            let depth = 0;
            lines.push(StageLine {
                label,
                methods,
                count,
                stored,
                hits,
                made,
                failed,
                seconds,
                depth,
                inputs,
            });
            lines.len() - 1
        });
        place.insert(id, at);
        let line = &mut lines[at];
        line.count += 1;
        if !line.methods.contains(&node.stage.method()) {
            line.methods.push(node.stage.method());
        }
        line.inputs.extend(node.inputs.iter().filter_map(|(_, source)| place.get(source)));
        line.inputs.remove(&at);
        if let Some(record) = study.forecast.record(id) {
            line.stored += 1;
            line.seconds += record.provenance.seconds;
        }
    }
    for node in study.run.iter().flat_map(|run| &run.nodes) {
        let Some(line) = lines.iter_mut().find(|line| line.label == node.label) else { continue };
        match node.state {
            RunState::Hit => line.hits += 1,
            RunState::Computed => line.made += 1,
            RunState::Failed => line.failed += 1,
            RunState::Open | RunState::Running | RunState::Skipped | RunState::Stopped => {}
        }
    }
    let depths = depths(&lines);
    for (line, depth) in lines.iter_mut().zip(depths) {
        line.depth = depth;
    }
    lines
}

/// A place in a layer: a box, or room for an edge on its way down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Stage(usize),
    Pass { from: usize, to: usize },
}

pub(super) fn graph(study: &Study<'_>) -> Vec<Panel> {
    let lines = stages(study);
    if lines.is_empty() {
        return vec![];
    }
    let layers = layers(&lines);
    let wide = |slot: &Slot| if matches!(slot, Slot::Stage(_)) { BOX.0 } else { PASS };
    let length = |layer: &Vec<Slot>| {
        layer.iter().map(wide).sum::<f64>() + GAP.0 * (layer.len().saturating_sub(1)) as f64
    };
    let width = layers.iter().map(length).fold(0.0, f64::max) + 4.0;
    let height = layers.len() as f64 * (BOX.1 + GAP.1) - GAP.1 + 4.0;
    let mut page = Drawing::new(width, height);
    let mut middle: BTreeMap<(usize, usize, usize), f64> = BTreeMap::new();
    for (depth, layer) in layers.iter().enumerate() {
        let mut x = (width - length(layer)) / 2.0;
        for slot in layer {
            let key = match *slot {
                Slot::Stage(at) => (depth, at, at),
                Slot::Pass { from, to } => (depth, from, to),
            };
            middle.insert(key, x + wide(slot) / 2.0);
            x += wide(slot) + GAP.0;
        }
    }
    let top = |depth: usize| depth as f64 * (BOX.1 + GAP.1) + 2.0;
    let depths: Vec<usize> = lines.iter().map(|line| line.depth).collect();
    for (to, line) in lines.iter().enumerate() {
        for from in &line.inputs {
            let mut points =
                vec![(middle[&(depths[*from], *from, *from)], top(depths[*from]) + BOX.1)];
            for depth in depths[*from] + 1..depths[to] {
                let x = middle[&(depth, *from, to)];
                bend(&mut points, (x, top(depth)));
                points.push((x, top(depth) + BOX.1));
            }
            let end = (middle[&(depths[to], to, to)], top(depths[to]));
            bend(&mut points, end);
            page.line(points, Ink::Rule, 1.4);
            page.line(
                vec![(end.0 - 4.0, end.1 - 6.0), end, (end.0 + 4.0, end.1 - 6.0)],
                Ink::Rule,
                1.4,
            );
        }
    }
    for (at, line) in lines.iter().enumerate() {
        let left = middle[&(depths[at], at, at)] - BOX.0 / 2.0;
        stage_box(&mut page, (left, top(depths[at])), line);
    }
    let said = lines.iter().map(|line| {
        let inputs: Vec<&str> = line.inputs.iter().map(|at| &*lines[*at].label).collect();
        let from =
            if inputs.is_empty() { String::new() } else { format!(" from {}", inputs.join(", ")) };
        format!("{}{from}: {}", line.label, became(line))
    });
    let label = format!("The DAG. {}.", said.collect::<Vec<_>>().join("; "));
    vec![Panel { drawing: page, label }]
}

fn stage_box(page: &mut Drawing, at: (f64, f64), line: &StageLine) {
    let whole = line.stored == line.count;
    let outline = if line.failed > 0 {
        Ink::Series(1)
    } else if whole {
        Ink::Series(2)
    } else {
        Ink::Rule
    };
    let tip = format!("{}: {}", line.label, line.methods.join(", "));
    let size = BOX;
    let round = 8.0;
    let fill = Ink::Faint;
    page.shapes.push(DrawnShape::Rect { at, size, round, fill, outline: Some(outline), tip });
    let method = match line.methods[..] {
        [one] => one.to_owned(),
        _ => format!("{} methods", line.methods.len()),
    };
    let x = at.0 + BOX.0 / 2.0;
    let room = BOX.0 - 12.0;
    let mut write = |text: &str, size: f64, y: f64, ink: Ink| {
        page.text((x, at.1 + y), font::fitted(text, size, room), size, ink, Anchor::Middle);
    };
    write(&line.label, BODY + 1.0, 19.0, Ink::Text);
    write(&method, SMALL, 35.0, Ink::Muted);
    write(&became(line), SMALL, 51.0, Ink::Muted);
}

fn became(line: &StageLine) -> String {
    let mut words = vec![];
    words.extend((line.made > 0).then(|| format!("{} made", line.made)));
    words.extend(
        (line.hits > 0)
            .then(|| format!("{} {}", line.hits, if line.hits == 1 { "hit" } else { "hits" })),
    );
    words.extend((line.failed > 0).then(|| format!("{} failed", line.failed)));
    if line.stored < line.count {
        words.push(format!("{} of {}", line.stored, line.count));
    }
    words.push(duration_of(line.seconds));
    words.join(" · ")
}

/// Leads a line to `end`, from and to the vertical.
fn bend(points: &mut Vec<(f64, f64)>, end: (f64, f64)) {
    let Some(start) = points.last().copied() else { return };
    const STEPS: usize = 10;
    points.extend((1..=STEPS).map(|step| {
        let t = step as f64 / STEPS as f64;
        let slow = t * t * (3.0 - 2.0 * t);
        (start.0 + (end.0 - start.0) * slow, start.1 + (end.1 - start.1) * t)
    }));
}

/// Returns how many stages each stands below the first.
fn depths(lines: &[StageLine]) -> Vec<usize> {
    let mut depths = vec![0; lines.len()];
    // A stage that another cell wires the other way round may come before what it needs: as many
    // rounds as there are stages settle the rest.
    for _ in 0..lines.len() {
        for (at, line) in lines.iter().enumerate() {
            let above = line.inputs.iter().map(|input| depths[*input] + 1).max().unwrap_or(0);
            depths[at] = above.min(lines.len() - 1);
        }
    }
    depths
}

fn layers(lines: &[StageLine]) -> Vec<Vec<Slot>> {
    let depths: Vec<usize> = lines.iter().map(|line| line.depth).collect();
    let deepest = depths.iter().max().map_or(0, |deepest| deepest + 1);
    let mut layers: Vec<Vec<Slot>> = vec![vec![]; deepest];
    for (at, line) in lines.iter().enumerate() {
        layers[depths[at]].push(Slot::Stage(at));
        for from in &line.inputs {
            for layer in layers.iter_mut().take(depths[at]).skip(depths[*from] + 1) {
                layer.push(Slot::Pass { from: *from, to: at });
            }
        }
    }
    // Each below the middle of what leads to it; of equals, the first stays first.
    for depth in 1..layers.len() {
        let above = layers[depth - 1].clone();
        let place = |slot: &Slot| -> f64 {
            let leads = |upper: &Slot| match (*slot, *upper) {
                (Slot::Stage(at), Slot::Stage(from)) => lines[at].inputs.contains(&from),
                (Slot::Stage(at), Slot::Pass { to, .. }) => to == at,
                (Slot::Pass { from, .. }, Slot::Stage(upper)) => from == upper,
                (Slot::Pass { .. }, Slot::Pass { .. }) => slot == upper,
            };
            let places: Vec<f64> = above
                .iter()
                .enumerate()
                .filter(|(_, upper)| leads(upper))
                .map(|(at, _)| (at as f64 + 0.5) / above.len() as f64)
                .collect();
            places.iter().sum::<f64>() / places.len().max(1) as f64
        };
        layers[depth].sort_by(|a, b| place(a).total_cmp(&place(b)));
    }
    layers
}
