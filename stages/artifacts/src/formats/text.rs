//! Tables as text: comma or tab separated values with or without names, one value a line, JSON.

use super::{Array, FormatError, Scalar, Values, python::Decoded};
use csv::{Reader, ReaderBuilder, StringRecord, Trim};
use serde_json::{Map, Value};
use std::{borrow::Cow, collections::BTreeSet};

/// A table as text.
pub(super) struct TextTable<'a> {
    text: Cow<'a, str>,
    delimiter: u8,
    /// The names of the columns, if the first line gives them.
    pub(super) names: Option<Vec<String>>,
    /// Whether that line is a comment.
    marked: bool,
    /// How many columns there are.
    pub(super) columns: usize,
}

/// What a line that is no row begins with.
const COMMENT: char = '#';

/// How cells that hold no number are written, R's, pandas' and Excel's, and flags: none of these names a column.
const NO_NAMES: [&str; 10] =
    ["", "nan", "na", "n/a", "null", "none", "inf", "-inf", "true", "false"];

fn is_number(cell: &str) -> bool {
    cell.parse::<f64>().is_ok()
}

/// Whether a cell is written in digits: a number that reads as infinite is then too large for its type, and does
/// not say that it is infinite.
fn has_digits(cell: &str) -> bool {
    cell.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether a cell is a number that a 64-bit float does not hold.
fn is_beyond(cell: &str) -> bool {
    has_digits(cell) && cell.parse::<f64>().is_ok_and(f64::is_infinite)
}

impl<'a> TextTable<'a> {
    /// Reads the first lines of a table.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            FormatError::NotText { line: line + 1 }
        })?;
        // Excel is told by a first line what separates cells.
        let (said, text) = match text.split_once('\n') {
            Some((first, rest)) => match *first.trim_end().as_bytes() {
                [b's', b'e', b'p', b'=', delimiter] => (Some(delimiter), rest),
                _ => (None, text),
            },
            None => (None, text),
        };
        let comment = |line: &&str| line.trim_start().starts_with(COMMENT);
        let lines = || text.lines().filter(|line| !line.trim().is_empty());
        let head = lines().find(|line| !comment(line)).unwrap_or_default();
        let delimiter = said.unwrap_or_else(|| delimiter_of(head));
        // Columns of numbers may stand below each other by several blanks.
        let lined_up = || text.lines().map(one_blank).collect::<Vec<_>>().join("\n");
        let table_text = if delimiter == b' ' { lined_up().into() } else { Cow::Borrowed(text) };
        let mut table =
            Self { text: table_text, delimiter, names: None, marked: false, columns: 0 };
        let first = table.reader().records().next().transpose().map_err(|e| wrong(&e))?;
        let first = first.unwrap_or_default();
        table.columns = first.len();
        // NumPy writes the names of columns behind a mark of comments.
        let marked =
            lines().take_while(comment).last().map(|line| line.trim().trim_matches('#').trim());
        let marked: Vec<String> = marked
            .map(|line| {
                line.split(char::from(delimiter)).map(|name| name.trim().to_owned()).collect()
            })
            .unwrap_or_default();
        if marked.len() > 1 && marked.len() == table.columns && first.iter().all(is_number) {
            table.marked = true;
            table.names = Some(marked);
            return Ok(table);
        }
        // Names are cells that are no numbers: a first line of which one is, and not merely missing.
        let named =
            |cell: &str| !is_number(cell) && !NO_NAMES.contains(&cell.to_lowercase().as_str());
        if first.iter().any(named) {
            table.names = Some(first.iter().map(str::to_owned).collect());
        }
        Ok(table)
    }

    fn reader(&self) -> Reader<&[u8]> {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .comment(Some(COMMENT as u8))
            .trim(Trim::All)
            .from_reader(self.text.as_bytes())
    }

    /// Calls `see` with each row after the names, and its line.
    pub(super) fn rows(
        &self,
        mut see: impl FnMut(usize, &StringRecord) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut reader = self.reader();
        let mut record = StringRecord::new();
        let mut names = self.names.is_some() && !self.marked;
        while reader.read_record(&mut record).map_err(|error| wrong(&error))? {
            let line = record.position().map_or(0, csv::Position::line) as usize;
            if !std::mem::take(&mut names) {
                see(line, &record)?;
            }
        }
        Ok(())
    }

    /// Returns the cells of column `at`.
    pub(super) fn cells(&self, at: usize) -> Result<Vec<String>, FormatError> {
        let mut cells = vec![];
        self.rows(|_, row| {
            cells.push(row.get(at).unwrap_or_default().to_owned());
            Ok(())
        })?;
        Ok(cells)
    }

    /// Returns column `at`: whole numbers where all are, else numbers where all are, else texts. A line
    /// where a number is missing among numbers is told.
    pub(super) fn column(&self, at: usize) -> Result<Values<'static>, FormatError> {
        let mut cells = vec![];
        let mut lines = vec![];
        self.rows(|line, row| {
            cells.push(row.get(at).unwrap_or_default().to_owned());
            lines.push(line);
            Ok(())
        })?;
        // Where a semicolon separates cells, a comma may stand for the point.
        if self.delimiter == b';' {
            for cell in cells.iter_mut().filter(|cell| !is_number(cell)) {
                let pointed = cell.replace(',', ".");
                if is_number(&pointed) {
                    *cell = pointed;
                }
            }
        }
        let n = cells.len();
        if let Some(wholes) =
            cells.iter().map(|c| c.parse::<i64>().ok()).collect::<Option<Vec<i64>>>()
        {
            let data: Vec<u8> = wholes.into_iter().flat_map(i64::to_le_bytes).collect();
            let array = Array { scalar: Scalar::I64, shape: vec![n], data: data.into() };
            return Ok(Values::Numbers(array));
        }
        let odd = cells.iter().position(|cell| !is_number(cell) || is_beyond(cell));
        match odd {
            None => {
                let floats = cells
                    .iter()
                    .flat_map(|cell| cell.parse::<f64>().unwrap_or(f64::NAN).to_le_bytes());
                let data: Vec<u8> = floats.collect();
                Ok(Values::Numbers(Array {
                    scalar: Scalar::F64,
                    shape: vec![n],
                    data: data.into(),
                }))
            }
            // One odd cell among numbers is a mistake in one line; texts are texts in most.
            Some(row) if cells.iter().filter(|cell| is_number(cell)).count() * 2 >= n => {
                Err(self.odd_cell(&cells[row], lines[row], at))
            }
            Some(_) => Ok(Values::Texts(cells)),
        }
    }

    fn odd_cell(&self, found: &str, line: usize, at: usize) -> FormatError {
        let column = self.names.as_ref().and_then(|names| names.get(at)).cloned();
        FormatError::Cell { found: found.to_owned(), line, column: column.unwrap_or_default() }
    }

    /// Returns columns of numbers side by side, \[n, columns\].
    pub(super) fn matrix(&self, columns: &[usize]) -> Result<Values<'static>, FormatError> {
        let mut data = vec![];
        let mut n = 0;
        self.rows(|line, row| {
            for at in columns {
                let cell = row.get(*at).unwrap_or_default();
                let value: Option<f32> = match cell.parse().ok() {
                    None if self.delimiter == b';' => cell.replace(',', ".").parse().ok(),
                    value => value,
                };
                let value = value.filter(|value| value.is_finite() || !has_digits(cell));
                let value = value.ok_or_else(|| self.odd_cell(cell, line, *at))?;
                data.extend(value.to_le_bytes());
            }
            n += 1;
            Ok(())
        })?;
        let shape = vec![n, columns.len()];
        Ok(Values::Numbers(Array { scalar: Scalar::F32, shape, data: data.into() }))
    }
}

