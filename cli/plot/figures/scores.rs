//! Histograms of the scores in each class, with the cut of a selector.

use super::{PANEL, Panel, spread, titled};
use crate::{
    context::Failure,
    plot::{
        axes::{Frame, ticks},
        drawing::{Anchor, Drawing, Ink, SMALL},
        font::{self, fitted},
    },
    results::Study,
};
use artifacts::ClassId;
use engine::NodeId;

/// The most scores and classes shown.
const SCORES: usize = 3;
const CLASSES: usize = 10;
const BINS: usize = 28;

pub(super) fn histograms(study: &Study<'_>) -> Result<Vec<Panel>, Failure> {
    let groups = study.groups("scores");
    let mut panels = vec![];
    for (name, nodes) in spread(&groups, SCORES) {
        let node = nodes[0];
        let (Some(scores), Some(labels)) = (study.scores(node)?, study.labels(node)?) else {
            continue;
        };
        let cut = study
            .plan
            .consumers(node)
            .find(|one| study.kind(*one) == "subset" && study.forecast.record(*one).is_some());
        let mut kept = vec![false; scores.len()];
        if let Some(subset) = cut
            && let Some(positions) = study.positions(subset)?
        {
            for sample in positions.iter() {
                if let Some(kept) = kept.get_mut(sample.index()) {
                    *kept = true;
                }
            }
        }
        let row =
            study.conditions.iter().find(|row| row.repeats.iter().any(|one| one.subset == cut));
        let by = cut.map(|subset| match row {
            Some(row) => titled(&row.series, &[&row.share()]),
            None => study.plan.describe(subset),
        });
        let names = class_names(study, node, &labels)?;
        let finite = || scores.iter().copied().filter(|score| score.is_finite());
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            continue;
        }
        let classes: Vec<ClassId> = ClassId::all(names.len()).collect();
        for class in spread(&classes, CLASSES) {
            let samples: Vec<(f64, bool)> = (0..scores.len())
                .filter(|at| labels[*at] == *class && scores[*at].is_finite())
                .map(|at| (scores[at], kept[at]))
                .collect();
            if !samples.is_empty() {
                let heading = titled(&format!("class {}", names[class.index()]), &[name]);
                panels.push(panel(&heading, &samples, (low, high), by.as_deref()));
            }
        }
    }
    Ok(panels)
}

/// Returns the names of the classes of the data under `scores`, or their numbers.
fn class_names(
    study: &Study<'_>,
    scores: NodeId,
    labels: &[ClassId],
) -> Result<Vec<String>, Failure> {
    let mut open = vec![scores];
    while let Some(node) = open.pop() {
        if study.kind(node) == "data" {
            return study.classes(node);
        }
        open.extend(study.plan.node(node).inputs.iter().map(|(_, source)| *source));
    }
    let count = labels.iter().max().map_or(0, |most| most.index() + 1);
    Ok(ClassId::all(count).map(|class| class.to_string()).collect())
}

