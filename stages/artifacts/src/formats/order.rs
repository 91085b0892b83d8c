//! The order of a table's rows: the column that says where each belongs, and the one that names them (pandas' index).

use super::{DataFile, FileKind, FormatError, Values};
use serde_json::Value;

/// What a first column without a name of its own is called: by R and pandas, and by pandas once it was
/// read again.
const ROW_NAMES: [&str; 2] = ["", "unnamed: 0"];

/// What a column with the position of each row is called.
const INDEX_NAMES: [&str; 5] = ["index", "indices", "idx", "sample", "sample_index"];

/// What the columns of pandas' index are called in Parquet and Arrow if they have no names of their own.
const PANDAS_INDEX: &str = "__index_level_";

fn is_one_of(name: &str, wanted: &[&str]) -> bool {
    wanted.iter().any(|one| name.trim().eq_ignore_ascii_case(one))
}

impl DataFile {
    /// Returns the names of the columns that name or number the rows and are no values of theirs: pandas' index in
    /// Parquet and Arrow, and in text a first column without a name.
    ///
    /// # Errors
    ///
    /// Fails if the file does not read.
    pub fn row_names(&self) -> Result<Vec<String>, FormatError> {
        if !self.is_table() || self.is_unnamed()? {
            return Ok(vec![]);
        }
        let names = self.names()?;
        if !matches!(self.kind(), FileKind::Parquet | FileKind::Arrow) {
            let first = names.first().filter(|name| names.len() > 1 && is_one_of(name, &ROW_NAMES));
            return Ok(first.cloned().into_iter().collect());
        }
        let note: Option<Value> =
            self.note("pandas")?.and_then(|note| serde_json::from_str(&note).ok());
        let noted = note.as_ref().and_then(|note| note.get("index_columns")?.as_array());
        let noted: Vec<&str> = noted.into_iter().flatten().filter_map(Value::as_str).collect();
        let is_index = |name: &String| {
            noted.contains(&name.as_str())
                || name.starts_with(PANDAS_INDEX)
                || is_one_of(name, &["unnamed: 0"])
        };
        let found: Vec<String> = names.iter().filter(|name| is_index(name)).cloned().collect();
        // A table of nothing else has its values there.
        Ok(if found.len() == names.len() { vec![] } else { found })
    }

    /// Returns where each of the `n` rows belongs, if a column says so: the one called `index`, the first one
    /// without a name, or pandas' index. `None` where the rows stand in order. Arrays have an index too: one that is
    /// called so and has as many values.
    ///
    /// # Errors
    ///
    /// Fails if such a column has a position twice, or one beyond the rows.
    pub fn order(&self, n: usize) -> Result<Option<Vec<usize>>, FormatError> {
        if self.is_table() {
            return self.order_after(0, n);
        }
        let names = self.names()?;
        let Some(name) = names.iter().find(|name| is_one_of(name, &INDEX_NAMES)) else {
            return Ok(None);
        };
        match self.wholes_of(name)? {
            Some(wholes) if wholes.len() == n => places(&wholes, 0),
            _ => Ok(None),
        }
    }

    /// As [`Self::order`] of a table that comes after others with `before` rows together: its index may count on
    /// from theirs.
    ///
    /// # Errors
    ///
    /// As [`Self::order`].
    pub fn order_after(&self, before: usize, n: usize) -> Result<Option<Vec<usize>>, FormatError> {
        if !self.is_table() || self.is_unnamed()? {
            return Ok(None);
        }
        let names = self.names()?;
        let index = names.iter().find(|name| is_one_of(name, &INDEX_NAMES));
        let rows = self.row_names()?;
        let rows = if let [only] = &rows[..] { Some(only) } else { None };
        let Some(name) = index.or(rows) else { return Ok(None) };
        let Some(wholes) = self.wholes_of(name)? else { return Ok(None) };
        if wholes.len() != n {
            let (name, found) = (name.clone(), wholes.len());
            return Err(FormatError::Uneven { name, found, wanted: n });
        }
        places(&wholes, before)
    }

    fn wholes_of(&self, name: &str) -> Result<Option<Vec<i128>>, FormatError> {
        Ok(match self.get(name)? {
            Values::Numbers(array) => array.whole_numbers(),
            Values::Texts(_) => None,
        })
    }
}

