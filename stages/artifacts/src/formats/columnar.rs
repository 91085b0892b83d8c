//! Parquet and Arrow IPC: columns of numbers, of texts, and of lists of numbers.

use super::{Array, FileKind, FormatError, Scalar, Values, nested};
use arrow_array::{
    Array as ArrowArray, ArrayRef, RecordBatch,
    cast::AsArray,
    types::{
        ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
        Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_ipc::{
    reader::{FileReader, StreamReader},
    writer::{FileWriter, StreamWriter},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::{
    arrow::{
        ARROW_SCHEMA_META_KEY, ArrowWriter, ProjectionMask,
        arrow_reader::ParquetRecordBatchReaderBuilder,
    },
    basic::Compression,
    file::{
        metadata::{ColumnChunkMetaData, KeyValue},
        properties::WriterProperties,
    },
};
use std::{io::Cursor, sync::Arc};

/// A file of columns.
pub(crate) struct Columnar {
    kind: FileKind,
    bytes: Bytes,
}

type RecordBatches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

impl Columnar {
    pub(crate) fn new(kind: FileKind, bytes: Bytes) -> Self {
        Self { kind, bytes }
    }

    fn wrong(&self, error: &dyn std::error::Error) -> FormatError {
        let reason = error.to_string();
        // What the reader says of a compression that it was built without.
        if reason.contains("Disabled feature") {
            return FormatError::Compression;
        }
        FormatError::Columnar { kind: self.kind, reason }
    }

    /// Returns the schema, and the rows of column `only` of it, or of none.
    fn open(&self, only: Option<usize>) -> Result<(Schema, RecordBatches), FormatError> {
        if self.kind == FileKind::Parquet {
            let builder = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone())
                .map_err(|error| self.wrong(&error))?;
            let schema = builder.schema().as_ref().clone();
            let mask = ProjectionMask::roots(builder.parquet_schema(), only);
            let reader =
                builder.with_projection(mask).build().map_err(|error| self.wrong(&error))?;
            return Ok((schema, Box::new(reader)));
        }
        let projection = Some(only.into_iter().collect());
        let cursor = Cursor::new(self.bytes.clone());
        if self.bytes.starts_with(b"ARROW1") {
            let schema =
                FileReader::try_new(cursor.clone(), None).map_err(|error| self.wrong(&error))?;
            let schema = schema.schema().as_ref().clone();
            let reader =
                FileReader::try_new(cursor, projection).map_err(|error| self.wrong(&error))?;
            return Ok((schema, Box::new(reader)));
        }
        let schema =
            StreamReader::try_new(cursor.clone(), None).map_err(|error| self.wrong(&error))?;
        let schema = schema.schema().as_ref().clone();
        let reader =
            StreamReader::try_new(cursor, projection).map_err(|error| self.wrong(&error))?;
        Ok((schema, Box::new(reader)))
    }

    /// Returns how many rows it has.
    pub(crate) fn rows(&self) -> Result<usize, FormatError> {
        let batches = self.open(None)?.1;
        let counts = batches.map(|batch| batch.map(|batch| batch.num_rows()));
        counts.sum::<Result<usize, _>>().map_err(|error| self.wrong(&error))
    }

    /// Returns the texts of each row in the column called `name`, which may be a field of structs, or of lists of
    /// them, after a dot: one behind the other. `None` where there is none.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Option<String>>, FormatError> {
        let (schema, _) = self.open(None)?;
        let mut fields = schema.fields().iter().enumerate();
        let found = fields.find_map(|(at, field)| Some((at, nested::inside(field.name(), name)?)));
        let Some((at, inner)) = found else {
            let (what, name, known) = ("column", name.to_owned(), self.names()?);
            return Err(FormatError::NoColumn { what, name, known, setting: Some("text") });
        };
        let mut all = vec![];
        for batch in self.open(Some(at))?.1 {
            let batch = batch.map_err(|error| self.wrong(&error))?;
            let column = batch.column(0);
            let texts = nested::texts(column, inner).ok_or_else(|| FormatError::ColumnType {
                name: name.to_owned(),
                type_name: column.data_type().to_string(),
            })?;
            all.extend(texts);
        }
        Ok(all)
    }

    /// Returns a file of the same schema of these rows, in this order.
    pub(crate) fn kept(&self, rows: &[usize]) -> Result<Vec<u8>, FormatError> {
        let (schema, notes, packed) = self.whole()?;
        let (schema, mut batches, mut ends) = (schema, vec![], vec![]);
        for batch in self.all()? {
            let batch = batch.map_err(|error| self.wrong(&error))?;
            ends.push(ends.last().copied().unwrap_or(0) + batch.num_rows());
            batches.push(batch);
        }
        let slices = runs(rows, &ends);
        let slices = slices.into_iter().map(|(at, from, len)| batches[at].slice(from, len));
        self.written(slices, &schema, notes, packed).map_err(|error| self.wrong(&*error))
    }

    /// Returns the names of the columns; of one that has fields, those of the fields, after a dot.
    pub(super) fn names(&self) -> Result<Vec<String>, FormatError> {
        let (schema, _) = self.open(None)?;
        let names = schema.fields().iter().flat_map(|field| match field.data_type() {
            DataType::Struct(inner) => {
                inner.iter().map(|one| format!("{}.{}", field.name(), one.name())).collect()
            }
            _ => vec![field.name().clone()],
        });
        Ok(names.collect())
    }

    /// Returns the arrays of the column called `name`, one behind the other.
    fn chunks(&self, name: &str) -> Result<Vec<ArrayRef>, FormatError> {
        let (schema, _) = self.open(None)?;
        let is_it = |field: &Field| -> Option<Option<String>> {
            if field.name() == name {
                return Some(None);
            }
            let inner = name.strip_prefix(field.name().as_str())?.strip_prefix('.')?;
            matches!(field.data_type(), DataType::Struct(_)).then(|| Some(inner.to_owned()))
        };
        let mut fields = schema.fields().iter().enumerate();
        let (at, inner) =
            fields.find_map(|(at, field)| Some((at, is_it(field)?))).ok_or(FormatError::Gone)?;
        let mut chunks = vec![];
        for batch in self.open(Some(at))?.1 {
            let batch = batch.map_err(|error| self.wrong(&error))?;
            let column = batch.column(0).clone();
            let column = match &inner {
                Some(inner) => {
                    let fields = column.as_struct_opt().and_then(|all| all.column_by_name(inner));
                    fields.ok_or(FormatError::Gone)?.clone()
                }
                None => column,
            };
            chunks.push(column);
        }
        Ok(chunks)
    }

    /// Returns the bytes in each row of the column called `name`; where they are missing there are none.
    pub(super) fn blobs(&self, name: &str) -> Result<Vec<Vec<u8>>, FormatError> {
        let chunks = self.chunks(name)?;
        let each = chunks.iter().map(|chunk| {
            blobs(chunk).ok_or_else(|| FormatError::ColumnType {
                name: name.to_owned(),
                type_name: chunk.data_type().to_string(),
            })
        });
        Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// Returns what stands under `key` in the notes of the schema.
    pub(super) fn note(&self, key: &str) -> Result<Option<String>, FormatError> {
        Ok(self.open(None)?.0.metadata.get(key).cloned())
    }

    /// Returns the column called `name`.
    pub(super) fn get(&self, name: &str) -> Result<Values<'static>, FormatError> {
        let chunks = self.chunks(name)?;
        let unread = |chunk: &ArrayRef| FormatError::ColumnType {
            name: name.to_owned(),
            type_name: chunk.data_type().to_string(),
        };
        let Some(first) = chunks.first() else {
            let (scalar, shape, data) = (Scalar::F64, vec![0], vec![]);
            return Ok(Values::Numbers(Array { scalar, shape, data: data.into() }));
        };
        if texts(first).is_some() {
            let all = chunks.iter().map(|chunk| texts(chunk).ok_or_else(|| unread(chunk)));
            return Ok(Values::Texts(all.collect::<Result<Vec<_>, _>>()?.concat()));
        }
        let n = chunks.iter().map(|chunk| chunk.len()).sum();
        let mut shape = vec![n];
        let mut parts = vec![];
        for (at, chunk) in chunks.iter().enumerate() {
            let mut rows = 0;
            let before = chunks[..at].iter().map(|chunk| chunk.len()).sum::<usize>();
            let mut inner = chunk.clone();
            // Lists within lists are one long list.
            let mut width = 1;
            while let Some((values, each)) = listed(&inner, name, before, &mut rows)? {
                width *= each;
                inner = values;
            }
            if rows > 0 {
                match shape[..] {
                    [_] if at == 0 => shape.push(width),
                    [_, first] if first == width || chunk.is_empty() => {}
                    _ => {
                        let wanted = shape.get(1).copied().unwrap_or(1);
                        let name = name.to_owned();
                        return Err(FormatError::Ragged {
                            name,
                            row: before,
                            found: width,
                            wanted,
                        });
                    }
                }
            }
            parts.push(numbers(&inner).ok_or_else(|| unread(chunk))?);
        }
        let scalar = parts[0].0;
        if parts.iter().all(|(one, _)| *one == scalar) {
            let data = parts.into_iter().flat_map(|(_, data)| data).collect::<Vec<u8>>();
            return Ok(Values::Numbers(Array { scalar, shape, data: data.into() }));
        }
        // Some of the chunks have missing values, and are floats for it.
        let double = |(scalar, data): (Scalar, Vec<u8>)| {
            let shape = vec![data.len() / scalar.size()];
            Array { scalar, shape, data: data.into() }.doubles()
        };
        let data =
            parts.into_iter().flat_map(double).flat_map(f64::to_le_bytes).collect::<Vec<u8>>();
        Ok(Values::Numbers(Array { scalar: Scalar::F64, shape, data: data.into() }))
    }
}

impl Columnar {
    /// Returns the schema, and of Parquet its notes and how its first column is packed.
    fn whole(&self) -> Result<(SchemaRef, Option<Vec<KeyValue>>, Compression), FormatError> {
        if self.kind != FileKind::Parquet {
            return Ok((Arc::new(self.open(None)?.0), None, Compression::UNCOMPRESSED));
        }
        let builder = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone())
            .map_err(|error| self.wrong(&error))?;
        let file = builder.metadata();
        let notes = file.file_metadata().key_value_metadata().map(|notes| {
            notes.iter().filter(|note| note.key != ARROW_SCHEMA_META_KEY).cloned().collect()
        });
        let column = file.row_groups().first().and_then(|group| group.columns().first());
        let packed = column.map_or(Compression::UNCOMPRESSED, ColumnChunkMetaData::compression);
        Ok((builder.schema().clone(), notes, packed))
    }

    /// Returns all columns of all rows.
    fn all(&self) -> Result<RecordBatches, FormatError> {
        let cursor = Cursor::new(self.bytes.clone());
        let wrong = |error: ArrowError| self.wrong(&error);
        Ok(match self.kind {
            FileKind::Parquet => {
                let builder = ParquetRecordBatchReaderBuilder::try_new(self.bytes.clone());
                let reader = builder.and_then(ParquetRecordBatchReaderBuilder::build);
                Box::new(reader.map_err(|error| self.wrong(&error))?)
            }
            _ if self.is_stream() => Box::new(StreamReader::try_new(cursor, None).map_err(wrong)?),
            _ => Box::new(FileReader::try_new(cursor, None).map_err(wrong)?),
        })
    }

    /// Whether it is Arrow without an index, as it comes through a pipe.
    fn is_stream(&self) -> bool {
        !self.bytes.starts_with(b"ARROW1")
    }

    fn written(
        &self,
        batches: impl Iterator<Item = RecordBatch>,
        schema: &SchemaRef,
        notes: Option<Vec<KeyValue>>,
        packed: Compression,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        if self.kind == FileKind::Parquet {
            let by = concat!("coresift version ", env!("CARGO_PKG_VERSION"));
            let properties = WriterProperties::builder()
                .set_created_by(by.to_owned())
                .set_compression(packed)
                .set_key_value_metadata(notes);
            let mut writer =
                ArrowWriter::try_new(vec![], schema.clone(), Some(properties.build()))?;
            for batch in batches {
                writer.write(&batch)?;
            }
            return Ok(writer.into_inner()?);
        }
        if self.is_stream() {
            let mut writer = StreamWriter::try_new(vec![], schema)?;
            for batch in batches {
                writer.write(&batch)?;
            }
            return Ok(writer.into_inner()?);
        }
        let mut writer = FileWriter::try_new(vec![], schema)?;
        for batch in batches {
            writer.write(&batch)?;
        }
        Ok(writer.into_inner()?)
    }
}