fn one_blank(line: &str) -> String {
    line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns what separates the cells of a line: a tab, a semicolon or a comma, the first that stands in it.
pub(crate) fn delimiter_of(line: &str) -> u8 {
    let mut quoted = false;
    for byte in line.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\t' | b',' | b';' if !quoted => return byte,
            _ => {}
        }
    }
    // Numbers with blanks between them, as `numpy.savetxt` writes.
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.len() > 1 && words.iter().all(|word| is_number(word)) { b' ' } else { b',' }
}

fn wrong(error: &csv::Error) -> FormatError {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => FormatError::Cells {
            line: pos.as_ref().map_or(0, csv::Position::line) as usize,
            found: *len,
            wanted: *expected_len,
        },
        _ => FormatError::Csv { reason: error.to_string() },
    }
}

/// Returns the columns of a JSON file, each with its name: of a list the one without, of an object its
/// lists, of a list of objects, or of an object a line, their fields. Where its keys name rows they are a column,
/// `index` or `id`, beside the one without a name.
pub(super) fn json(bytes: &[u8]) -> Result<Decoded<'static>, FormatError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut documents = vec![];
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        documents.push(document.map_err(FormatError::Json)?);
    }
    let top = if documents.len() == 1 { documents.remove(0) } else { Value::Array(documents) };
    let mut all = Decoded::default();
    let mut push = |name: &str, list: &[Value]| match of_list(list) {
        Some(values) => all.found.push((name.to_owned(), values)),
        None => all.unread.push(name.to_owned()),
    };
    match &top {
        Value::Array(rows) if rows.iter().all(Value::is_object) && !rows.is_empty() => {
            let mut known = BTreeSet::new();
            let fields = rows.iter().filter_map(Value::as_object).flatten();
            let names =
                fields.filter(|(name, _)| known.insert(name.as_str())).map(|(name, _)| name);
            let cell = |row: &Value, name: &str| row.get(name).cloned().unwrap_or(Value::Null);
            for name in names {
                push(name, &rows.iter().map(|row| cell(row, name)).collect::<Vec<_>>());
            }
        }
        Value::Array(list) => push("", list),
        Value::Object(fields) if is_keyed(fields)? => {
            let keys: Vec<Value> = fields.keys().map(|key| key.as_str().into()).collect();
            let wholes = keys.iter().map(|key| Some(key.as_str()?.parse::<i64>().ok()?.into()));
            match wholes.collect::<Option<Vec<Value>>>() {
                Some(wholes) => push("index", &wholes),
                None => push("id", &keys),
            }
            push("", &fields.values().cloned().collect::<Vec<_>>());
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(list) = value.as_array().cloned().or_else(|| by_row(value)) {
                    push(name, &list);
                }
            }
        }
        _ => {}
    }
    if all.found.is_empty() { Err(all.nothing()) } else { Ok(all) }
}

