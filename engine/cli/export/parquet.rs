//! A table as a Parquet file: one row group, uncompressed, every column plain and required. That
//! is the least the format asks for, and what every reader of it reads.

use super::table::{Cell, Table};

const MAGIC: &[u8] = b"PAR1";

/// The types of numbers, by their numbers in `parquet.thrift`.
const INT64: i64 = 2;
const FLOAT: i64 = 4;
const DOUBLE: i64 = 5;

/// A column as it is written.
struct Chunk {
    name: String,
    kind: i64,
    /// Where its page begins, and how long it is with its header.
    from: usize,
    length: usize,
}

/// Returns `table` as a Parquet file.
pub(super) fn file(table: &Table<'_>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let rows = table.rows as i64;
    let chunk = |(column, name): (usize, String)| {
        let (kind, data) = plain(table, column);
        let from = out.len();
        let size = data.len() as i64;
        let mut page = Thrift::default();
        page.int(1, 0).int(2, size).int(3, size);
        // Plain values; no levels, but the header names an encoding for them.
        page.begin(5).int(1, rows).int(2, 0).int(3, 3).int(4, 3).end();
        out.extend(page.done());
        out.extend(data);
        Chunk { name, kind, from, length: out.len() - from }
    };
    let chunks: Vec<Chunk> = table.names().into_iter().enumerate().map(chunk).collect();
    let footer = footer(&chunks, rows);
    out.extend(&footer);
    let length = u32::try_from(footer.len()).expect("a heading of less than 4 GiB");
    out.extend(length.to_le_bytes());
    out.extend(MAGIC);
    out
}

/// Returns the type of a column, and its values one after another.
fn plain(table: &Table<'_>, column: usize) -> (i64, Vec<u8>) {
    let (mut kind, mut data) = (INT64, vec![]);
    for row in 0..table.rows {
        match table.cell(row, column) {
            Cell::Whole(value) => data.extend(value.to_le_bytes()),
            Cell::Single(value) => {
                kind = FLOAT;
                data.extend(value.to_le_bytes());
            }
            Cell::Double(value) => {
                kind = DOUBLE;
                data.extend(value.to_le_bytes());
            }
        }
    }
    (kind, data)
}

/// Returns the `FileMetaData` of `parquet.thrift`.
fn footer(chunks: &[Chunk], rows: i64) -> Vec<u8> {
    let mut out = Thrift::default();
    out.int(1, 1).list(2, STRUCT, chunks.len() + 1);
    out.open().text(4, "table").int(5, chunks.len() as i64).end();
    for chunk in chunks {
        out.open().int(1, chunk.kind).int(3, 0).text(4, &chunk.name).end();
    }
    let whole: usize = chunks.iter().map(|chunk| chunk.length).sum();
    out.long(3, rows).list(4, STRUCT, 1).open().list(1, STRUCT, chunks.len());
    for chunk in chunks {
        let (from, length) = (chunk.from as i64, chunk.length as i64);
        out.open().long(2, from).begin(3).int(1, chunk.kind);
        out.list(2, I32, 1).item_int(0).list(3, BINARY, 1).item_text(&chunk.name);
        out.int(4, 0).long(5, rows).long(6, length).long(7, length).long(9, from).end().end();
    }
    out.long(2, whole as i64).long(3, rows).end();
    out.text(6, concat!("coresift version ", env!("CARGO_PKG_VERSION")));
    out.done()
}

const I32: u8 = 5;
const I64: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A structure in Thrift's compact protocol.
#[derive(Default)]
struct Thrift {
    out: Vec<u8>,
    /// The last field of each structure that is open, the innermost last; the outermost apart.
    last: Vec<u8>,
    outermost: u8,
}

impl Thrift {
    /// A field is named by how far its number is from the last one's; ours are never far apart.
    fn field(&mut self, number: u8, kind: u8) {
        let last = self.last.last_mut().unwrap_or(&mut self.outermost);
        self.out.push((number - *last) << 4 | kind);
        *last = number;
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint((value << 1 ^ value >> 63).cast_unsigned());
    }