/// Returns runs of `rows` that lie one behind the other in one batch: which batch, from where in it, and how many.
/// `ends` are the numbers of rows up to the end of each batch.
fn runs(rows: &[usize], ends: &[usize]) -> Vec<(usize, usize, usize)> {
    let mut runs: Vec<(usize, usize, usize)> = vec![];
    for row in rows {
        let at = ends.partition_point(|end| end <= row);
        let from = row - at.checked_sub(1).map_or(0, |before| ends[before]);
        match runs.last_mut() {
            Some((batch, begin, len)) if *batch == at && *begin + *len == from => *len += 1,
            _ => runs.push((at, from, 1)),
        }
    }
    runs
}

/// Returns the values of an array of lists, and how many each has: all the same. `rows` becomes the number of
/// lists of the outermost array.
fn listed(
    array: &ArrayRef,
    name: &str,
    before: usize,
    rows: &mut usize,
) -> Result<Option<(ArrayRef, usize)>, FormatError> {
    let n = array.len();
    let (values, each) = match array.data_type() {
        DataType::FixedSizeList(_, each) => {
            let list = array.as_fixed_size_list();
            let (from, each) = (list.value_offset_at(0), usize::try_from(*each).unwrap_or(0));
            (list.values().slice(from, n * each), each)
        }
        DataType::List(_) => even(array.as_list::<i32>().value_offsets(), name, before)
            .map(|(from, each)| (array.as_list::<i32>().values().slice(from, n * each), each))?,
        DataType::LargeList(_) => even(array.as_list::<i64>().value_offsets(), name, before)
            .map(|(from, each)| (array.as_list::<i64>().values().slice(from, n * each), each))?,
        _ => return Ok(None),
    };
    if *rows == 0 {
        *rows = n;
    }
    Ok(Some((values, each)))
}

