//! Samples as they are: the hardest and the easiest of a score, the kept and the dropped of a
//! selector.

use super::{PANEL, Panel, spread, titled};
use crate::{
    context::Failure,
    plot::{
        drawing::{Anchor, Drawing, DrawnShape, HEADING, Ink, PixelImage, SMALL},
        font,
    },
    results::{Condition, Study},
};
use artifacts::{ClassId, SampleId};
use engine::NodeId;
use std::ops::Range;

/// How many samples are on a grid, in rows of [`COLUMNS`].
const SHOWN: usize = 20;
const COLUMNS: usize = 5;
/// The most scores that have grids.
const SCORES: usize = 3;
const SELECTORS: usize = 8;
/// The largest side of a picture, in pixels; a larger one is averaged down.
const LARGEST: usize = 32;

/// The training images of a data set, and what is said of them.
struct Album {
    bytes: cache::Bytes,
    /// Where in the bytes they lie.
    train: Range<usize>,
    /// Channels, rows, columns.
    shape: [usize; 3],
    labels: Vec<ClassId>,
    clean: Option<Vec<ClassId>>,
    classes: Vec<String>,
}

impl Album {
    fn read(study: &Study<'_>, data: NodeId) -> Result<Option<Self>, Failure> {
        let Some(meta) = study.dataset(data)? else { return Ok(None) };
        let ([channels @ (1 | 3), height, width], Some((bytes, train)), Some(labels)) =
            (&meta.sample[..], study.train_images(data)?, study.labels(data)?)
        else {
            return Ok(None);
        };
        let shape = [*channels, *height, *width];
        let clean = study.clean(data)?;
        Ok(Some(Self { bytes, train, shape, labels, clean, classes: meta.classes }))
    }

    /// Returns the picture of a sample, channels last and not too large.
    fn pixels(&self, at: usize) -> Option<PixelImage> {
        let [channels, rows, columns] = self.shape;
        let each = channels * rows * columns;
        let image = self.bytes[self.train.clone()].get(at * each..(at + 1) * each)?;
        let block = rows.max(columns).div_ceil(LARGEST).max(1);
        let (height, width) = (rows.div_ceil(block), columns.div_ceil(block));
        let mut bytes = Vec::with_capacity(width * height * channels);
        for place in 0..width * height {
            let (top, left) = (place / width * block, place % width * block);
            let (below, right) = ((top + block).min(rows), (left + block).min(columns));
            for channel in 0..channels {
                let inside = (top..below).flat_map(|y| (left..right).map(move |x| (y, x)));
                let sum: usize = inside
                    .map(|(y, x)| usize::from(image[(channel * rows + y) * columns + x]))
                    .sum();
                bytes.push((sum / ((below - top) * (right - left))) as u8);
            }
        }
        Some(PixelImage { width, height, channels, bytes })
    }

    fn name(&self, label: ClassId) -> String {
        self.classes.get(label.index()).cloned().unwrap_or_else(|| label.to_string())
    }

    /// Returns up to [`SHOWN`] of `samples`, of every class in turn.
    fn mixed(&self, samples: &[SampleId]) -> Vec<SampleId> {
        let mut classes: Vec<Vec<SampleId>> = vec![vec![]; self.classes.len().max(1)];
        for at in samples {
            let label = self.labels.get(at.index()).map_or(0, |label| label.index());
            if let Some(class) = classes.get_mut(label) {
                class.push(*at);
            }
        }
        let each = SHOWN.div_ceil(classes.len());
        let classes = classes.iter().map(|class| spread(class, each.max(2)));
        let classes: Vec<Vec<&SampleId>> = classes.collect();
        let turns = (0..SHOWN).flat_map(|turn| classes.iter().filter_map(move |one| one.get(turn)));
        turns.take(SHOWN).map(|at| **at).collect()
    }

