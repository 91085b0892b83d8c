//! Texts inside columns of lists and structs, as chats are kept: `messages.content`.

use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{
        Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
    },
};
use arrow_schema::DataType;

/// Returns what of `path` lies inside a field called `name`: nothing where the field is all of it.
pub(super) fn inside<'a>(name: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(name)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Returns the texts of each row at `path` inside `array`, one behind the other with a line break between; `None`
/// where there is none. Whole numbers are written out. `None` in all if what lies there is something else.
pub(super) fn texts(array: &ArrayRef, path: &str) -> Option<Vec<Option<String>>> {
    is_text(array.data_type(), path).then(|| {
        let row = |at| {
            let mut found = vec![];
            gather(array, at, path, &mut found);
            (!found.is_empty()).then(|| found.join("\n"))
        };
        (0..array.len()).map(row).collect()
    })
}

/// Whether texts or whole numbers lie at `path` inside a column of this type.
fn is_text(kind: &DataType, path: &str) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => path.is_empty(),
        DataType::Struct(fields) => fields.iter().any(|field| {
            inside(field.name(), path).is_some_and(|rest| is_text(field.data_type(), rest))
        }),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_text(item.data_type(), path)
        }
        DataType::Dictionary(_, values) => is_text(values, path),
        kind => path.is_empty() && kind.is_integer(),
    }
}

/// Adds the texts of row `at` to those `found`; what is missing is passed over.
fn gather(array: &ArrayRef, at: usize, path: &str, found: &mut Vec<String>) {
    if array.is_null(at) {
        return;
    }
    let mut each = |list: ArrayRef| (0..list.len()).for_each(|at| gather(&list, at, path, found));
    match array.data_type() {
        DataType::Utf8 => found.push(array.as_string::<i32>().value(at).to_owned()),
        DataType::LargeUtf8 => found.push(array.as_string::<i64>().value(at).to_owned()),
        DataType::Utf8View => found.push(array.as_string_view().value(at).to_owned()),
        DataType::List(_) => each(array.as_list::<i32>().value(at)),
        DataType::LargeList(_) => each(array.as_list::<i64>().value(at)),
        DataType::FixedSizeList(..) => each(array.as_fixed_size_list().value(at)),
        DataType::Struct(fields) => {
            let inner = fields.iter().zip(array.as_struct().columns());
            for (field, column) in inner {
                if let Some(rest) = inside(field.name(), path)
                    && is_text(field.data_type(), rest)
                {
                    return gather(column, at, rest, found);
                }
            }
        }
        DataType::Dictionary(..) => {
            let one = array.slice(at, 1);
            if let Some(all) = one.as_any_dictionary_opt() {
                gather(all.values(), all.normalized_keys()[0], path, found);
            }
        }
        kind => found.extend(whole(array, kind, at)),
    }
}

/// Returns the whole number of row `at`, written out.
fn whole(array: &ArrayRef, kind: &DataType, at: usize) -> Option<String> {
    Some(match kind {
        DataType::Int8 => array.as_primitive::<Int8Type>().value(at).to_string(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(at).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).to_string(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(at).to_string(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(at).to_string(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(at).to_string(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(at).to_string(),
        _ => return None,
    })
}
