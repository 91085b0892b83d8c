//! The overlap (Jaccard index) of the subsets of two selectors.

use super::{Panel, spread, titled};
use crate::{
    context::Failure,
    plot::{
        drawing::{Anchor, Drawing, HEADING, Ink, SMALL},
        font,
    },
    results::{Condition, Study},
    stats::MeanStd,
};

/// The most sizes compared.
const MAX_SIZES: usize = 4;
/// The most seeds an overlap is averaged over.
const MAX_SEEDS: usize = 3;
/// The most panels of the figure.
const MAX_PANELS: usize = 12;
/// The most overlaps in the text alternative of a panel.
const MAX_SAID: usize = 12;

pub(super) fn matrices(study: &Study<'_>) -> Result<Vec<Panel>, Failure> {
    let mut panels = vec![];
    for facet in study.values(|row| &row.facet) {
        let sizes = study.values(|row| &row.size);
        for size in spread(&sizes, MAX_SIZES) {
            // A method that keeps everything overlaps with each by construction.
            let rows: Vec<&Condition> = study
                .conditions
                .iter()
                .filter(|row| row.facet == facet && row.size == **size)
                .filter(|row| row.keep.is_some_and(|keep| keep < 1.0))
                .filter(|row| row.repeats.iter().any(|one| one.subset.is_some()))
                .collect();
            if rows.len() < 2 {
                continue;
            }
            let mut shares = vec![vec![None; rows.len()]; rows.len()];
            for (a, b) in (0..rows.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
                let stat = shared(study, rows[a], rows[b])?;
                (shares[a][b], shares[b][a]) = (stat, stat);
            }
            let chance = rows[0].keep.map(|keep| keep / (2.0 - keep));
            panels.push(panel(
                &titled(facet, &[&format!("{} kept", rows[0].share())]),
                &rows,
                &shares,
                chance,
            ));
        }
    }
    panels.truncate(MAX_PANELS);
    Ok(panels)
}

/// Returns the share that both keep of what either keeps, seed by seed.
fn shared(study: &Study<'_>, a: &Condition, b: &Condition) -> Result<Option<f64>, Failure> {
    let mut shares = vec![];
    for one in &a.repeats {
        // A selector that draws nothing has the same subset for all seeds.
        let same = b.repeats.iter().find(|other| other.seeds == one.seeds);
        let other = same.or_else(|| b.repeats.first().filter(|_| b.repeats.len() == 1));
        let Some((one, other)) = one.subset.zip(other.and_then(|other| other.subset)) else {
            continue;
        };
        if let (Some(one), Some(other)) = (study.positions(one)?, study.positions(other)?) {
            let both = one.iter().filter(|at| other.binary_search(at).is_ok()).count();
            shares.push(both as f64 / (one.len() + other.len() - both).max(1) as f64);
        }
        if shares.len() == MAX_SEEDS {
            break;
        }
    }
    Ok(MeanStd::of(&shares).map(|stat| stat.mean))
}

fn panel(
    heading: &str,
    rows: &[&Condition],
    shares: &[Vec<Option<f64>>],
    chance: Option<f64>,
) -> Panel {
    let count = rows.len();
    let each = if count <= 6 { 44.0 } else { 30.0 };
    let name = |row: &Condition| font::fitted(&row.series, SMALL, 110.0);
    let widest = rows.iter().map(|row| font::width(&name(row), SMALL)).fold(0.0, f64::max);
    let side = widest + 10.0;
    let mut page = Drawing::new((side + each * count as f64 + 2.0).max(240.0), 0.0);
    let top = page.paragraph((0.0, 15.0), page.width, heading, HEADING, Ink::Text) + 6.0 + widest;
    for (at, row) in rows.iter().enumerate() {
        let middle = (at as f64 + 0.5).mul_add(each, 0.0);
        let name = name(row);
        let y = top + middle + 4.0;
        page.text((side - 6.0, y), &*name, SMALL, Ink::Text, Anchor::End);
        page.turned((side + middle + 4.0, top - 6.0), name, Ink::Text, Anchor::Start);
    }
    // The same colours mean the same on every panel; most overlaps are small.
    let mut said = vec![];
    for (a, line) in shares.iter().enumerate() {
        for (b, share) in line.iter().enumerate() {
            let at = (side + each * b as f64, top + each * a as f64);
            let size = (each - 1.0, each - 1.0);
            let Some(share) = share else {
                page.rect(at, size, Ink::Faint);
                continue;
            };
            let mut tip = String::new();
            if b < a {
                tip = format!("{} and {}: {share:.3}", rows[a].series, rows[b].series);
                said.push((*share, tip.clone()));
            }
            page.tipped_rect(at, size, Ink::heat(*share), tip);
            let text = format!("{:.0}", share * 100.0);
            let place = (at.0 + each / 2.0, at.1 + each / 2.0 + 4.0);
            page.text(place, text, SMALL, Ink::on_heat(*share), Anchor::Middle);
        }
    }
    let mut bottom = top + each * count as f64 + 16.0;
    let mut words = "shared of both, %".to_owned();
    if let Some(chance) = chance {
        words.push_str(&format!("; by chance {:.1}", chance * 100.0));
    }
    bottom = page.paragraph((0.0, bottom), page.width, &words, SMALL, Ink::Muted);
    page.height = bottom - 8.0;
    // The largest first; of equals, the first in the matrix.
    said.sort_by(|a, b| b.0.total_cmp(&a.0));
    let said: Vec<&str> = said.iter().take(MAX_SAID).map(|(_, words)| words.as_str()).collect();
    let label = format!("Jaccard overlap, {heading}. {}.", said.join("; "));
    Panel { drawing: page, label }
}
