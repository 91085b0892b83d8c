//! What a search for images passed over, and how that is told.

use super::{content::ending, scan::problem};
use engine::Problem;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// More paths than these are told as their count.
const NAMED: usize = 10;

/// What a search for images passed over.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// Files that are no images: how many of each ending.
    others: BTreeMap<String, usize>,
    /// Links to nothing, called like images.
    pub(super) dangling: Vec<PathBuf>,
    /// Folders that were read already under another path, or that their own path leads through.
    pub(super) loops: Vec<PathBuf>,
    /// Names that are not text.
    pub(super) unnamed: Vec<PathBuf>,
    /// Images that lie beside the folders of classes.
    pub(super) beside: usize,
}

impl PassedOver {
    /// Counts a file that is no image.
    pub(super) fn other(&mut self, name: &str) {
        *self.others.entry(ending(name)).or_default() += 1;
    }

    pub(super) fn add(&mut self, more: Self) {
        for (ending, count) in more.others {
            *self.others.entry(ending).or_default() += count;
        }
        self.dangling.extend(more.dangling);
        self.loops.extend(more.loops);
        self.unnamed.extend(more.unnamed);
        self.beside += more.beside;
    }

    /// Returns what cannot be passed over without being asked to.
    pub(super) fn problem(&self) -> Option<Problem> {
        let (what, all) = match (&self.dangling[..], &self.unnamed[..]) {
            ([], []) => return None,
            ([], unnamed) => ("names that are not text", unnamed),
            (dangling, _) => ("links to nothing", dangling),
        };
        let message = format!("there are {what}: {}", some(all));
        Some(problem(
            message,
            "rename or remove them, or set `damaged = \"skip\"` to leave them out",
        ))
    }

    /// Returns what to say of it, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![];
        let others: usize = self.others.values().sum();
        if others > 0 {
            let each = self.others.iter().map(|(ending, count)| match ending.as_str() {
                "" => format!("{count} without an ending"),
                ending => format!("{count} `.{ending}`"),
            });
            let each = each.collect::<Vec<_>>().join(", ");
            lines.push(format!("passed over {others} files that are no images: {each}"));
        }
        for (what, all) in [
            ("left out: links to nothing", &self.dangling),
            ("left out: names that are not text", &self.unnamed),
            ("passed over: links to folders that are read already", &self.loops),
        ] {
            if !all.is_empty() {
                lines.push(format!("{what}: {}", some(all)));
            }
        }
        if self.beside > 0 {
            let beside = self.beside;
            lines.push(format!(
                "passed over {beside} images that lie beside the folders of classes"
            ));
        }
        lines
    }
}

fn some(paths: &[PathBuf]) -> String {
    let shown = paths.iter().take(NAMED).map(|path: &PathBuf| format!("`{}`", shown(path)));
    let mut shown: Vec<String> = shown.collect();
    if paths.len() > NAMED {
        shown.push(format!("{} more", paths.len() - NAMED));
    }
    shown.join(", ")
}

/// Returns a path as text; what is not text in it is escaped.
fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) => text.to_owned(),
        None => format!("{path:?}").trim_matches('"').to_owned(),
    }
}