/// Tells whether the keys of an object name rows: each has a number, or each is a number itself and has a list.
///
/// # Errors
///
/// Fails if numbered lists may as well be columns: if there are no more of them than numbers in each.
fn is_keyed(fields: &Map<String, Value>) -> Result<bool, FormatError> {
    if fields.is_empty() || fields.values().all(Value::is_number) {
        return Ok(!fields.is_empty());
    }
    let length = |(key, value): (&String, &Value)| {
        key.parse::<u64>().ok()?;
        value.as_array().map(Vec::len)
    };
    let Some(lengths) = fields.iter().map(length).collect::<Option<Vec<usize>>>() else {
        return Ok(false);
    };
    let longest = lengths.into_iter().max().unwrap_or(0);
    if fields.len() > longest { Ok(true) } else { Err(FormatError::Sideways) }
}

/// Returns the values of an object whose keys are the numbers of rows, in their order, as pandas writes a
/// column.
fn by_row(value: &Value) -> Option<Vec<Value>> {
    let rows = value.as_object()?.iter();
    let rows = rows.map(|(row, value)| Some((row.parse::<usize>().ok()?, value)));
    let mut rows: Vec<(usize, &Value)> = rows.collect::<Option<_>>()?;
    rows.sort_by_key(|(row, _)| *row);
    Some(rows.into_iter().map(|(_, value)| value.clone()).collect())
}