    fn int(&mut self, number: u8, value: i64) -> &mut Self {
        self.field(number, I32);
        self.item_int(value)
    }

    fn long(&mut self, number: u8, value: i64) -> &mut Self {
        self.field(number, I64);
        self.item_int(value)
    }

    fn text(&mut self, number: u8, text: &str) -> &mut Self {
        self.field(number, BINARY);
        self.item_text(text)
    }

    fn item_int(&mut self, value: i64) -> &mut Self {
        self.zigzag(value);
        self
    }

    fn item_text(&mut self, text: &str) -> &mut Self {
        self.varint(text.len() as u64);
        self.out.extend(text.as_bytes());
        self
    }

    /// Begins a list: its items follow.
    fn list(&mut self, number: u8, kind: u8, count: usize) -> &mut Self {
        self.field(number, LIST);
        match u8::try_from(count) {
            Ok(few @ 0..15) => self.out.push(few << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                self.varint(count as u64);
            }
        }
        self
    }

    /// Begins a structure that is a field.
    fn begin(&mut self, number: u8) -> &mut Self {
        self.field(number, STRUCT);
        self.open()
    }

    /// Begins a structure that is an item of a list.
    fn open(&mut self) -> &mut Self {
        self.last.push(0);
        self
    }

    fn end(&mut self) -> &mut Self {
        self.out.push(0);
        self.last.pop();
        self
    }

    fn done(mut self) -> Vec<u8> {
        self.out.push(0);
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tensor::Column, *};
    use safetensors::{Dtype, tensor::TensorView};

    #[test]
    fn a_small_file_is_as_it_is_by_hand() {
        let scores: Vec<u8> = [0.5_f32, -1.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let view = TensorView::new(Dtype::F32, vec![2], &scores).expect("two numbers");
        let mut table = Table::of(2);
        table.add("score".to_owned(), Column::of(&view).expect("numbers"), 1, 0);
        table.number("index");
        // Put together byte by byte from parquet.thrift, and read by pyarrow.
        let page = b"\x15\0\x15\x20\x15\x20\x2c\x15\x04\x15\0\x15\x06\x15\x06\0\0";
        let index = [&page[..], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let page = b"\x15\0\x15\x10\x15\x10\x2c\x15\x04\x15\0\x15\x06\x15\x06\0\0";
        let score = [&page[..], &scores].concat();
        let mut heading = b"\x15\x02\x19\x3cH\x05table\x15\x04\0".to_vec();
        heading.extend(b"\x15\x04\x25\0\x18\x05index\0\x15\x08\x25\0\x18\x05score\0");
        heading.extend(b"\x16\x04\x19\x1c\x19\x2c\x26\x08\x1c\x15\x04\x19\x15\0\x19\x18\x05index");
        heading.extend(b"\x15\0\x16\x04\x16\x42\x16\x42\x26\x08\0\0\x26\x4a\x1c\x15\x08\x19\x15\0");
        heading.extend(
            b"\x19\x18\x05score\x15\0\x16\x04\x16\x32\x16\x32\x26\x4a\0\0\x16\x74\x16\x04\0",
        );
        let by = concat!("coresift version ", env!("CARGO_PKG_VERSION"));
        heading.extend([0x28, by.len() as u8]);
        heading.extend(by.bytes().chain([0]));
        let length = (heading.len() as u32).to_le_bytes();
        let wanted = [b"PAR1", &index[..], &score, &heading, &length, b"PAR1"].concat();
        assert_eq!(file(&table), wanted);
    }

    #[test]
    fn numbers_and_fields_are_those_of_the_compact_protocol() {
        let mut thrift = Thrift::default();
        thrift.int(1, 0).int(2, -1).long(5, 300).begin(6).text(1, "ab").end().list(7, I32, 2);
        thrift.item_int(1).item_int(64);
        let wanted = b"\x15\x00\x15\x01\x36\xd8\x04\x1c\x18\x02ab\x00\x19\x25\x02\x80\x01\x00";
        assert_eq!(thrift.done(), wanted);
        let mut long = Thrift::default();
        long.list(1, BINARY, 15);
        assert_eq!(long.out, b"\x19\xf8\x0f");
    }
}
