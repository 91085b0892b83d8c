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

pub(super) fn timeline(study: &Study<'_>, room: Room) -> Vec<Panel> {
    let Some(run) = &study.run else { return vec![] };
    let mut bars: Vec<(f64, f64, &str)> = run
        .nodes
        .iter()
        .filter_map(|node| Some((node.began?, node.seconds, &*node.label)))
        .collect();
    if bars.is_empty() {
        return vec![];
    }
    // Ties go to the first of the plan.
    bars.sort_by(|a, b| a.0.total_cmp(&b.0));
    // A worker takes the next stage when it is free, and the first free one takes it.
    let mut free: Vec<f64> = vec![];
    let mut lanes = vec![];
    for (began, seconds, _) in &bars {
        let lane = free.iter().position(|free| *free <= began + 1e-3).unwrap_or(free.len());
        if lane == free.len() {
            free.push(0.0);
        }
        free[lane] = began + seconds;
        lanes.push(lane);
    }
    let mut labels: Vec<&str> = vec![];
    for node in &run.nodes {
        if !labels.contains(&&*node.label) && bars.iter().any(|(.., label)| *label == node.label) {
            labels.push(&node.label);
        }
    }
    // The eighth colour is for all further stages.
    let ink = |label: &str| {
        let at = labels.iter().position(|one| *one == label).unwrap_or(0);
        Ink::Series(at.min(SERIES - 1))
    };
    let mut names: Vec<(String, Ink, Option<usize>)> =
        labels.iter().map(|label| ((*label).to_owned(), ink(label), None)).collect();
    if names.len() > SERIES {
        names.truncate(SERIES);
        names[SERIES - 1].0 = "others".to_owned();
    }
    let width = room.width();
    let mut page = Drawing::new(width, 0.0);
    let top = legend(&mut page, &names, 2.0) + 8.0;
    let end = bars.iter().map(|(began, seconds, _)| began + seconds).fold(0.0, f64::max);
    let (unit, each) = match end {
        s if s < 120.0 => ("seconds", 1.0),
        s if s < 7200.0 => ("minutes", 60.0),
        _ => ("hours", 3600.0),
    };
    let (left, right) = (66.0, width - 14.0);
    let bottom = top + LINE * free.len() as f64;
    let (marks, digits) = ticks(0.0, end / each, if room == Room::Narrow { 4 } else { 8 });
    let last = marks[marks.len() - 1] * each;
    let at = |seconds: f64| left + seconds / last * (right - left);
    for mark in &marks {
        let x = at(mark * each);
        page.line(vec![(x, top), (x, bottom + 4.0)], Ink::Faint, 1.0);
        let text = format!("{mark:.digits$}");
        page.text((x, bottom + 18.0), text, SMALL, Ink::Muted, Anchor::Middle);
    }
    for lane in 0..free.len() {
        let y = top + LINE * lane as f64 + 16.0;
        page.text((0.0, y), format!("worker {}", lane + 1), SMALL, Ink::Muted, Anchor::Start);
    }
    let mut longest: Vec<f64> = bars.iter().map(|(_, seconds, _)| *seconds).collect();
    longest.sort_by(|a, b| b.total_cmp(a));
    let least = longest.get(MAX_DRAWN).copied().unwrap_or(0.0);
    for ((began, seconds, label), lane) in bars.iter().zip(&lanes) {
        if *seconds < least {
            continue;
        }
        let wide = (at(began + seconds) - at(*began) - 0.6).max(0.8);
        let place = (at(*began), top + LINE * *lane as f64 + 3.0);
        let tip = format!("{label}: {} from {}", duration_of(*seconds), duration_of(*began));
        page.tipped_rect(place, (wide, LINE - 6.0), ink(label), tip);
    }
    page.text(
        (right, bottom + 34.0),
        format!("{unit} since the run began"),
        SMALL,
        Ink::Muted,
        Anchor::End,
    );
    page.height = bottom + 40.0;
    let total: f64 = bars.iter().map(|(_, seconds, _)| seconds).sum();
    let label = format!(
        "{} computations in {}, at most {} at once; {} of work.",
        bars.len(),
        duration_of(end),
        free.len(),
        duration_of(total)
    );
    vec![Panel { drawing: page, label }]
}