/// Returns a list of numbers, of texts, or of equally long lists of numbers.
fn of_list(list: &[Value]) -> Option<Values<'static>> {
    let texts = list.iter().map(|value| value.as_str().map(str::to_owned));
    if let Some(texts) = texts.collect::<Option<Vec<String>>>()
        && !texts.is_empty()
    {
        return Some(Values::Texts(texts));
    }
    let n = list.len();
    if let Some(wholes) = list.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>() {
        let data: Vec<u8> = wholes.into_iter().flat_map(i64::to_le_bytes).collect();
        return Some(Values::Numbers(Array {
            scalar: Scalar::I64,
            shape: vec![n],
            data: data.into(),
        }));
    }
    if let Some(flags) = list.iter().map(Value::as_bool).collect::<Option<Vec<bool>>>() {
        let data: Vec<u8> = flags.into_iter().map(u8::from).collect();
        return Some(Values::Numbers(Array {
            scalar: Scalar::Bool,
            shape: vec![n],
            data: data.into(),
        }));
    }
    if let Some(floats) = list.iter().map(number).collect::<Option<Vec<f64>>>() {
        let data: Vec<u8> = floats.into_iter().flat_map(f64::to_le_bytes).collect();
        return Some(Values::Numbers(Array {
            scalar: Scalar::F64,
            shape: vec![n],
            data: data.into(),
        }));
    }
    let rows: Option<Vec<&Vec<Value>>> = list.iter().map(Value::as_array).collect();
    let rows = rows?;
    let width = rows.first()?.len();
    let same = rows.iter().all(|row| row.len() == width);
    let floats = rows.into_iter().flatten().map(Value::as_f64).collect::<Option<Vec<f64>>>()?;
    let data: Vec<u8> = floats.into_iter().flat_map(f64::to_le_bytes).collect();
    let array = Array { scalar: Scalar::F64, shape: vec![n, width], data: data.into() };
    same.then_some(Values::Numbers(array))
}

