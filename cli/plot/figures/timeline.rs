//! The timeline of a run: which stage was computed when, a line for each of those at the same time.

use super::{Panel, Room};
use crate::{
    context::duration_of,
    plot::{
        axes::{legend, ticks},
        drawing::{Anchor, Drawing, Ink, SERIES, SMALL},
    },
    results::Study,
};

/// The height of a worker's line.
const LINE: f64 = 24.0;
/// The most computations drawn: of more, the longest.
const MAX_DRAWN: usize = 600;

/// A computation: when it began and how long it took, in seconds.
struct Bar<'a> {
    began: f64,
    seconds: f64,
    label: &'a str,
}

impl Bar<'_> {
    fn end(&self) -> f64 {
        self.began + self.seconds
    }
}

pub(super) fn timeline(study: &Study<'_>, room: Room) -> Vec<Panel> {
    let Some(run) = &study.run else { return vec![] };
    let bars = run.nodes.iter().filter_map(|node| {
        Some(Bar { began: node.began?, seconds: node.seconds, label: &node.label })
    });
    let mut bars: Vec<Bar<'_>> = bars.collect();
    if bars.is_empty() {
        return vec![];
    }
    // Ties go to the first of the plan.
    bars.sort_by(|a, b| a.began.total_cmp(&b.began));
    let (lanes, workers) = lanes(&bars);
    let mut labels: Vec<&str> = vec![];
    for node in &run.nodes {
        if !labels.contains(&&*node.label) && bars.iter().any(|bar| bar.label == node.label) {
            labels.push(&node.label);
        }
    }
    let end = bars.iter().map(Bar::end).fold(0.0, f64::max);
    let total: f64 = bars.iter().map(|bar| bar.seconds).sum();
    let label = format!(
        "{} computations in {}, at most {workers} at once; {} of work.",
        bars.len(),
        duration_of(end),
        duration_of(total)
    );
    vec![Panel { drawing: draw(&bars, &lanes, workers, &labels, room), label }]
}

/// Returns the line of each bar, and how many lines there are. The first worker that is free takes
/// the next computation.
fn lanes(bars: &[Bar<'_>]) -> (Vec<usize>, usize) {
    let mut free: Vec<f64> = vec![];
    let mut lanes = vec![];
    for bar in bars {
        let lane = free.iter().position(|free| *free <= bar.began + 1e-3).unwrap_or(free.len());
        if lane == free.len() {
            free.push(0.0);
        }
        free[lane] = bar.end();
        lanes.push(lane);
    }
    (lanes, free.len())
}

/// Returns the colour of a stage: the last colour is for all further stages.
fn ink(labels: &[&str], label: &str) -> Ink {
    let at = labels.iter().position(|one| *one == label).unwrap_or(0);
    Ink::Series(at.min(SERIES - 1))
}

fn draw(bars: &[Bar<'_>], lanes: &[usize], workers: usize, labels: &[&str], room: Room) -> Drawing {
    let mut names: Vec<(String, Ink, Option<usize>)> =
        labels.iter().map(|label| ((*label).to_owned(), ink(labels, label), None)).collect();
    if names.len() > SERIES {
        names.truncate(SERIES);
        names[SERIES - 1].0 = "others".to_owned();
    }
    let width = room.width();
    let mut page = Drawing::new(width, 0.0);
    let top = legend(&mut page, &names, 2.0) + 8.0;
    let end = bars.iter().map(Bar::end).fold(0.0, f64::max);
    let (unit, each) = match end {
        s if s < 120.0 => ("seconds", 1.0),
        s if s < 7200.0 => ("minutes", 60.0),
        _ => ("hours", 3600.0),
    };
    let (left, right) = (66.0, width - 14.0);
    let bottom = top + LINE * workers as f64;
    let (marks, digits) = ticks(0.0, end / each, if room == Room::Narrow { 4 } else { 8 });
    let last = marks[marks.len() - 1] * each;
    let at = |seconds: f64| left + seconds / last * (right - left);
    for mark in &marks {
        let x = at(mark * each);
        page.line(vec![(x, top), (x, bottom + 4.0)], Ink::Faint, 1.0);
        let text = format!("{mark:.digits$}");
        page.text((x, bottom + 18.0), text, SMALL, Ink::Muted, Anchor::Middle);
    }
    for lane in 0..workers {
        let y = top + LINE * lane as f64 + 16.0;
        page.text((0.0, y), format!("worker {}", lane + 1), SMALL, Ink::Muted, Anchor::Start);
    }
    let mut longest: Vec<f64> = bars.iter().map(|bar| bar.seconds).collect();
    longest.sort_by(|a, b| b.total_cmp(a));
    let least = longest.get(MAX_DRAWN).copied().unwrap_or(0.0);
    for (bar, lane) in bars.iter().zip(lanes).filter(|(bar, _)| bar.seconds >= least) {
        let wide = (at(bar.end()) - at(bar.began) - 0.6).max(0.8);
        let place = (at(bar.began), top + LINE * *lane as f64 + 3.0);
        let (took, began) = (duration_of(bar.seconds), duration_of(bar.began));
        let tip = format!("{}: {took} from {began}", bar.label);
        page.tipped_rect(place, (wide, LINE - 6.0), ink(labels, bar.label), tip);
    }
    let axis = format!("{unit} since the run began");
    page.text((right, bottom + 34.0), axis, SMALL, Ink::Muted, Anchor::End);
    page.height = bottom + 40.0;
    page
}
