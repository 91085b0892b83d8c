//! A table with a row for each image: its columns, and the images its rows name.

use super::super::labels::refused;
use crate::OwnFileError;
use artifacts::formats::{ArrayError, DataFile, FormatError, Values, Wanted};
use engine::StageError;
use std::{collections::BTreeMap, path::Path};

/// What the columns are usually called, in lower case.
const FILES: [&str; 19] = [
    "file",
    "filename",
    "file_name",
    "image",
    "image_id",
    "image_name",
    "img",
    "path",
    "filepath",
    "file_path",
    "image_path",
    "imagename",
    "imageid",
    "isic_id",
    "id_code",
    "name",
    "id",
    "filenames",
    "images",
];
const LABELS: [&str; 14] = [
    "label",
    "labels",
    "class",
    "class_name",
    "target",
    "category",
    "dx",
    "diagnosis",
    "breed",
    "species",
    "level",
    "classid",
    "class_id",
    "y",
];

/// The columns that are read, where they are given.
pub(super) struct ImageColumns<'a> {
    pub(super) file: Option<&'a str>,
    pub(super) label: Option<&'a str>,
    pub(super) split: Option<&'a str>,
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ImageRow {
    pub(super) file: String,
    pub(super) label: String,
    pub(super) split: Option<String>,
}

impl ImageColumns<'_> {
    /// Reads the rows of the table at `path`.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<ImageRow>, StageError> {
        let wrong = |error: FormatError| refused(path, ArrayError::from(error));
        let table = DataFile::open(path).map_err(wrong)?;
        let names = table.names().map_err(wrong)?;
        let pick =
            |given: Option<&str>, usual: &[&'static str], setting: &'static str, at: usize| {
                match (&names[..], given) {
                    // Of two columns the first names the images, whatever they are called.
                    ([_, _], None) if !table.has(usual) => Ok(names[at].clone()),
                    _ => table.find(Wanted { given, usual, setting: Some(setting) }),
                }
            };
        let file = pick(self.file, &FILES, "file", 0).map_err(wrong)?;
        let label = pick(self.label, &LABELS, "label", 1);
        let split = match self.split {
            None if !table.has(&["split"]) => None,
            given => {
                let wanted = Wanted { given, usual: &["split"], setting: Some("split") };
                Some(table.find(wanted).map_err(wrong)?)
            }
        };
        let texts = |name: &str| texts(&table, name).map_err(|error| refused(path, error));
        let files = texts(&file)?;
        let labels = match (label, self.label) {
            (Ok(label), _) => texts(&label)?,
            (Err(error), Some(_)) => return Err(wrong(error)),
            (Err(error), None) => one_hot(&table, &names).ok_or_else(|| wrong(error))?,
        };
        if let Some(row) = labels.iter().position(String::is_empty) {
            return Err(refused(path, ArrayError::NoLabel(row)));
        }
        let splits = split.map(|name| texts(&name)).transpose()?;
        let rows = files.into_iter().zip(labels).enumerate().map(|(at, (file, label))| {
            let split = splits.as_ref().map(|splits| splits[at].clone());
            ImageRow { file, label, split }
        });
        Ok(rows.collect())
    }
}

/// Returns the class of each row of a table with a column for each class, of which in each row one is 1 and the
/// others are 0: the name of that column.
fn one_hot(table: &DataFile, names: &[String]) -> Option<Vec<String>> {
    let flags = names.iter().filter_map(|name| match table.get(name) {
        Ok(Values::Numbers(array)) => {
            let values = array.whole_numbers().filter(|_| array.shape.len() == 1)?;
            values.iter().all(|value| matches!(value, 0 | 1)).then_some((name, values))
        }
        _ => None,
    });
    let flags: Vec<_> = flags.collect();
    let rows = flags.first().filter(|_| flags.len() > 1)?.1.len();
    let class = |row: usize| {
        let mut ones = flags.iter().filter(|(_, values)| values[row] == 1);
        ones.next().filter(|_| ones.next().is_none()).map(|(name, _)| (*name).clone())
    };
    (0..rows).map(class).collect()
}

/// Returns a column as texts, numbers written out.
fn texts(table: &DataFile, name: &str) -> Result<Vec<String>, OwnFileError> {
    match table.get(name).map_err(ArrayError::from)? {
        Values::Texts(texts) => Ok(texts.iter().map(|text| text.trim().to_owned()).collect()),
        Values::Numbers(array) if array.shape.len() == 1 => {
            let wholes = array.whole_numbers();
            let wholes = wholes.ok_or_else(|| OwnFileError::NotNames(name.to_owned()))?;
            Ok(wholes.iter().map(i128::to_string).collect())
        }
        Values::Numbers(_) => Err(OwnFileError::NotNames(name.to_owned())),
    }
}

