//! Rows in the store: the bytes of their file once, and where in it each lies.

use super::{RowFields, RowForm, Rows, RowsError, cells, taken};
use crate::{
    SampleId,
    parts::{self, PartBytes, PartError, Parts, StoredTensor},
};
use bytes::Bytes;
use cache::{Artifact, Blob, Store};
use engine::{StageCtx, StageError};
use serde::{Deserialize, Serialize};
use std::{io::Write as _, ops::Range};

/// The names of the parts. Proxies, scores and subsets have them too, of the data they stand on.
pub const ROW_PARTS: [&str; 3] = [BYTES, PLACES, META];

/// The bytes of the file.
const BYTES: &str = "rows";
/// Where in it each sample's row lies.
const PLACES: &str = "row_places";
/// What form they have.
const META: &str = "rows_meta";

/// What is known of rows as a whole.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsMeta {
    form: RowForm,
    text: Vec<String>,
    /// Where the line of names lies.
    header: Range<usize>,
    delimiter: u8,
}

/// The rows of a data set in the store, of which only where they lie was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRows {
    bytes: Blob,
    meta: Blob,
    places: Vec<Range<usize>>,
}

impl StoredRows {
    /// Returns the rows of `artifact`, which came in on `port`, if its data has any.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn read(
        ctx: &StageCtx<'_>,
        port: &str,
        artifact: &Artifact,
    ) -> Result<Option<Self>, StageError> {
        let part = |name| artifact.parts.get(name).copied();
        let (Some(bytes), Some(meta)) = (part(BYTES), part(META)) else { return Ok(None) };
        let part = parts::part(ctx, port, artifact, PLACES)?;
        let places = places(part.without_port()).map_err(|error| part.wrong(error))?;
        Ok(Some(Self { bytes, meta, places }))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns those at `from`, in that order.
    pub(crate) fn take(&self, from: &[SampleId]) -> Self {
        Self { places: taken(&self.places, from), ..self.clone() }
    }

    /// Returns the parts: what is there already, and where the rows lie.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub(crate) fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        let places = put_places(ctx, &self.places)?;
        let parts = [(BYTES, self.bytes), (META, self.meta), (PLACES, places)];
        Ok(parts.map(|(name, blob)| (name.to_owned(), blob)).into())
    }
}

impl Rows {
    /// Stores them.
    ///
    /// # Errors
    ///
    /// Fails if the store does.
    pub fn put(&self, ctx: &StageCtx<'_>) -> Result<Parts, StageError> {
        // Written in two pieces, so that the bytes are in memory once.
        let mut writer = ctx.writer()?;
        let header = parts::header_of_bytes(&[("bytes", vec![self.bytes.len()])])?;
        let unwritten = crate::ArtifactError::Unwritten;
        writer.write_all(&header).map_err(unwritten)?;
        writer.write_all(&self.bytes).map_err(unwritten)?;
        let meta = RowsMeta {
            form: self.form,
            text: self.fields.text.clone(),
            header: self.header.clone(),
            delimiter: self.delimiter,
        };
        let (bytes, meta) = (writer.finish()?, parts::put_json(ctx, &meta)?);
        StoredRows { bytes, meta, places: self.places.clone() }.put(ctx)
    }

    /// Returns the rows of the data set on `port`, or `None` if it has none.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn read(
        ctx: &StageCtx<'_>,
        port: &str,
        artifact: &Artifact,
    ) -> Result<Option<Self>, StageError> {
        if !artifact.parts.contains_key(BYTES) {
            return Ok(None);
        }
        let meta = parts::part(ctx, port, artifact, META)?.json()?;
        let places = parts::part(ctx, port, artifact, PLACES)?;
        let found = self::places(places.without_port()).map_err(|error| places.wrong(error))?;
        let part = parts::part(ctx, port, artifact, BYTES)?;
        let range = part.u8("bytes")?;
        let bytes = Bytes::from_owner(part.into_bytes()).slice(range);
        let mut rows = Self::stored(meta, bytes, found).map_err(|error| places.wrong(error))?;
        rows.decode_columns().map_err(|error| places.wrong(error))?;
        Ok(Some(rows))
    }

    /// Returns the rows behind an artifact in `store`, or `None` if its data has none. They can be written; their
    /// texts are not read.
    ///
    /// # Errors
    ///
    /// Fails if they do not read.
    pub fn open(store: &Store, artifact: &Artifact) -> Result<Option<Self>, PartError> {
        if !artifact.parts.contains_key(BYTES) {
            return Ok(None);
        }
        let meta = PartBytes::open(store, artifact, META)?.json()?;
        let places = places(&PartBytes::open(store, artifact, PLACES)?)?;
        let part = PartBytes::open(store, artifact, BYTES)?;
        let range = part.u8("bytes")?;
        let bytes = Bytes::from_owner(part.into_bytes()).slice(range);
        Self::stored(meta, bytes, places).map(Some).map_err(|_| PartError::Cut(BYTES.to_owned()))
    }

    fn stored(meta: RowsMeta, bytes: Bytes, places: Vec<Range<usize>>) -> Result<Self, RowsError> {
        let RowsMeta { form, text, header, delimiter } = meta;
        let fields = RowFields { text, ..RowFields::default() };
        let is_columnar = matches!(form, RowForm::Parquet | RowForm::Arrow);
        let whole = |place: &Range<usize>| place.start <= place.end && place.end <= bytes.len();
        if !whole(&header) || !(is_columnar || places.iter().all(whole)) {
            return Err(RowsError::Cut);
        }
        let mut rows = Self { header, delimiter, places, ..Self::empty(form, fields, bytes) };
        if form == RowForm::Csv {
            let header = &rows.bytes[rows.header.clone()];
            rows.cells = cells::TableCells::of(header, delimiter, &rows.fields)?;
        }
        Ok(rows)
    }

    fn decode_columns(&mut self) -> Result<(), RowsError> {
        if matches!(self.form, RowForm::Parquet | RowForm::Arrow) {
            self.decode()?;
        }
        Ok(())
    }
}

fn put_places(ctx: &StageCtx<'_>, places: &[Range<usize>]) -> Result<Blob, StageError> {
    let of = |end: fn(&Range<usize>) -> usize| -> Vec<u64> {
        places.iter().map(|place| end(place) as u64).collect()
    };
    let (begins, ends) = (of(|place| place.start), of(|place| place.end));
    let tensors = [StoredTensor::wholes("begin", &begins), StoredTensor::wholes("end", &ends)];
    parts::put_tensors(ctx, &tensors)
}

fn places(part: &PartBytes) -> Result<Vec<Range<usize>>, PartError> {
    let (begins, ends) = (part.wholes("begin")?, part.wholes("end")?);
    if begins.len() != ends.len() {
        return Err(PartError::Unfit("end"));
    }
    let place = |(begin, end): (u64, u64)| Some(begin.try_into().ok()?..end.try_into().ok()?);
    let places: Option<Vec<Range<usize>>> = begins.into_iter().zip(ends).map(place).collect();
    places.ok_or_else(|| PartError::Position("end".to_owned()))
}
