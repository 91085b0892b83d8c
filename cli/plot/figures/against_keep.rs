//! Accuracy and label noise against the fraction of the training set that was kept.

use super::{
    Panel, Room,
    chart::{self, Chart, Series},
    titled,
};
use crate::{
    context::{Failure, percent},
    results::{Condition, Study},
    stats::MeanStd,
};
use artifacts::SampleId;

/// The most panels of a figure. Of facets beyond them only the first are shown.
const PANELS: usize = 36;

struct Measure<'a> {
    name: &'a str,
    upwards: &'a str,
    /// Whether a scale that does not start at zero would mislead.
    from_zero: bool,
    /// The value a selector without a preference has, drawn as a level, and its name.
    level: Option<(f64, String)>,
}

pub(super) fn accuracy(study: &Study<'_>, room: Room) -> Vec<Panel> {
    let measure =
        Measure { name: "accuracy", upwards: "test accuracy, %", from_zero: false, level: None };
    let points = study.conditions.iter().filter_map(|row| Some((row, row.mean(measure.name)?)));
    panels(study, &measure, &points.collect::<Vec<_>>(), room)
}

pub(super) fn noise(study: &Study<'_>, room: Room) -> Result<Vec<Panel>, Failure> {
    let mut points = vec![];
    let mut levels = vec![];
    for row in &study.conditions {
        if let Some(found) = mislabelled(study, row)? {
            levels.push(found.base);
            points.push((row, found.share));
        }
    }
    let upwards = "mislabelled among the kept, %";
    // Data of several kinds of noise have no level in common.
    let even = levels.iter().all(|level| (level - levels[0]).abs() < 0.005);
    let level = levels.first().filter(|_| even);
    let level = level.map(|level| (*level, format!("in the data {}", percent(*level))));
    let measure = Measure { name: "share mislabelled", upwards, from_zero: true, level };
    Ok(panels(study, &measure, &points, room))
}

/// The mislabelled samples among those a condition keeps.
pub(crate) struct Mislabelled {
    /// The fraction of the kept samples that is mislabelled.
    pub(crate) share: MeanStd,
    pub(crate) count: MeanStd,
    /// The number of wrong labels in all, and the fraction of all labels they are.
    pub(crate) all: MeanStd,
    pub(crate) base: f64,
}

/// Returns how many of the samples a row keeps have a wrong label, where that is known.
pub(crate) fn mislabelled(
    study: &Study<'_>,
    row: &Condition,
) -> Result<Option<Mislabelled>, Failure> {
    let mut shares = vec![];
    let mut counts = vec![];
    let mut alls = vec![];
    let mut bases = vec![];
    for outcome in &row.repeats {
        let Some(data) = outcome.data else { continue };
        let (Some(clean), Some(labels)) = (study.clean(data)?, study.labels(data)?) else {
            continue;
        };
        let wrong: Vec<bool> = clean.iter().zip(&labels).map(|(a, b)| a != b).collect();
        let all = wrong.iter().filter(|wrong| **wrong).count();
        let kept = outcome.subset.map(|subset| study.positions(subset)).transpose()?.flatten();
        let (count, size) = match kept {
            Some(kept) => {
                let hit =
                    |sample: &&SampleId| wrong.get(sample.index()).copied().unwrap_or_default();
                (kept.iter().filter(hit).count(), kept.len())
            }
            None => (all, wrong.len()),
        };
        shares.push(count as f64 / size.max(1) as f64);
        counts.push(count as f64);
        alls.push(all as f64);
        bases.push(all as f64 / wrong.len().max(1) as f64);
    }
    let stats = [shares, counts, alls, bases].map(|values: Vec<f64>| MeanStd::of(&values));
    let [Some(share), Some(count), Some(all), Some(base)] = stats else { return Ok(None) };
    Ok(Some(Mislabelled { share, count, all, base: base.mean }))
}