/// The images of a folder by what a table may call them. A name that several have is none.
pub(super) struct Places<'a> {
    whole: BTreeMap<&'a str, &'a str>,
    short: BTreeMap<String, Option<&'a str>>,
}

impl<'a> Places<'a> {
    /// `files` are paths relative to the folder.
    pub(super) fn new(files: &'a [String]) -> Self {
        let mut places = Self { whole: BTreeMap::new(), short: BTreeMap::new() };
        for file in files {
            places.whole.insert(file, file);
            let base = file.rsplit('/').next().unwrap_or(file);
            let stem = |path: &str| path.rsplit_once('.').map(|(stem, _)| stem.to_owned());
            let number = |name: &str| name.parse::<u128>().ok().map(|number| number.to_string());
            let bare = stem(base).unwrap_or_else(|| base.to_owned());
            let mut names = vec![base.to_owned(), bare.clone()];
            names.extend(stem(file));
            names.extend(number(&bare));
            names.sort_unstable();
            names.dedup();
            for name in names {
                let same = |place: &mut Option<&'a str>| *place = None;
                places.short.entry(name).and_modify(same).or_insert(Some(file));
            }
        }
        places
    }

    /// Returns the image that a table calls `name`: its path, also one that begins with folders above, the last
    /// part of it, either without its ending, or its number.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let name = name.replace('\\', "/");
        let mut rest = name.trim_start_matches("./");
        let base = rest.rsplit('/').next().unwrap_or(rest);
        loop {
            let found = self.whole.get(rest).copied();
            if let Some(found) = found.or_else(|| self.short.get(rest).copied().flatten()) {
                return Some(found);
            }
            match rest.split_once('/') {
                Some((_, below)) => rest = below,
                None => break,
            }
        }
        // The table's ending may be another than the file's.
        let stem = base.rsplit_once('.').filter(|_| super::content::is_named_as_image(base));
        stem.and_then(|(stem, _)| self.short.get(stem).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    #[test]
    fn an_image_has_many_names_and_an_ambiguous_one_is_none() {
        let files = ["a/1.jpg", "a/007.png", "b/1.jpg", "b/x.y.jpg", "c.jpeg"].map(str::to_owned);
        let places = Places::new(&files);
        for (name, want) in [
            ("a/1.jpg", Some("a/1.jpg")),
            ("./a/1", Some("a/1.jpg")),
            ("/data/set/b\\1.jpg", Some("b/1.jpg")),
            ("1.jpg", None),
            ("1", None),
            ("7", Some("a/007.png")),
            ("007", Some("a/007.png")),
            ("x.y", Some("b/x.y.jpg")),
            ("c.jpg", Some("c.jpeg")),
            ("elsewhere/c.png", Some("c.jpeg")),
            ("d", None),
        ] {
            assert_eq!(places.get(name), want, "{name}");
        }
    }

    #[test]
    fn columns_are_found_by_usual_names_or_by_their_order() {
        let scratch = Scratch::new("rows");
        let read = |text: &str, columns: &ImageColumns<'_>| {
            columns
                .read(&scratch.write("t.csv", text.as_bytes()))
                .map_err(|error| error.to_string())
        };
        let none = ImageColumns { file: None, label: None, split: None };
        let row = |file: &str, label: &str, split: Option<&str>| ImageRow {
            file: file.to_owned(),
            label: label.to_owned(),
            split: split.map(str::to_owned),
        };
        let text = "sex,dx,image_id,split\nm,nv,a,train\nf,mel,b,test\n";
        let want = vec![row("a", "nv", Some("train")), row("b", "mel", Some("test"))];
        assert_eq!(read(text, &none), Ok(want));
        let text = "eye,stage\n12,3\n13,0\n";
        assert_eq!(read(text, &none), Ok(vec![row("12", "3", None), row("13", "0", None)]));
        let given = ImageColumns { file: Some("b"), label: Some("c"), split: None };
        assert_eq!(read("a,b,c\n1,x,2\n", &given), Ok(vec![row("x", "2", None)]));
        let text = "image,MEL,NV,age\na,0.0,1.0,30\nb,1.0,0.0,50\n";
        assert_eq!(read(text, &none), Ok(vec![row("a", "NV", None), row("b", "MEL", None)]));
        let found = read("a,b,c\n1,x,2\n", &none).expect_err("which is it?");
        assert!(found.ends_with("it has `a`, `b`, `c`; `file` names another"), "{found}");
        assert!(read("image,MEL,NV\na,1,1\n", &none).is_err());
    }
}
