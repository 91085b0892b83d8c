//! Arrays of structures in MATLAB's files, such as the classes of ImageNet's development kit.

use super::{
    super::{FileError, file::broken},
    INT8, MATRIX, MatElement, MatError, MatValues, UINT8, UINT16, UINT32, each, matrix, whole,
};
use engine::StageError;
use std::{collections::BTreeMap, path::Path};

/// Classes of arrays, and types of texts.
const STRUCTURE: u8 = 2;
const TEXT: u8 = 4;
const UTF8: u32 = 16;
const UTF16: u32 = 17;

/// What a field of a structure holds.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum MatField {
    Text(String),
    Numbers(Vec<f64>),
    /// Something else, or nothing.
    Other,
}

/// Returns the structures of the array `name` in `path`, each with its fields.
///
/// # Errors
///
/// Fails if the file does not read, or has no such array.
pub(in super::super) fn records(
    path: &Path,
    name: &'static str,
) -> Result<Vec<BTreeMap<String, MatField>>, StageError> {
    let mut found = None;
    let read = each(&whole(path)?, |body| {
        if let Some((one, records)) = structures(body)?
            && one == name
        {
            found = Some(records);
        }
        Ok(())
    });
    read.map_err(|error| broken(path, error))?;
    found.ok_or_else(|| broken(path, FileError::NoArray(name)))
}

/// Reads an array of structures: flags, dimensions, its name, the names of the fields, and an array for each field
/// of each structure.
#[expect(clippy::type_complexity, reason = "a name, and the fields of each structure")]
fn structures(
    mut body: &[u8],
) -> Result<Option<(String, Vec<BTreeMap<String, MatField>>)>, MatError> {
    let flags = MatElement::take(&mut body, true)?;
    if flags.kind != UINT32 || flags.body.first() != Some(&STRUCTURE) {
        return Ok(None);
    }
    MatElement::take(&mut body, true)?;
    let name = MatElement::take(&mut body, true)?;
    let name = String::from_utf8_lossy(name.body).into_owned();
    let wrong = || MatError::NoDimensions(name.clone());
    let width = MatElement::take(&mut body, true)?;
    let width = width.body.first_chunk().map(|width| u32::from_le_bytes(*width) as usize);
    let width = width.filter(|width| *width > 0).ok_or_else(wrong)?;
    let names = MatElement::take(&mut body, true)?;
    let names = names.body.chunks_exact(width).map(|name| {
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(width);
        String::from_utf8_lossy(&name[..end]).into_owned()
    });
    let names: Vec<String> = names.collect();
    let mut records = vec![];
    while !names.is_empty() && !body.is_empty() {
        let mut record = BTreeMap::new();
        for name in &names {
            let element = MatElement::take(&mut body, true)?;
            if element.kind != MATRIX {
                return Err(wrong());
            }
            record.insert(name.clone(), field(element.body)?);
        }
        records.push(record);
    }
    Ok(Some((name, records)))
}

fn field(body: &[u8]) -> Result<MatField, MatError> {
    if body.is_empty() {
        return Ok(MatField::Other);
    }
    let mut rest = body;
    let flags = MatElement::take(&mut rest, true)?;
    if flags.body.first() != Some(&TEXT) {
        return Ok(match matrix(body)? {
            Some((_, array)) => MatField::Numbers(match array.values {
                MatValues::Bytes(bytes) => bytes.into_iter().map(f64::from).collect(),
                MatValues::Numbers(numbers) => numbers,
            }),
            None => MatField::Other,
        });
    }
    MatElement::take(&mut rest, true)?;
    MatElement::take(&mut rest, true)?;
    let text = MatElement::take(&mut rest, true)?;
    Ok(match text.kind {
        INT8 | UINT8 | UTF8 => MatField::Text(String::from_utf8_lossy(text.body).into_owned()),
        UINT16 | UTF16 => {
            let (units, _) = text.body.as_chunks::<2>();
            let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            MatField::Text(String::from_utf16_lossy(&units))
        }
        _ => MatField::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::file::Scratch;

    /// What `scipy.io.savemat(.., {"synsets": ..}, do_compression=True)` writes of two structures with an
    /// `ILSVRC2012_ID` (2 and 1) and a `WNID` (`n02` and `n01`).
    const FILE: &[u8] = include_bytes!("structures.mat");

    #[test]
    fn fields_are_read_by_name() {
        let scratch = Scratch::new("structures");
        let path = scratch.write("meta.mat", FILE);
        let found = records(&path, "synsets").expect("it is whole");
        let want = [(2.0, "n02"), (1.0, "n01")].map(|(id, wnid)| {
            BTreeMap::from([
                ("ILSVRC2012_ID".to_owned(), MatField::Numbers(vec![id])),
                ("WNID".to_owned(), MatField::Text(wnid.to_owned())),
            ])
        });
        assert_eq!(found, want);
        let error = records(&path, "classes").expect_err("there is none").to_string();
        assert!(error.contains("has no array `classes`"), "{error}");
        let path = scratch.write("cut.mat", &FILE[..FILE.len() - 9]);
        assert!(records(&path, "synsets").is_err());
    }
}
