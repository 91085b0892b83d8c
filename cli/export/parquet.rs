//! A table as a Parquet file: one row group, every column required.

use super::table::{SampleTable, TableValue};
use parquet::{
    basic::{LogicalType, Repetition, Type as Kind},
    data_type::{ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type},
    errors::Result,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use std::sync::Arc;

/// The values of a column.
enum ParquetValues {
    Whole(Vec<i64>),
    Single(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

/// Returns `table` as a Parquet file.
///
/// # Errors
///
/// Fails if the format cannot hold it.
pub(super) fn file(table: &SampleTable<'_>) -> Result<Vec<u8>> {
    let names = table.names();
    let columns: Vec<ParquetValues> =
        (0..names.len()).map(|column| values(table, column)).collect();
    let field = |(name, values): (&String, &ParquetValues)| {
        let kind = match values {
            ParquetValues::Whole(_) => Kind::INT64,
            ParquetValues::Single(_) => Kind::FLOAT,
            ParquetValues::Double(_) => Kind::DOUBLE,
            ParquetValues::Text(_) => Kind::BYTE_ARRAY,
        };
        let text = matches!(values, ParquetValues::Text(_)).then_some(LogicalType::String);
        let field = Type::primitive_type_builder(name, kind).with_logical_type(text);
        field.with_repetition(Repetition::REQUIRED).build().map(Arc::new)
    };
    let fields = names.iter().zip(&columns).map(field).collect::<Result<_>>()?;
    let schema = Type::group_type_builder("table").with_fields(fields).build()?;
    let by = concat!("coresift version ", env!("CARGO_PKG_VERSION"));
    let properties = WriterProperties::builder().set_created_by(by.to_owned()).build();
    let mut writer = SerializedFileWriter::new(vec![], Arc::new(schema), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for values in &columns {
        let mut column = group.next_column()?.expect("there is one for every field");
        match values {
            ParquetValues::Whole(all) => {
                column.typed::<Int64Type>().write_batch(all, None, None)?
            }
            ParquetValues::Single(all) => {
                column.typed::<FloatType>().write_batch(all, None, None)?
            }
            ParquetValues::Double(all) => {
                column.typed::<DoubleType>().write_batch(all, None, None)?
            }
            ParquetValues::Text(all) => {
                column.typed::<ByteArrayType>().write_batch(all, None, None)?
            }
        };
        column.close()?;
    }
    group.close()?;
    writer.into_inner()
}

fn values(table: &SampleTable<'_>, column: usize) -> ParquetValues {
    let mut all = ParquetValues::Whole(vec![]);
    for row in 0..table.rows {
        match (table.cell(row, column), &mut all) {
            (TableValue::Whole(value), ParquetValues::Whole(all)) => all.push(value),
            (TableValue::Single(value), ParquetValues::Single(all)) => all.push(value),
            (TableValue::Double(value), ParquetValues::Double(all)) => all.push(value),
            (TableValue::Text(value), ParquetValues::Text(all)) => all.push(value.as_str().into()),
            // The first tells what the others are.
            (TableValue::Whole(value), _) => all = ParquetValues::Whole(vec![value]),
            (TableValue::Single(value), _) => all = ParquetValues::Single(vec![value]),
            (TableValue::Double(value), _) => all = ParquetValues::Double(vec![value]),
            (TableValue::Text(value), _) => all = ParquetValues::Text(vec![value.as_str().into()]),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::tensor::TensorElements, *};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use safetensors::{Dtype, tensor::TensorView};
    use std::io::Write as _;

    #[test]
    fn a_file_reads_back() {
        let scores: Vec<u8> = [0.5_f32, 0.25].into_iter().flat_map(f32::to_le_bytes).collect();
        let view = TensorView::new(Dtype::F32, vec![2], &scores).expect("two numbers");
        let mut table = SampleTable::of(2);
        table.add("score".to_owned(), TensorElements::of(&view).expect("numbers"), 1, 0);
        table.number("index");
        table.ids(vec!["a".to_owned(), "b, \"c\"".to_owned()]);
        assert_eq!(table.csv(), b"index,id,score\n0,a,0.5\n1,\"b, \"\"c\"\"\",0.25\n");
        let bytes = file(&table).expect("it holds them");
        assert!(file(&table).is_ok_and(|again| again == bytes), "equal tables, equal files");
        let mut disk = tempfile::tempfile().expect("a file");
        disk.write_all(&bytes).expect("written");
        let reader = SerializedFileReader::new(disk).expect("Parquet");
        let rows = reader.get_row_iter(None).expect("rows");
        let rows: Vec<String> = rows.map(|row| row.expect("a row").to_string()).collect();
        assert_eq!(
            rows,
            [r#"{index: 0, id: "a", score: 0.5}"#, r#"{index: 1, id: "b, "c"", score: 0.25}"#]
        );
    }
}
