//! Learning curves: loss and accuracy of trainings, epoch by epoch.

use super::{
    PANEL, Panel,
    chart::{self, Chart, Series},
    spread, titled,
};
use crate::{context::Failure, plot::drawing::SERIES, results::Study, stats::MeanStd};
use artifacts::network::TrainedEpoch;
use engine::NodeId;
use std::collections::BTreeMap;

/// The most points of a curve; longer ones are thinned.
const MAX_POINTS: usize = 80;
/// The most panels of the figure.
const MAX_PANELS: usize = 24;

type Points = Vec<(f64, MeanStd)>;
/// Which figure of an epoch.
type CurveValue = fn(&TrainedEpoch) -> Option<f64>;

fn loss(epoch: &TrainedEpoch) -> Option<f64> {
    Some(epoch.loss)
}

fn train_accuracy(epoch: &TrainedEpoch) -> Option<f64> {
    Some(epoch.train_accuracy)
}

fn test_accuracy(epoch: &TrainedEpoch) -> Option<f64> {
    epoch.test_accuracy
}

/// Returns the mean of a figure over trainings, by epoch. One epoch alone makes no curve.
fn curve(study: &Study<'_>, trainings: &[NodeId], figure: CurveValue) -> Result<Points, Failure> {
    let mut values: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for training in trainings {
        let history = study.history(*training)?;
        for epoch in history.into_iter().flat_map(|history| history.epochs) {
            if let Some(value) = figure(&epoch) {
                values.entry(epoch.epoch).or_default().push(value);
            }
        }
    }
    let all: Points = values
        .into_iter()
        .filter_map(|(epoch, values)| Some((epoch as f64, MeanStd::of(&values)?)))
        .collect();
    Ok(spread(&all, MAX_POINTS).into_iter().copied().collect())
}

pub(super) fn proxies(study: &Study<'_>) -> Result<Vec<Panel>, Failure> {
    let groups = study.groups("proxy");
    let groups = spread(&groups, SERIES);
    let mut panels = vec![];
    for (figure, heading, upwards, factor) in [
        (loss as CurveValue, "Loss on the training samples", "mean loss, nats", 1.0),
        (train_accuracy, "Accuracy on the training samples", "training accuracy, %", 100.0),
        (test_accuracy, "Accuracy on the test samples", "test accuracy, %", 100.0),
    ] {
        let mut series = vec![];
        for (at, (name, nodes)) in groups.iter().enumerate() {
            let points = curve(study, nodes, figure)?;
            if points.len() > 1 {
                series.push(Series { name: name.clone(), number: Some(at), plain: false, points });
            }
        }
        if !series.is_empty() {
            panels.push(panel(heading, upwards, factor, series));
        }
    }
    Ok(panels)
}

pub(super) fn students(study: &Study<'_>) -> Result<Vec<Panel>, Failure> {
    let names = study.values(|row| &row.series);
    let sizes = study.values(|row| &row.size);
    // Few selectors: a panel for each size. Many: a panel for each selector.
    let few = names.len() <= SERIES;
    let (outer, inner) = if few { (&sizes, &names) } else { (&names, &sizes) };
    let inner: Vec<&str> = spread(inner, SERIES).into_iter().copied().collect();
    let mut panels = vec![];
    for facet in study.values(|row| &row.facet) {
        for one in spread(outer, if few { 6 } else { MAX_PANELS }) {
            let mut series = vec![];
            let mut heading = titled(if few { "" } else { one }, &[facet]);
            for (at, other) in inner.iter().enumerate() {
                let (name, size) = if few { (other, one) } else { (one, other) };
                let found = study
                    .conditions
                    .iter()
                    .find(|row| row.facet == facet && row.series == **name && row.size == **size);
                let Some(row) = found else { continue };
                let models: Vec<NodeId> = row.repeats.iter().filter_map(|one| one.model).collect();
                let points = curve(study, &models, test_accuracy)?;
                if points.len() < 2 {
                    continue;
                }
                // A method that keeps everything gives no panel its name.
                if few && row.keep.is_some_and(|keep| keep < 1.0) {
                    heading = titled(facet, &[&format!("{} kept", row.share())]);
                }
                let name = if few { row.series.clone() } else { row.share() };
                series.push(Series { name, number: Some(at), plain: false, points });
            }
            if !series.is_empty() {
                panels.push(panel(&heading, "test accuracy, %", 100.0, series));
            }
        }
    }
    panels.truncate(MAX_PANELS);
    Ok(panels)
}

fn panel(heading: &str, upwards: &str, factor: f64, mut series: Vec<Series>) -> Panel {
    // A few epochs are points; many are a line.
    let long = series.iter().any(|one| one.points.len() > 12);
    series.iter_mut().for_each(|one| one.plain = long);
    let ends = series.iter().filter_map(|one| {
        let (_, last) = one.points.last()?;
        Some(format!("{} ends at {}", one.name, chart::said(*last, factor)))
    });
    let ends = ends.collect::<Vec<_>>().join("; ");
    let label = format!("{upwards} by epoch. {heading}. {ends}.");
    let mut at = vec![];
    if let Some(Series { points, .. }) = series.iter().max_by_key(|one| one.points.len())
        && points.len() <= 12
    {
        at = points.iter().map(|(epoch, _)| (*epoch, format!("{epoch:.0}"))).collect();
    }
    let across = "epoch";
    let ratios = false;
    let from_zero = false;
    let legend = true;
    let level = None;
    let chart =
        Chart { heading, across, upwards, at, ratios, factor, from_zero, legend, level, series };
    Panel { drawing: chart.draw(PANEL, 270.0), label }
}