/// Returns where the values of lists begin and how many each has, if all have as many.
fn even<O: Copy + TryInto<usize>>(
    offsets: &[O],
    name: &str,
    before: usize,
) -> Result<(usize, usize), FormatError> {
    let place = |offset: &O| (*offset).try_into().unwrap_or(0);
    let offsets: Vec<usize> = offsets.iter().map(place).collect();
    let lengths: Vec<usize> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let wanted = lengths.first().copied().unwrap_or(0);
    match lengths.iter().position(|length| *length != wanted) {
        None => Ok((offsets.first().copied().unwrap_or(0), wanted)),
        Some(at) => {
            let (name, row, found) = (name.to_owned(), before + at, lengths[at]);
            Err(FormatError::Ragged { name, row, found, wanted })
        }
    }
}

/// Returns texts, also those that stand in a dictionary; a missing one is empty.
fn texts(array: &ArrayRef) -> Option<Vec<String>> {
    let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().map(owned).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(owned).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(owned).collect(),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let values = texts(dictionary.values())?;
            let keys = dictionary.normalized_keys();
            let one = |(at, key): (usize, usize)| match array.is_null(at) {
                true => String::new(),
                false => values[key].clone(),
            };
            keys.into_iter().enumerate().map(one).collect()
        }
        _ => return None,
    })
}

