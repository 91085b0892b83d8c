//! Kept rows as a file of the form they came in.

use super::{RowForm, Rows, RowsError};
use crate::SampleId;

/// What ends in which form.
const ENDINGS: [(RowForm, &[&str]); 6] = [
    (RowForm::Lines, &["txt", "text"]),
    (RowForm::JsonLines, &["jsonl", "ndjson", "json"]),
    (RowForm::JsonList, &["json"]),
    (RowForm::Csv, &["csv", "tsv"]),
    (RowForm::Parquet, &["parquet"]),
    (RowForm::Arrow, &["arrow", "feather", "ipc"]),
];

impl RowForm {
    /// Returns what files of this form are called after the dot, the most usual first. Of files of a text each
    /// there is a folder, whose name has no ending.
    #[must_use]
    pub fn endings(self) -> &'static [&'static str] {
        ENDINGS.iter().find(|(form, _)| *form == self).map_or(&[], |(_, endings)| endings)
    }
}

impl Rows {
    /// Returns a file of the rows of `samples`, in that order: each byte for byte as it was, below the line of
    /// names that the table had. Of Parquet and Arrow, a file of the same schema.
    ///
    /// # Errors
    ///
    /// Fails if Parquet or Arrow do not read, or do not write.
    pub fn kept(&self, samples: &[SampleId]) -> Result<Vec<u8>, RowsError> {
        if matches!(self.form, RowForm::Parquet | RowForm::Arrow) {
            let rows: Vec<usize> =
                samples.iter().map(|sample| self.places[sample.index()].start).collect();
            return Ok(self.columnar().kept(&rows)?);
        }
        let mut out = vec![];
        self.ended(&mut out, &self.bytes[self.header.clone()]);
        if self.form == RowForm::JsonList {
            out.extend_from_slice(b"[\n");
        }
        for (at, sample) in samples.iter().enumerate() {
            if self.form == RowForm::JsonList && at > 0 {
                out.extend_from_slice(b",\n");
            }
            self.ended(&mut out, self.bytes_of(*sample));
        }
        if self.form == RowForm::JsonList {
            out.extend_from_slice(b"\n]\n");
        }
        Ok(out)
    }

    /// Returns the bytes that the row of `sample` had in its file.
    #[must_use]
    pub fn bytes_of(&self, sample: SampleId) -> &[u8] {
        self.places.get(sample.index()).map_or(&[], |place| &self.bytes[place.clone()])
    }

    /// Adds `row`, and before it what the last line lacks, if that was the end of the file.
    fn ended(&self, out: &mut Vec<u8>, row: &[u8]) {
        let is_line = matches!(self.form, RowForm::Lines | RowForm::JsonLines | RowForm::Csv);
        if is_line && !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        out.extend_from_slice(row);
    }
}