/// Returns a number; a missing one is NaN.
fn number(value: &Value) -> Option<f64> {
    if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wholes(values: &Values<'_>) -> Vec<i128> {
        let Values::Numbers(array) = values else { panic!("it is numbers, not {values:?}") };
        array.wholes().expect("they are whole")
    }

    #[test]
    fn separators_quotes_and_marks_are_understood() {
        for text in [
            "a,b\n1,2\n3,4\n",
            "\u{feff}a,b\r\n1,2\r\n3,4\r\n",
            "a\tb\n1\t2\n3\t4\n",
            "\"a\";\"b\"\n\"1\";\"2\"\n\"3\";\"4\"\n",
        ] {
            let table = TextTable::open(text.as_bytes()).expect("it is a table");
            assert_eq!(
                table.names.as_deref(),
                Some(&["a".to_owned(), "b".to_owned()][..]),
                "{text}"
            );
            assert_eq!(wholes(&table.column(1).expect("it is there")), [2, 4], "{text}");
        }
        let quoted =
            TextTable::open(b"path,score\n\"a, 1.jpg\",7\n\"b\",8\n").expect("it is a table");
        assert_eq!(wholes(&quoted.column(1).expect("it is there")), [7, 8]);
        let plain = TextTable::open(b"5\n6\n").expect("it is a table");
        assert!(plain.names.is_none() && plain.columns == 1);
        assert_eq!(wholes(&plain.column(0).expect("it is there")), [5, 6]);
    }

    #[test]
    fn what_numpy_and_a_european_excel_write_is_read() {
        let floats = |text: &str, at| -> (Option<Vec<String>>, Vec<f64>) {
            let table = TextTable::open(text.as_bytes()).expect("it is a table");
            let Values::Numbers(array) = table.column(at).expect("it is there") else {
                panic!("it is numbers")
            };
            (table.names, array.doubles())
        };
        let names = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(floats("# a,b\n1,2.5\n3,4\n", 1), (names.clone(), vec![2.5, 4.0]));
        assert_eq!(floats("# made by hand\na,b\n1,2.5\n", 1), (names.clone(), vec![2.5]));
        assert_eq!(floats("a;b\n1;2,5\n3;4\n", 1), (names, vec![2.5, 4.0]));
        assert_eq!(floats("1.0e+00 2.5e+00\n3 4\n", 1), (None, vec![2.5, 4.0]));
        assert_eq!(floats("   1.0   2.5\n  -3.0  4\n", 1), (None, vec![2.5, 4.0]));
        let names = Some(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(floats("sep=;\r\na;b\r\n1;2,5\r\n3;4\r\n", 1), (names, vec![2.5, 4.0]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let refused = |text: &[u8], at: usize| {
            let table = TextTable::open(text).expect("its first line is fine");
            table.column(at).expect_err("it is refused").to_string()
        };
        assert_eq!(
            refused(b"a,b\n1,2\n3,x\n5,6\n7,8\n", 1),
            "has `x` on line 3, in column `b`: expected a number"
        );
        assert_eq!(
            refused(b"a\n1\n\"\"\n5\n7\n", 0),
            "has an empty cell on line 3, in column `a`: expected a number"
        );
        let large = refused(b"1\n1e400\n5\n7\n", 0);
        assert_eq!(large, "has `1e400` on line 2: expected a number that a 32-bit float holds");
        assert_eq!(refused(b"a,b\n1,2\n3\n", 0), "has 1 cells on line 3: expected 2");
        let latin = TextTable::open(b"a\n\xe9\n").map(|_| ()).expect_err("it is not UTF-8");
        assert_eq!(latin.to_string(), "is not UTF-8 text: line 2 holds other bytes");
    }

    #[test]
    fn json_gives_columns() {
        let names = |text: &str| -> Vec<String> {
            json(text.as_bytes())
                .expect("it has columns")
                .found
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names("[1, 2]"), [""]);
        assert_eq!(names("{\"scores\": [1.5], \"name\": \"x\", \"e\": [[1, 2]]}"), ["e", "scores"]);
        assert_eq!(names("[{\"i\": 1, \"s\": 2.5}, {\"i\": 2, \"s\": 1}]"), ["i", "s"]);
        assert_eq!(names("{\"i\": 1}\n{\"i\": 2}\n"), ["i"]);
        // pandas' default; the rows are 0, 2 and 10.
        let columns = json(b"{\"s\": {\"10\": 3, \"0\": 1, \"2\": 2}}").expect("it has columns");
        assert_eq!(wholes(&columns.found[0].1), [1, 2, 3]);
        // A label that is missing in one row is not left out in all.
        for odd in ["null", "1"] {
            let rows =
                format!("[{{\"x\": 1}}, {{\"x\": 2, \"y\": \"a\"}}, {{\"x\": 3, \"y\": {odd}}}]");
            assert_eq!(json(rows.as_bytes()).expect("it has columns").unread, ["y"]);
        }
        assert!(json(b"{\"a\": \"b\"}").is_err() && json(b"[1,").is_err());
        // Keys that name rows.
        assert_eq!(names("{\"b.jpg\": 1, \"a.jpg\": 2.5}"), ["id", ""]);
        let columns = json(b"{\"10\": [3], \"0\": [1]}").expect("it has columns");
        assert_eq!((&*columns.found[0].0, wholes(&columns.found[0].1)), ("index", vec![0, 10]));
        let Values::Numbers(rows) = &columns.found[1].1 else { panic!("they are numbers") };
        assert_eq!((&rows.shape[..], rows.scalar), (&[2, 1][..], Scalar::F64));
        assert!(matches!(json(b"{\"0\": [1, 2], \"1\": [3, 4]}"), Err(FormatError::Sideways)));
    }
}