/// Returns the row of each position that `wholes` give, one a row; `None` where they stand in order.
fn places(wholes: &[i128], before: usize) -> Result<Option<Vec<usize>>, FormatError> {
    let n = wholes.len();
    // R counts from 1.
    let from =
        |first: i128| wholes.iter().enumerate().all(|(row, index)| *index == first + row as i128);
    if from(1) || from(before as i128) || from(before as i128 + 1) {
        return Ok(None);
    }
    let mut places = vec![usize::MAX; n];
    for (row, index) in wholes.iter().enumerate() {
        let place = usize::try_from(*index).ok().and_then(|at| places.get_mut(at));
        match place {
            Some(place) if *place == usize::MAX => *place = row,
            _ => return Err(FormatError::Order { found: *index, row, n }),
        }
    }
    let in_order = places.iter().enumerate().all(|(place, row)| place == *row);
    Ok((!in_order).then_some(places))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::Wanted;
    use std::path::Path;

    #[test]
    fn rows_go_where_an_index_says() {
        let order = |text: &str, n| {
            let file = DataFile::new(Path::new("a.csv"), text.as_bytes().to_vec());
            let file = file.expect("it is a table");
            (file.row_names().expect("it reads"), file.order(n).map_err(|error| error.to_string()))
        };
        let names = vec![String::new()];
        assert_eq!(order(",s\n2,1\n0,1\n1,1\n", 3), (names.clone(), Ok(Some(vec![1, 2, 0]))));
        assert_eq!(order(",s\nb,1\na,1\n", 2), (names, Ok(None)));
        assert_eq!(order("s,index\n2,0\n0,1\n", 2), (vec![], Ok(None)));
        let twice = order("index,s\n1,1\n1,1\n", 2).1.expect_err("a position stands there twice");
        assert!(twice.starts_with("has index 1 in row 1: expected each of 0 to 1 once"), "{twice}");
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn pandas_index_is_no_value_of_a_row() {
        use arrow_array::{ArrayRef, Int64Array, RecordBatch};
        use arrow_schema::Schema;
        use std::sync::Arc;
        let table = |names: [&str; 2], index: &str| {
            let columns: [ArrayRef; 2] = [
                Arc::new(Int64Array::from(vec![7, 8, 9])),
                Arc::new(Int64Array::from(vec![2, 0, 1])),
            ];
            let batch = RecordBatch::try_from_iter(names.into_iter().zip(columns));
            let batch = batch.expect("the columns fit");
            let note = format!("{{\"index_columns\": {index}}}");
            let mut schema = Schema::clone(&batch.schema());
            schema.metadata.insert("pandas".to_owned(), note);
            let batch = batch.with_schema(Arc::new(schema)).expect("the schema is its own");
            let mut writer = arrow_ipc::writer::FileWriter::try_new(vec![], &batch.schema());
            let writer = writer.as_mut().expect("it can be begun");
            writer.write(&batch).and_then(|()| writer.finish()).expect("it can be written");
            let bytes = writer.get_ref().clone();
            DataFile::new(Path::new("a.arrow"), bytes).expect("it is Arrow")
        };
        for (names, index) in [
            (["s", "__index_level_0__"], "[\"__index_level_0__\"]"),
            (["s", "__index_level_0__"], "[]"),
            (["s", "row"], "[\"row\"]"),
        ] {
            let file = table(names, index);
            assert_eq!(file.row_names().expect("it reads"), [names[1]]);
            assert_eq!(file.order(3).expect("it is an order"), Some(vec![1, 2, 0]));
        }
        let file = table(["s", "row"], "[{\"kind\": \"range\"}]");
        assert_eq!((file.row_names().ok(), file.order(3).ok()), (Some(vec![]), Some(None)));
    }

    #[test]
    fn arrays_beside_an_index_are_put_in_order() {
        let order = |index: &str| {
            let pickle = format!("(dVscores\n(lI5\naI6\naI7\nasVindex\n(l{index}as.");
            let file = DataFile::new(Path::new("a.pkl"), pickle.into_bytes());
            file.expect("it is a pickle").order(3)
        };
        assert_eq!(order("I2\naI0\naI1\n").ok(), Some(Some(vec![1, 2, 0])));
        assert_eq!(order("I0\naI1\naI2\n").ok(), Some(None));
        assert_eq!(order("I2\naI0\n").ok(), Some(None));
        assert!(order("I2\naI0\naI2\n").is_err());
        // JSON by key: as text, 10 comes before 2.
        let rows: Vec<String> = (0..11).map(|at| format!("\"{at}\": {at}.5")).collect();
        let json = format!("{{{}}}", rows.join(", ")).into_bytes();
        let file = DataFile::new(Path::new("a.json"), json).expect("it is JSON");
        let wanted = Wanted { given: None, usual: &["scores"], setting: None };
        assert_eq!(file.find(wanted).expect("one stands beside the keys"), "");
        let found = file.order(11).expect("it is an order").expect("it is not that of the file");
        assert_eq!(found[..4], [0, 1, 3, 4]);
    }
}
