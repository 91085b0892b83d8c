//! The embeddings of a split where their files have them: first their shapes, then their numbers, some at a time.

use super::super::{
    columns::WantedColumns,
    image_arrays,
    labels::{FileLabels, refused},
    told,
};
use crate::OwnFileError;
use artifacts::{
    columns::SampleColumns,
    formats::{Array, ArrayError, DataFile, FormatError, Scalar, Values},
    parts,
};
use engine::StageError;
use std::{borrow::Cow, collections::BTreeSet, path::Path};

/// About so many bytes of f32 are written at a time.
const BLOCK: usize = 8 << 20;

/// A file that was opened.
pub(super) struct OpenFile<'p> {
    pub(super) path: &'p Path,
    pub(super) file: DataFile,
}

impl<'p> OpenFile<'p> {
    pub(super) fn open(path: &'p Path) -> Result<Self, StageError> {
        let file = DataFile::open(path).map_err(|error| refused(path, ArrayError::from(error)))?;
        Ok(Self { path, file })
    }

    /// Returns the error of this file.
    pub(super) fn wrong(&self, error: impl Into<OwnFileError>) -> StageError {
        refused(self.path, error)
    }
}

/// What in a file is embeddings.
pub(super) enum Found {
    /// An array or a column of lists.
    Array(String),
    /// Columns of numbers.
    Columns(Vec<String>),
}

impl Found {
    fn array<'f>(&self, file: &'f DataFile) -> Result<Array<'f>, ArrayError> {
        let values = match self {
            Self::Array(name) => file.get(name)?,
            Self::Columns(names) => file.matrix(names)?,
        };
        match values {
            Values::Numbers(array) => Ok(array),
            Values::Texts(_) => Err(ArrayError::EmbeddingTexts),
        }
    }
}

/// The embeddings in a file.
pub(super) struct Piece<'f> {
    from: &'f OpenFile<'f>,
    found: Found,
    /// Their numbers, unless these are read once more when they are wanted.
    array: Option<Array<'f>>,
    scalar: Scalar,
    /// The shape of an image, if they are images in truth.
    images: Option<Vec<usize>>,
    pub(super) n: usize,
    d: usize,
    /// The row of each sample, if the file has an index that says so.
    pub(super) order: Option<Vec<usize>>,
}

impl<'f> Piece<'f> {
    /// Looks at what is `found` in a file, behind other files with `before` samples; with `keep`, what had to be
    /// unpacked or parsed for that stays in memory.
    pub(super) fn new(
        from: &'f OpenFile<'f>,
        found: Found,
        before: usize,
        keep: bool,
    ) -> Result<Self, ArrayError> {
        let array = found.array(&from.file)?;
        let (n, d) = array.rows()?;
        let order = from.file.order_after(before, n)?;
        let is_images = array.scalar == Scalar::U8 && array.shape.len() == 4;
        let layout = image_arrays::layout(&array.shape).filter(|_| is_images);
        let images = layout.map(image_arrays::ImageLayout::sample);
        let scalar = array.scalar;
        let array = Some(array).filter(|one| keep || matches!(one.data, Cow::Borrowed(_)));
        Ok(Self { from, found, array, scalar, images, n, d, order })
    }
}

/// The embeddings of a split: those of one file, or of several, one behind the other.
#[derive(Default)]
pub(super) struct Embeddings<'f> {
    pieces: Vec<Piece<'f>>,
    pub(super) n: usize,
    pub(super) d: usize,
}

impl<'f> Embeddings<'f> {
    /// Adds those of another file.
    ///
    /// # Errors
    ///
    /// Fails if they have another length than those before.
    pub(super) fn push(&mut self, piece: Piece<'f>) -> Result<(), StageError> {
        if let Some(first) = self.pieces.first()
            && piece.d != first.d
        {
            let (found, wanted) = (piece.d, first.d);
            let first = first.from.path.to_owned();
            return Err(piece.from.wrong(OwnFileError::PoolWidth { found, first, wanted }));
        }
        self.n += piece.n;
        self.d = piece.d;
        self.pieces.push(piece);
        Ok(())
    }

    /// Returns what to tell of them beside their number and length.
    pub(super) fn notes(&self) -> Vec<String> {
        let Some(first) = self.pieces.first() else { return vec![] };
        let images = first.images.as_ref().map(|shape| {
            format!("these are images of {shape:?}: `load.image-arrays` keeps them as images")
        });
        let other = self.pieces.iter().find(|piece| piece.scalar != first.scalar);
        let types = other.map(|other| {
            format!(
                "`{}` has numbers of type {:?} and `{}` of type {:?}: all become f32",
                first.from.path.display(),
                first.scalar,
                other.from.path.display(),
                other.scalar
            )
        });
        let several = self.pieces.len() > 1;
        let files = several.then(|| {
            let [from, to] = [first, &self.pieces[self.pieces.len() - 1]]
                .map(|one| one.from.path.display().to_string());
            format!("{} files, from `{from}` to `{to}`", self.pieces.len())
        });
        let columns = match &first.found {
            Found::Columns(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(format!("embeddings are the columns {}", told::some(&names)))
            }
            Found::Array(_) => None,
        };
        images.into_iter().chain(types).chain(files).chain(columns).collect()
    }