    fn panel(&self, heading: &str, samples: &[SampleId]) -> Panel {
        let cell = PANEL / COLUMNS as f64;
        let side = cell - 12.0;
        let mut page = Drawing::new(PANEL, 0.0);
        let top = page.paragraph((0.0, 15.0), PANEL, heading, HEADING, Ink::Text) - 6.0;
        let line = if self.clean.is_some() { 32.0 } else { 19.0 };
        for (place, at) in samples.iter().enumerate() {
            let Some(pixels) = self.pixels(at.index()) else { continue };
            let (column, row) = ((place % COLUMNS) as f64, (place / COLUMNS) as f64);
            let (x, y) = (column * cell, top + row * (side + line + 6.0));
            let label = self.labels[at.index()];
            let clean = self.clean.as_ref().and_then(|clean| clean.get(at.index()).copied());
            let clean = clean.filter(|clean| *clean != label);
            let mut tip = format!("sample {at}, label {}", self.name(label));
            if let Some(clean) = clean {
                tip.push_str(&format!(", truly {}", self.name(clean)));
                page.rect((x, y - 3.0), (side + 6.0, side + 6.0), Ink::Series(1));
            }
            let tall = side * pixels.height as f64 / pixels.width.max(1) as f64;
            let size = if tall > side { (side * side / tall, side) } else { (side, tall) };
            page.shapes.push(DrawnShape::Image { at: (x + 3.0, y), size, pixels, tip });
            let name = font::fitted(&self.name(label), SMALL, cell - 2.0);
            page.text((x + 3.0, y + side + 15.0), name, SMALL, Ink::Text, Anchor::Start);
            if let Some(clean) = clean {
                let true_name = font::fitted(&format!("≠ {}", self.name(clean)), SMALL, cell - 2.0);
                page.text(
                    (x + 3.0, y + side + 28.0),
                    true_name,
                    SMALL,
                    Ink::Series(1),
                    Anchor::Start,
                );
            }
        }
        page.height = top + samples.len().div_ceil(COLUMNS) as f64 * (side + line + 6.0) + 4.0;
        let wrong = self.clean.as_ref().map(|clean| {
            let wrong =
                |sample: &&SampleId| clean.get(sample.index()) != self.labels.get(sample.index());
            samples.iter().filter(wrong).count()
        });
        let mut label = format!("{heading}: {} samples", samples.len());
        if let Some(wrong) = wrong {
            label.push_str(&format!(", {wrong} of them mislabelled"));
        }
        Panel { drawing: page, label }
    }
}

pub(super) fn grids(study: &Study<'_>) -> Result<Vec<Panel>, Failure> {
    let mut panels = vec![];
    for (name, nodes) in spread(&study.groups("scores"), SCORES) {
        let Some(album) =
            source(study, nodes[0]).map(|data| Album::read(study, data)).transpose()?.flatten()
        else {
            continue;
        };
        let Some(scores) = study.scores(nodes[0])? else { continue };
        let mut order: Vec<SampleId> = SampleId::all(scores.len()).collect();
        order.retain(|at| scores[at.index()].is_finite());
        // The hardest first; of equals, the earlier.
        order.sort_by(|a, b| scores[b.index()].total_cmp(&scores[a.index()]));
        let ends = order.len().min(SHOWN);
        panels.push(album.panel(&titled("the hardest", &[name]), &order[..ends]));
        order.reverse();
        panels.push(album.panel(&titled("the easiest", &[name]), &order[..ends]));
    }
    let facet = study.conditions.first().map(|row| row.facet.clone());
    let size = study.conditions.first().map(|row| row.size.clone());
    let rows: Vec<&Condition> = study
        .conditions
        .iter()
        .filter(|row| Some(&row.facet) == facet.as_ref() && Some(&row.size) == size.as_ref())
        .filter(|row| row.keep.is_some_and(|keep| keep < 1.0))
        .collect();
    for row in spread(&rows, SELECTORS) {
        let Some((subset, data)) = row.repeats.first().and_then(|one| one.subset.zip(one.data))
        else {
            continue;
        };
        let Some(album) = Album::read(study, data)? else { continue };
        let Some(kept) = study.positions(subset)? else { continue };
        let dropped: Vec<SampleId> = SampleId::all(album.labels.len())
            .filter(|sample| kept.binary_search(sample).is_err())
            .collect();
        let of = [&*row.series, &row.share()];
        panels.push(album.panel(&titled("kept", &of), &album.mixed(&kept)));
        panels.push(album.panel(&titled("dropped", &of), &album.mixed(&dropped)));
    }
    Ok(panels)
}

/// Returns the data set whose samples `scores` are of.
fn source(study: &Study<'_>, scores: NodeId) -> Option<NodeId> {
    let mut open = vec![scores];
    while let Some(node) = open.pop() {
        if study.kind(node) == "data" {
            return Some(node);
        }
        open.extend(study.plan.node(node).inputs.iter().map(|(_, source)| *source));
    }
    None
}