fn panel(
    heading: &str,
    samples: &[(f64, bool)],
    (low, high): (f64, f64),
    by: Option<&str>,
) -> Panel {
    let wide = ((high - low) / BINS as f64).max(f64::MIN_POSITIVE);
    let mut bins = [(0u32, 0u32); BINS];
    for (score, kept) in samples {
        let bin = (((score - low) / wide) as usize).min(BINS - 1);
        if *kept { bins[bin].0 += 1 } else { bins[bin].1 += 1 }
    }
    let most = bins.iter().map(|(kept, dropped)| kept + dropped).max().unwrap_or(0);
    let (marks, digits) = ticks(0.0, f64::from(most), 3);
    let y = marks.iter().map(|value| (*value, format!("{value:.digits$}"))).collect();
    let (marks, digits) = ticks(low, high, 4);
    let mut x: Vec<(f64, String)> =
        marks.iter().map(|value| (*value, format!("{value:.digits$}"))).collect();
    x.retain(|(value, _)| (low..=high).contains(value));
    // The ends hold the scale; what is written there comes from the round values.
    x.insert(0, (low, String::new()));
    x.push((high, String::new()));
    let across = "score (harder to the right)";
    let upwards = "samples";
    let frame = Frame { heading, across, upwards, x, y, ratios: false, legend: &[] };
    let (mut page, over, up) = frame.draw(PANEL, 180.0);
    for (bin, (kept, dropped)) in bins.iter().enumerate() {
        let (left, right) =
            (over.at(low + wide * bin as f64), over.at(low + wide * (bin + 1) as f64));
        let ink = if by.is_some() { Ink::Back } else { Ink::Series(0) };
        let mut bar = |from: u32, to: u32, ink: Ink| {
            let (top, bottom) = (up.at(to.into()), up.at(from.into()));
            if to > from {
                page.rect((left + 0.5, top), ((right - left - 1.0).max(0.5), bottom - top), ink);
            }
        };
        bar(0, *kept, Ink::Series(0));
        bar(*kept, kept + dropped, ink);
    }
    if let Some(by) = by {
        key(&mut page, by, up.to - 24.0);
    }
    let cuts = cuts(samples);
    for cut in &cuts {
        mark_cut(&mut page, over.at(*cut), (up.to, up.from));
    }
    let kept = samples.iter().filter(|(_, kept)| *kept).count();
    let mut label = format!("{heading}: {} samples, scores {low:.3} to {high:.3}", samples.len());
    if let Some(by) = by {
        label.push_str(&format!("; {by} keeps {kept}"));
        let places: Vec<String> = cuts.iter().map(|cut| format!("{cut:.3}")).collect();
        if !places.is_empty() {
            label.push_str(&format!(", cut at {}", places.join(" and ")));
        }
    }
    Panel { drawing: page, label }
}

/// Says who keeps and what the inks are, beside the name of the axis.
fn key(page: &mut Drawing, by: &str, top: f64) {
    let dropped = PANEL - 14.0 - font::width("dropped", SMALL);
    let kept = fitted(&format!("kept by {by}"), SMALL, 170.0);
    let left = dropped - 34.0 - font::width(&kept, SMALL);
    page.rect((dropped - 16.0, top + 3.0), (12.0, 10.0), Ink::Back);
    page.text((dropped, top + 12.0), "dropped", SMALL, Ink::Muted, Anchor::Start);
    page.rect((left - 16.0, top + 3.0), (12.0, 10.0), Ink::Series(0));
    page.text((left, top + 12.0), kept, SMALL, Ink::Muted, Anchor::Start);
}

fn mark_cut(page: &mut Drawing, x: f64, (top, bottom): (f64, f64)) {
    page.dashes((x, top), (x, bottom), Ink::Series(1), 1.6);
}

/// Returns the scores between which every sample was kept and none outside, or nothing where
/// kept and dropped samples lie mixed.
fn cuts(samples: &[(f64, bool)]) -> Vec<f64> {
    let kept = || samples.iter().filter(|(_, kept)| *kept).map(|(score, _)| *score);
    let low = kept().fold(f64::INFINITY, f64::min);
    let high = kept().fold(f64::NEG_INFINITY, f64::max);
    let dropped = || samples.iter().filter(|(_, kept)| !*kept).map(|(score, _)| *score);
    if low > high || dropped().any(|score| low < score && score < high) {
        return vec![];
    }
    let below = dropped().filter(|score| *score <= low).fold(f64::NEG_INFINITY, f64::max);
    let above = dropped().filter(|score| *score >= high).fold(f64::INFINITY, f64::min);
    let mut cuts = vec![];
    cuts.extend(below.is_finite().then_some((below + low) / 2.0));
    cuts.extend(above.is_finite().then_some((above + high) / 2.0));
    cuts
}

#[cfg(test)]
mod tests {
    use super::cuts;

    #[test]
    fn a_cut_is_where_kept_and_dropped_part() {
        assert_eq!(cuts(&[(1.0, false), (2.0, true), (3.0, true)]), [1.5]);
        assert_eq!(cuts(&[(1.0, false), (2.0, true), (3.0, false)]), [1.5, 2.5]);
        assert!(cuts(&[(1.0, true), (2.0, false), (3.0, true)]).is_empty());
        assert!(cuts(&[(1.0, false)]).is_empty() && cuts(&[(1.0, true)]).is_empty());
    }
}