    /// Calls `see` with the first `n` of them, some at a time, f32 as they are stored.
    ///
    /// # Errors
    ///
    /// Fails if one holds a number that is not finite, or as `see` does.
    pub(super) fn each_block(
        &self,
        n: usize,
        see: &mut dyn FnMut(&[u8]) -> Result<(), StageError>,
    ) -> Result<(), StageError> {
        let mut left = n;
        for piece in &self.pieces {
            let wrong = |error: ArrayError| piece.from.wrong(error);
            let again;
            let array = match &piece.array {
                Some(array) => array,
                None => {
                    again = piece.found.array(&piece.from.file).map_err(wrong)?;
                    &again
                }
            };
            if array.rows().map_err(wrong)? != (piece.n, piece.d) {
                return Err(wrong(FormatError::Gone.into()));
            }
            let rows = piece.n.min(left);
            let at_once = (BLOCK / 4 / piece.d).max(1);
            for from in (0..rows).step_by(at_once) {
                let to = rows.min(from + at_once);
                let values = match &piece.order {
                    Some(order) => array.embeddings_of(order[from..to].iter().copied()),
                    None => array.embeddings_of(from..to),
                };
                see(&parts::bytes_of_f32(&values.map_err(wrong)?))?;
                piece.from.file.release();
            }
            left -= rows;
        }
        Ok(())
    }
}

/// The labels, ids and counts of a split, one file's behind the other's.
pub(super) struct Joined<'f> {
    labels: Vec<(&'f OpenFile<'f>, FileLabels)>,
    columns: Vec<(&'f OpenFile<'f>, SampleColumns)>,
}

impl<'f> Joined<'f> {
    pub(super) fn new() -> Self {
        Self { labels: vec![], columns: vec![] }
    }

    pub(super) fn push_labels(&mut self, from: &'f OpenFile<'f>, labels: FileLabels) {
        self.labels.push((from, labels));
    }

    pub(super) fn push_columns(&mut self, from: &'f OpenFile<'f>, columns: SampleColumns) {
        self.columns.push((from, columns));
    }

    /// Returns the labels of all files.
    ///
    /// # Errors
    ///
    /// Fails if a file has labels of another kind than the first, or a text that is none of `classes`.
    pub(super) fn labels(&mut self, classes: Option<&[String]>) -> Result<FileLabels, StageError> {
        let mut all = std::mem::take(&mut self.labels).into_iter();
        let Some((first, mut joined)) = all.next() else { return Ok(FileLabels::None(0)) };
        joined.known(classes).map_err(|error| first.wrong(error))?;
        for (from, more) in all {
            more.known(classes).map_err(|error| from.wrong(error))?;
            let (found, wanted) = (more.what(), joined.what());
            joined = joined.and(more).ok_or_else(|| {
                let first = first.path.to_owned();
                from.wrong(OwnFileError::PoolLabels { found, first, wanted })
            })?;
        }
        Ok(joined)
    }

    /// Returns the ids and counts of all files, and what to tell of them.
    ///
    /// # Errors
    ///
    /// Fails if ids were asked for, and one stands in two files.
    pub(super) fn columns(
        &mut self,
        wanted: WantedColumns<'_>,
    ) -> Result<(SampleColumns, Option<String>), StageError> {
        let all = std::mem::take(&mut self.columns);
        let mut note = None;
        let without = all.iter().find(|(_, columns)| columns.ids.is_none());
        let some = all.iter().any(|(_, columns)| columns.ids.is_some());
        if let Some((from, _)) = without.filter(|_| some) {
            note = Some(format!("`{}` has no ids, so none are kept", from.path.display()));
        }
        let mut joined = SampleColumns {
            ids: (some && without.is_none()).then(Vec::new),
            ..SampleColumns::default()
        };
        let mut seen = BTreeSet::new();
        let several = all.len() > 1;
        for (from, columns) in all {
            for (name, mut counts) in columns.counts {
                joined.counts.entry(name).or_default().append(&mut counts);
            }
            let Some(ids) = &mut joined.ids else { continue };
            let found = columns.ids.unwrap_or_default();
            let again = found.iter().find(|id| several && !seen.insert((*id).clone()));
            match again {
                None => ids.extend(found),
                Some(id) if wanted.ids.is_some() => {
                    return Err(from.wrong(OwnFileError::PoolId(id.clone())));
                }
                // A column that was not asked for may be anything.
                Some(id) => {
                    note = Some(format!(
                        "`{}` has the id `{id}`, which stands in a file before it: no ids are kept",
                        from.path.display()
                    ));
                    joined.ids = None;
                }
            }
        }
        Ok((joined, note))
    }
}

/// Returns the columns that were asked for of a file with embeddings.
pub(super) fn columns_of(
    piece: &Piece<'_>,
    wanted: WantedColumns<'_>,
) -> Result<SampleColumns, StageError> {
    let found = wanted.read(&piece.from.file, piece.n, piece.order.as_deref());
    found.map_err(|error| piece.from.wrong(error))
}
