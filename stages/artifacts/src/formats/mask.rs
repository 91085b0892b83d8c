//! Masks: which samples are kept, as a flag for each.

use super::{ArrayError, DataFile, Scalar, Values, Wanted, column::ColumnError};

/// What a column is called that says of each sample whether it is kept.
const FLAGS: [&str; 8] =
    ["keep", "kept", "is_kept", "selected", "is_selected", "select", "mask", "in_subset"];

/// Returns the flags of a mask: bools, or the words `True` and `False` as a table has them.
pub(super) fn flags(values: &Values<'_>) -> Option<Vec<bool>> {
    match values {
        Values::Numbers(array) if array.scalar == Scalar::Bool && array.shape.len() < 3 => {
            let is_row = matches!(array.shape[..], [_] | [_, 1]);
            is_row.then(|| array.data.iter().map(|flag| *flag != 0).collect())
        }
        Values::Numbers(_) => None,
        Values::Texts(texts) if texts.is_empty() => None,
        Values::Texts(texts) => texts.iter().map(|text| flag(text)).collect(),
    }
}

/// Whether `values` are a flag for each sample.
pub fn is_mask(values: &Values<'_>) -> bool {
    flags(values).is_some()
}

fn flag(text: &str) -> Option<bool> {
    let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
    if is("true") { Some(true) } else { is("false").then_some(false) }
}

/// Fails if a table of samples has a column beside that says which of them to keep, and that is not all of them.
///
/// # Errors
///
/// Names the column.
pub fn no_flags(file: &DataFile) -> Result<(), ColumnError> {
    let wanted = Wanted { given: None, usual: &FLAGS, setting: None };
    if !file.has(&FLAGS) {
        return Ok(());
    }
    let (name, values) = file.pick(wanted).map_err(ArrayError::from)?;
    let flags = flags(&values).or_else(|| match &values {
        Values::Numbers(array) => {
            let wholes = array.whole_numbers()?.into_iter();
            wholes.map(|one| matches!(one, 0 | 1).then_some(one == 1)).collect()
        }
        Values::Texts(_) => None,
    });
    match flags {
        Some(flags) if flags.contains(&false) => Err(ColumnError::Flags { name }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::{column::indices_in, npy};
    use std::path::Path;

    fn of(name: &str, bytes: &[u8]) -> DataFile {
        DataFile::new(Path::new(name), bytes.to_vec()).expect("it is of a kind that is read")
    }

    #[test]
    fn a_mask_has_a_flag_for_each_sample() {
        let header = "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }";
        let bools = of("k.npy", &npy::encode(1, header, &[1, 0, 1]));
        assert_eq!(indices_in(&bools, Some(3)).ok(), Some(vec![0, 2]));
        let error = indices_in(&bools, Some(4)).expect_err("it is too short").to_string();
        assert!(error.contains("3 bools") && error.contains("4 training samples"), "{error}");
        let words = of("k.csv", b"keep\nTrue\nFalse\nTrue\n");
        assert_eq!(indices_in(&words, Some(3)).ok(), Some(vec![0, 2]));
        let bare = of("k.txt", b"True\nFalse\nTrue\n");
        assert_eq!(indices_in(&bare, Some(3)).ok(), Some(vec![0, 2]));
        for (name, text) in [("k.json", "[]"), ("k.csv", "keep\nFalse\nfalse\n")] {
            let error = indices_in(&of(name, text.as_bytes()), None).expect_err("nothing is kept");
            assert!(matches!(error, ColumnError::Empty), "{error}");
        }
    }

    #[test]
    fn a_column_that_says_what_to_keep_is_not_passed_over() {
        for text in ["index,keep\n0,True\n1,False\n", "id,Selected\na,0\nb,1\n"] {
            let error = no_flags(&of("k.csv", text.as_bytes())).expect_err("one is not kept");
            assert!(matches!(error, ColumnError::Flags { .. }), "{error}");
        }
        for text in ["index,keep\n0,1\n1,1\n", "index,score\n0,0\n1,1\n"] {
            no_flags(&of("k.csv", text.as_bytes())).expect("all are kept");
        }
    }
}
