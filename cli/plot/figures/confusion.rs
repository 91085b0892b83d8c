//! Confusion matrices: which class is taken for which.

use super::{PANEL, Panel, titled};
use crate::{
    plot::{
        drawing::{Anchor, Drawing, DrawnShape, HEADING, HEATS, Ink, PixelImage, SMALL},
        font,
    },
    results::{Condition, Study},
};

/// The most confusion matrices shown: half of them the best, half the worst.
const PANELS: usize = 6;
/// The most classes drawn with names; matrices of more are pictures without.
const NAMED: usize = 16;

pub(super) fn matrices(study: &Study<'_>) -> Vec<Panel> {
    let mut rows: Vec<(&Condition, f64)> =
        study.conditions.iter().filter_map(|row| Some((row, row.mean("accuracy")?.mean))).collect();
    // The best first; of equals, the first in the matrix.
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    let half = PANELS / 2;
    if rows.len() > PANELS {
        rows.drain(half..rows.len() - half);
    }
    rows.into_iter().filter_map(|(row, accuracy)| panel(row, accuracy)).collect()
}

fn panel(row: &Condition, accuracy: f64) -> Option<Panel> {
    let first = &row.repeats.first()?.metrics.document;
    let names: Vec<String> = first["classes"]
        .as_array()?
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .collect();
    let count = names.len();
    let mut sums = vec![vec![0.0; count]; count];
    for outcome in &row.repeats {
        for (label, line) in outcome.metrics.document["confusion"].as_array()?.iter().enumerate() {
            for (taken, samples) in line.as_array()?.iter().enumerate() {
                *sums.get_mut(label)?.get_mut(taken)? += samples.as_f64()?;
            }
        }
    }
    let shares: Vec<Vec<f64>> = sums
        .iter()
        .map(|line| {
            let all: f64 = line.iter().sum();
            line.iter().map(|samples| if all > 0.0 { samples / all } else { 0.0 }).collect()
        })
        .collect();
    let heading = titled(
        &row.series,
        &[
            &row.facet,
            &format!("{} kept", row.share()),
            &format!("{:.1} % right", accuracy * 100.0),
        ],
    );
    let mut page = Drawing::new(PANEL, 0.0);
    let top = page.paragraph((0.0, 15.0), PANEL, &heading, HEADING, Ink::Text);
    page.text((PANEL, top), "taken for →", SMALL, Ink::Muted, Anchor::End);
    page.text((0.0, top), "label ↓", SMALL, Ink::Muted, Anchor::Start);
    let top = top + 6.0;
    let bottom = if count <= NAMED {
        named(&mut page, top, &names, &shares)
    } else {
        pictured(&mut page, top, &shares)
    };
    page.height = bottom + 6.0;
    let mut worst: Vec<(f64, usize, usize)> = (0..count)
        .flat_map(|a| (0..count).map(move |b| (a, b)))
        .filter(|(a, b)| a != b)
        .map(|(a, b)| (shares[a][b], a, b))
        .collect();
    // Ties go to the first.
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    let said = worst.iter().take(3).filter(|(share, ..)| *share > 0.0).map(|(share, a, b)| {
        format!("{:.0} % of {} taken for {}", share * 100.0, names[*a], names[*b])
    });
    let said = said.collect::<Vec<_>>().join("; ");
    Some(Panel { drawing: page, label: format!("Confusion matrix, {heading}. {said}.") })
}

fn named(page: &mut Drawing, top: f64, names: &[String], shares: &[Vec<f64>]) -> f64 {
    let short = |name: &String| font::fitted(name, SMALL, 74.0);
    let widest = names.iter().map(|name| font::width(&short(name), SMALL)).fold(0.0, f64::max);
    let side = widest + 6.0;
    let each = ((PANEL - side) / names.len() as f64).min(32.0);
    let upright = names.iter().all(|name| font::width(name, SMALL) < each - 2.0);
    let top = top + if upright { 16.0 } else { widest + 6.0 };
    for (at, name) in names.iter().enumerate() {
        let middle = (at as f64 + 0.5) * each;
        page.text((side - 5.0, top + middle + 4.0), short(name), SMALL, Ink::Text, Anchor::End);
        if upright {
            page.text((side + middle, top - 5.0), name, SMALL, Ink::Text, Anchor::Middle);
        } else {
            page.turned((side + middle + 4.0, top - 4.0), short(name), Ink::Text, Anchor::Start);
        }
    }
    for (label, line) in shares.iter().enumerate() {
        for (taken, share) in line.iter().enumerate() {
            let at = (side + each * taken as f64, top + each * label as f64);
            let tip =
                format!("{} taken for {}: {:.1} %", names[label], names[taken], share * 100.0);
            page.tipped_rect(at, (each - 1.0, each - 1.0), Ink::heat(*share), tip);
            if *share >= 0.005 && each >= 20.0 {
                let text = format!("{:.0}", share * 100.0);
                let ink = Ink::on_heat(*share);
                let place = (at.0 + each / 2.0, at.1 + each / 2.0 + 4.0);
                page.text(place, text, SMALL, ink, Anchor::Middle);
            }
        }
    }
    let bottom = top + each * names.len() as f64;
    page.text((side, bottom + 14.0), "% of each label", SMALL, Ink::Muted, Anchor::Start);
    bottom + 16.0
}

fn pictured(page: &mut Drawing, top: f64, shares: &[Vec<f64>]) -> f64 {
    let bytes = shares.iter().flatten().flat_map(|share| {
        let step = (share * (HEATS - 1) as f64).round() as usize;
        Ink::Heat(step).colour(false)
    });
    let (width, height) = (shares.len(), shares.len());
    let pixels = PixelImage { width, height, channels: 3, bytes: bytes.collect() };
    let (at, size) = ((0.0, top), (PANEL, PANEL));
    let tip = format!("{} classes; darker is more", shares.len());
    page.shapes.push(DrawnShape::Image { at, size, pixels, tip });
    top + PANEL
}
