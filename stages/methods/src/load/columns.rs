//! Ids and counts of samples as files give them.

use artifacts::{
    columns::SampleColumns,
    formats::{ArrayError, DataFile, FormatError, Values, Wanted},
};
use std::collections::BTreeMap;

/// What a column of ids is called.
pub(super) const IDS: [&str; 6] = ["id", "ids", "uid", "uuid", "sample_id", "key"];

/// The columns that are asked for.
#[derive(Clone, Copy)]
pub(super) struct WantedColumns<'a> {
    /// The name of the column of ids; if it is not given, a column that has a usual name.
    pub(super) ids: Option<&'a str>,
    /// The names of the columns of counts.
    pub(super) counts: &'a [String],
}

impl WantedColumns<'_> {
    /// Whether a column of this name is one of them, and no feature.
    pub(super) fn has(&self, name: &str) -> bool {
        self.ids.map_or_else(|| is_of_ids(name), |ids| ids == name)
            || self.counts.iter().any(|count| count == name)
    }

    /// Reads them for `n` samples, put where `rows` says: first that of row `rows[0]`.
    ///
    /// # Errors
    ///
    /// Fails if a column that was named is not there, an id stands there twice, or a count is not a whole
    /// number from 0 up.
    pub(super) fn read(
        &self,
        file: &DataFile,
        n: usize,
        rows: Option<&[usize]>,
    ) -> Result<SampleColumns, ArrayError> {
        let mut found = SampleColumns::default();
        if let Some((name, ids)) = named_rows(file, self.ids)? {
            check(&name, ids.len(), n)?;
            let ids = ordered(ids, rows);
            match repeated(&ids) {
                None => found.ids = Some(ids),
                // A column that was not asked for may be anything.
                Some(_) if self.ids.is_none() => {}
                Some((first, second)) => {
                    let id = ids[second].clone();
                    return Err(ArrayError::IdTwice { id, first, second });
                }
            }
        }
        for name in self.counts {
            let wanted = Wanted { given: Some(name), usual: &[], setting: Some("counts") };
            let (_, values) = file.pick(wanted)?;
            let counts = counts(name, &values)?;
            check(name, counts.len(), n)?;
            found.counts.insert(name.clone(), ordered(counts, rows));
        }
        Ok(found)
    }
}

fn check(name: &str, found: usize, wanted: usize) -> Result<(), FormatError> {
    match found == wanted {
        true => Ok(()),
        false => Err(FormatError::Uneven { name: name.to_owned(), found, wanted }),
    }
}

/// Returns ids as texts: whole numbers without a point.
pub(crate) fn texts(values: Values<'_>) -> Vec<String> {
    match values {
        Values::Texts(texts) => texts,
        Values::Numbers(array) => match array.whole_numbers() {
            Some(wholes) => wholes.iter().map(i128::to_string).collect(),
            None => array.doubles().iter().map(f64::to_string).collect(),
        },
    }
}

fn counts(name: &str, values: &Values<'_>) -> Result<Vec<u64>, ArrayError> {
    let wrong = |sample: usize, value: String| {
        Err(ArrayError::NoCount { name: name.to_owned(), sample, value })
    };
    let array = match values {
        Values::Texts(texts) => return wrong(0, texts.first().cloned().unwrap_or_default()),
        Values::Numbers(array) => array,
    };
    let Some(wholes) = array.whole_numbers() else {
        let (sample, value) = array.first_fraction().unwrap_or((0, f64::NAN));
        return wrong(sample, value.to_string());
    };
    let mut counts = Vec::with_capacity(wholes.len());
    for (sample, whole) in wholes.into_iter().enumerate() {
        match u64::try_from(whole) {
            Ok(count) => counts.push(count),
            Err(_) => return wrong(sample, whole.to_string()),
        }
    }
    Ok(counts)
}

/// Returns the values where `rows` says: first that of row `rows[0]`.
pub(crate) fn ordered<T: Clone>(values: Vec<T>, rows: Option<&[usize]>) -> Vec<T> {
    match rows {
        Some(rows) => rows.iter().map(|row| values[*row].clone()).collect(),
        None => values,
    }
}

/// Returns the positions of the first id that stands there twice.
pub(crate) fn repeated(ids: &[String]) -> Option<(usize, usize)> {
    let mut seen = BTreeMap::new();
    ids.iter().enumerate().find_map(|(at, id)| seen.insert(id, at).map(|first| (first, at)))
}

/// Returns the row of `ids` at which each of `samples` stands.
///
/// # Errors
///
/// Fails if an id stands there twice, or one of the samples does not.
pub(crate) fn rows_of(ids: &[String], samples: &[String]) -> Result<Vec<usize>, ArrayError> {
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for (second, id) in ids.iter().enumerate() {
        if let Some(first) = rows.insert(id, second) {
            return Err(ArrayError::IdTwice { id: id.clone(), first, second });
        }
    }
    let row = |(sample, id): (usize, &String)| {
        let found = rows.get(id.as_str()).copied();
        found.ok_or_else(|| ArrayError::IdMissing { id: id.clone(), sample })
    };
    samples.iter().enumerate().map(row).collect()
}

