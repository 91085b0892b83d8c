//! The texts of a split, and what their rows say of them.

use super::super::{columns, labels::refused};
use artifacts::{columns::SampleColumns, formats::ArrayError, rows::Rows};
use engine::StageError;
use std::path::PathBuf;

/// What a row says, beside its text.
pub(super) struct Seen {
    pub(super) label: Option<String>,
    pub(super) id: Option<String>,
    pub(super) tokens: u64,
    pub(super) bytes: u64,
}

/// The texts of a split.
pub(super) struct Texts {
    pub(super) path: PathBuf,
    pub(super) rows: Rows,
    pub(super) seen: Vec<Seen>,
    /// How many texts have something in each bucket, if that is asked for.
    pub(super) documents: Vec<u64>,
}

impl Texts {
    /// Returns ids and counts. Ids of the user's have to differ.
    pub(super) fn columns(&self, are_given: bool) -> Result<SampleColumns, StageError> {
        let id = |(at, seen): (usize, &Seen)| match &seen.id {
            Some(id) => id.clone(),
            None => self.rows.name(at).to_owned(),
        };
        let ids: Vec<String> = self.seen.iter().enumerate().map(id).collect();
        if are_given && let Some((first, second)) = columns::repeated(&ids) {
            let id = ids[second].clone();
            return Err(refused(&self.path, ArrayError::IdTwice { id, first, second }));
        }
        let count = |of: fn(&Seen) -> u64| self.seen.iter().map(of).collect::<Vec<u64>>();
        let counts = [("tokens", count(|seen| seen.tokens)), ("bytes", count(|seen| seen.bytes))];
        let counts = counts.map(|(name, counts)| (name.to_owned(), counts)).into();
        Ok(SampleColumns { ids: Some(ids), counts })
    }

    /// Returns the label of each as it is written, if there are labels.
    pub(super) fn labels(&mut self) -> Option<Vec<String>> {
        self.seen.iter_mut().map(|seen| seen.label.take()).collect()
    }
}