fn panels(
    study: &Study<'_>,
    measure: &Measure<'_>,
    points: &[(&Condition, MeanStd)],
    room: Room,
) -> Vec<Panel> {
    let mut panels = vec![];
    for facet in study.values(|row| &row.facet) {
        let here: Vec<&(&Condition, MeanStd)> =
            points.iter().filter(|(row, _)| row.facet == facet && row.keep.is_some()).collect();
        if here.is_empty() {
            continue;
        }
        let names: Vec<&str> = study
            .values(|row| &row.series)
            .into_iter()
            .filter(|name| here.iter().any(|(row, _)| row.series == *name))
            .collect();
        let series = |name: &str, number: Option<usize>| {
            let mine = here.iter().filter(|(row, _)| row.series == name);
            let mut points: Vec<(f64, MeanStd)> =
                mine.filter_map(|(row, stat)| Some((row.keep?, *stat))).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            // A method that keeps everything is the same at every size.
            points.dedup_by(|a, b| (a.0 - b.0).abs() < 1e-9);
            Series { name: name.to_owned(), number, plain: false, points }
        };
        let all: Vec<Series> = names
            .iter()
            .enumerate()
            .map(|(at, name)| series(name, chart::number(at, names.len())))
            .collect();
        if all.iter().all(|one| one.points.len() < 2) {
            panels.push(rows(measure, facet, &here, room));
            continue;
        }
        if names.len() <= crate::plot::drawing::SERIES {
            panels.push(lines(measure, facet, all, true, room));
            continue;
        }
        // Too many to tell apart: each by itself, before all the others.
        if !panels.is_empty() && panels.len() + names.len() > PANELS {
            break;
        }
        for (at, name) in names.iter().enumerate() {
            let mut shown = all.clone();
            shown[at].number = Some(0);
            let heading = titled(name, &[facet]);
            panels.push(lines(measure, &heading, shown, false, Room::Narrow));
        }
    }
    panels
}

fn lines(
    measure: &Measure<'_>,
    heading: &str,
    series: Vec<Series>,
    legend: bool,
    room: Room,
) -> Panel {
    let mut keeps: Vec<f64> =
        series.iter().flat_map(|one| one.points.iter().map(|(keep, _)| *keep)).collect();
    keeps.sort_by(f64::total_cmp);
    keeps.dedup_by(|a, b| (*a - *b).abs() < 1e-3 * *b);
    let ratios = keeps.last().zip(keeps.first()).is_some_and(|(last, first)| last / first > 12.0);
    let chart = Chart {
        heading,
        across: if ratios { "share kept (by ratio)" } else { "share kept" },
        upwards: measure.upwards,
        at: keeps.iter().map(|keep| (*keep, percent(*keep))).collect(),
        ratios,
        factor: 100.0,
        from_zero: measure.from_zero,
        legend,
        level: measure.level.clone(),
        series,
    };
    let said = chart.series.iter().filter(|one| one.number.is_some()).map(|one| {
        let ends = one
            .points
            .iter()
            .map(|(keep, stat)| format!("{} at {}", chart::said(*stat, 100.0), percent(*keep)));
        format!("{}: {}", one.name, ends.collect::<Vec<_>>().join(", "))
    });
    let said = said.collect::<Vec<_>>().join("; ");
    let label = format!("{} against share kept. {said}.", measure.name);
    let height = if room == Room::Narrow { 290.0 } else { 400.0 };
    Panel { drawing: chart.draw(room.width(), height), label }
}

fn rows(
    measure: &Measure<'_>,
    heading: &str,
    points: &[&(&Condition, MeanStd)],
    room: Room,
) -> Panel {
    let name = |row: &Condition| titled(&row.series, &[&row.share()]);
    let mut all: Vec<(String, MeanStd)> =
        points.iter().map(|(row, stat)| (name(row), *stat)).collect();
    // The best first; of equals, the first in the matrix.
    all.sort_by(|a, b| b.1.mean.total_cmp(&a.1.mean));
    let said = all.iter().map(|(name, stat)| format!("{name}: {}", chart::said(*stat, 100.0)));
    let label = format!("{} by selector. {}.", measure.name, said.collect::<Vec<_>>().join("; "));
    let from_zero = measure.from_zero;
    let drawing = chart::dots(heading, measure.upwards, &all, from_zero, room.width().min(620.0));
    Panel { drawing, label }
}