/// Returns bytes; where they are missing there are none.
fn blobs(array: &ArrayRef) -> Option<Vec<Vec<u8>>> {
    let owned = |bytes: Option<&[u8]>| bytes.unwrap_or_default().to_vec();
    Some(match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().iter().map(owned).collect(),
        DataType::LargeBinary => array.as_binary::<i64>().iter().map(owned).collect(),
        DataType::BinaryView => array.as_binary_view().iter().map(owned).collect(),
        _ => return None,
    })
}

/// Returns the elements of an array of numbers, little-endian. Where some are missing they are f64, and the
/// missing ones NaN.
fn numbers(array: &ArrayRef) -> Option<(Scalar, Vec<u8>)> {
    Some(match array.data_type() {
        DataType::Boolean if array.null_count() > 0 => {
            let number =
                |flag: Option<bool>| flag.map_or(f64::NAN, |flag| f64::from(u8::from(flag)));
            let flags = array.as_boolean().iter().map(number);
            (Scalar::F64, flags.flat_map(f64::to_le_bytes).collect())
        }
        DataType::Boolean => {
            let flags = array.as_boolean();
            (Scalar::Bool, flags.iter().map(|flag| u8::from(flag == Some(true))).collect())
        }
        DataType::Int8 => {
            elements::<Int8Type, 1>(array, Scalar::I8, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::Int16 => {
            elements::<Int16Type, 2>(array, Scalar::I16, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::Int32 => {
            elements::<Int32Type, 4>(array, Scalar::I32, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::Int64 => {
            elements::<Int64Type, 8>(array, Scalar::I64, |v| (v.to_le_bytes(), v as f64))
        }
        DataType::UInt8 => {
            elements::<UInt8Type, 1>(array, Scalar::U8, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::UInt16 => {
            elements::<UInt16Type, 2>(array, Scalar::U16, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::UInt32 => {
            elements::<UInt32Type, 4>(array, Scalar::U32, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::UInt64 => {
            elements::<UInt64Type, 8>(array, Scalar::U64, |v| (v.to_le_bytes(), v as f64))
        }
        DataType::Float16 => {
            elements::<Float16Type, 2>(array, Scalar::F16, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::Float32 => {
            elements::<Float32Type, 4>(array, Scalar::F32, |v| (v.to_le_bytes(), v.into()))
        }
        DataType::Float64 => {
            elements::<Float64Type, 8>(array, Scalar::F64, |v| (v.to_le_bytes(), v))
        }
        _ => return None,
    })
}

fn elements<T: ArrowPrimitiveType, const N: usize>(
    array: &ArrayRef,
    scalar: Scalar,
    of: impl Fn(T::Native) -> ([u8; N], f64),
) -> (Scalar, Vec<u8>) {
    let array = array.as_primitive::<T>();
    if array.null_count() == 0 {
        return (scalar, array.values().iter().flat_map(|value| of(*value).0).collect());
    }
    let double = |value: Option<T::Native>| value.map_or(f64::NAN, |value| of(value).1);
    (Scalar::F64, array.iter().map(double).flat_map(f64::to_le_bytes).collect())
}