/// Whether a column of this name is one of ids.
pub(crate) fn is_of_ids(name: &str) -> bool {
    IDS.iter().any(|id| name.trim().eq_ignore_ascii_case(id))
}

/// Returns the column of ids of a table, if it has one.
///
/// # Errors
///
/// Says what does not read.
pub(crate) fn ids(file: &DataFile) -> Result<Option<Vec<String>>, ArrayError> {
    Ok(named_rows(file, None)?.map(|(_, ids)| ids))
}

/// Returns the ids in the column or array `name`: texts as they stand there.
///
/// # Errors
///
/// Fails if it does not read.
pub(crate) fn ids_in(file: &DataFile, name: &str) -> Result<Vec<String>, FormatError> {
    match file.cells(name)? {
        Some(cells) => Ok(cells),
        None => file.get(name).map(texts),
    }
}

/// Returns the column of ids of a table, and its name: the one that was `given`, the one of a usual name, or an
/// index of texts that pandas wrote beside the values.
fn named_rows(
    file: &DataFile,
    given: Option<&str>,
) -> Result<Option<(String, Vec<String>)>, ArrayError> {
    if file.names()?.len() < 2 {
        return Ok(None);
    }
    if given.is_some() || file.has(&IDS) {
        let wanted = Wanted { given, usual: &IDS, setting: Some("ids") };
        let name = file.find(wanted)?;
        let ids = ids_in(file, &name)?;
        return Ok(Some((name, ids)));
    }
    let [name] = &file.row_names()?[..] else { return Ok(None) };
    Ok(match file.get(name)? {
        Values::Texts(ids) => Some((name.clone(), ids)),
        Values::Numbers(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn table(text: &str) -> DataFile {
        DataFile::new(Path::new("a.csv"), text.as_bytes().to_vec()).expect("it is a table")
    }

    #[test]
    fn ids_are_what_stands_in_the_cells() {
        let ids = |text: &str| ids(&table(text)).expect("it reads").expect("it has ids");
        assert_eq!(ids("id,s\n007,1\n07,2\n"), texts_of(&["007", "07"]));
        let long = ["12345678901234567891", "12345678901234567892"];
        assert_eq!(ids(&format!("id,s\n{},1\n{},2\n", long[0], long[1])), texts_of(&long));
        // Numbers above one word are no mistake in an id.
        assert_eq!(ids("id,s\n1,1\n2,1\n3,1\na4,2\n"), texts_of(&["1", "2", "3", "a4"]));
        assert_eq!(ids("id,s\n7.0,1\n8.0,2\n"), texts_of(&["7", "8"]));
    }

    fn texts_of(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn ids_and_counts_follow_the_order_of_the_samples() {
        let file = table("id,x,tokens\nb,1,20\na,2,10\n");
        let counts = ["tokens".to_owned()];
        let wanted = WantedColumns { ids: None, counts: &counts };
        let found = wanted.read(&file, 2, Some(&[1, 0])).expect("it reads");
        assert_eq!(found.ids, Some(texts_of(&["a", "b"])));
        assert_eq!(found.counts["tokens"], [10, 20]);
        assert!(wanted.has("ID") && wanted.has("tokens") && !wanted.has("x"));
    }

    #[test]
    fn what_is_no_id_and_no_count_is_refused() {
        let read = |text: &str, ids, count: &str| {
            let counts = [count.to_owned()];
            let wanted = WantedColumns { ids, counts: &counts };
            wanted.read(&table(text), 2, None).map_err(|error| error.to_string())
        };
        let twice = "id,n\na,1\na,2\n";
        assert_eq!(read(twice, None, "n").map(|found| found.ids), Ok(None));
        let error = read(twice, Some("id"), "n").expect_err("an id stands there twice");
        assert!(error.contains("`a`") && error.contains("0 and 1"), "{error}");
        let error = read("id,n\na,1\nb,-2\n", None, "n").expect_err("a count is negative");
        assert!(error.contains("-2") && error.contains("sample 1"), "{error}");
        let error = read("id,n\na,1\nb,2.5\n", None, "n").expect_err("a count is no whole number");
        assert!(error.contains("2.5"), "{error}");
        assert!(read("id,n\na,1\nb,2\n", None, "m").is_err());
    }

    #[test]
    fn an_index_of_texts_is_ids() {
        let found = ids(&table(",x\nb,1\na,2\n")).expect("it reads");
        assert_eq!(found, Some(texts_of(&["b", "a"])));
        assert_eq!(ids(&table(",x\n7,1\n5,2\n")).expect("it reads"), None);
    }

    #[test]
    fn rows_are_found_by_id() {
        let (a, b) = (texts_of(&["x", "y", "z"]), texts_of(&["z", "x"]));
        assert_eq!(rows_of(&a, &b).ok(), Some(vec![2, 0]));
        let error = rows_of(&b, &a).expect_err("one is missing").to_string();
        assert!(error.contains("`y`") && error.contains("sample 1"), "{error}");
    }
}
