//! The figures: what each of them shows, and which panels it is made of.

mod against_keep;
mod chart;
mod confusion;
mod curves;
mod graph;
mod overlap;
mod samples;
mod scores;
mod timeline;

use super::drawing::Drawing;
use crate::{context::Failure, results::Study};

pub(crate) use against_keep::mislabelled;
pub(crate) use graph::{StageLine, stages};

/// A picture, and what is to be seen on it in words.
pub(crate) struct Panel {
    pub(crate) drawing: Drawing,
    pub(crate) label: String,
}

/// How much room there is for a figure that can use it: a phone, a sheet of paper, a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Narrow,
    Sheet,
    Wide,
}

/// The width of a panel that stands beside others.
const PANEL: f64 = 340.0;

impl Room {
    pub(crate) fn width(self) -> f64 {
        match self {
            Self::Narrow => PANEL,
            Self::Sheet => 720.0,
            Self::Wide => 1100.0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Figure {
    /// Accuracy against the share kept, a line per selector.
    Accuracy,
    /// The share of mislabelled samples among those kept.
    Noise,
    /// Loss and accuracy of the proxies, epoch by epoch.
    Proxies,
    /// Test accuracy of the students, epoch by epoch.
    Students,
    /// Histograms of the scores in each class, with the cut.
    Scores,
    /// How much of their samples the selectors share.
    Overlap,
    /// Which class is taken for which.
    Confusion,
    /// The hardest, the easiest, the kept and the dropped samples.
    Samples,
    /// The DAG, with hits and times.
    Graph,
    /// What the newest run did when.
    Timeline,
}

impl Figure {
    /// Returns its heading.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Accuracy => "Accuracy against the share kept",
            Self::Noise => "Mislabelled samples kept",
            Self::Proxies => "Training of the proxies",
            Self::Students => "Training of the students",
            Self::Scores => "Scores",
            Self::Overlap => "Overlap of the selectors",
            Self::Confusion => "Confusion",
            Self::Samples => "Samples",
            Self::Graph => "The stages",
            Self::Timeline => "The run",
        }
    }

    /// Returns its panels; none where the pipeline has nothing to show.
    pub(crate) fn panels(self, study: &Study<'_>, room: Room) -> Result<Vec<Panel>, Failure> {
        match self {
            Self::Accuracy => Ok(against_keep::accuracy(study, room)),
            Self::Noise => against_keep::noise(study, room),
            Self::Proxies => curves::proxies(study),
            Self::Students => curves::students(study),
            Self::Scores => scores::histograms(study),
            Self::Overlap => overlap::matrices(study),
            Self::Confusion => Ok(confusion::matrices(study)),
            Self::Samples => samples::grids(study),
            Self::Graph => Ok(graph::graph(study)),
            Self::Timeline => Ok(timeline::timeline(study, room)),
        }
    }

    /// Whether its panels look different in a wide room.
    pub(crate) fn uses_room(self) -> bool {
        matches!(self, Self::Accuracy | Self::Noise | Self::Timeline)
    }
}

/// Returns at most `count` of `all`, spread evenly, the first and the last among them.
fn spread<T>(all: &[T], count: usize) -> Vec<&T> {
    if all.len() <= count || count < 2 {
        return all.iter().take(count).collect();
    }
    (0..count).map(|at| &all[at * (all.len() - 1) / (count - 1)]).collect()
}

/// Returns `name` with what it belongs to, where that is not empty.
fn titled(name: &str, of: &[&str]) -> String {
    let parts = [name].into_iter().chain(of.iter().copied()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" · ")
}
