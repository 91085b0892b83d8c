//! Rows that are JSON documents.

use super::{Row, RowError, RowFields, RowsError, behind_bom};
use serde_json::Value;
use std::ops::Range;

/// Returns what the document in `bytes` says.
pub(super) fn row(bytes: &[u8], fields: &RowFields) -> Result<Row<'static>, RowError> {
    let text = std::str::from_utf8(bytes).map_err(|_| RowError::NotUtf8)?;
    let document: Value =
        serde_json::from_str(text).map_err(|error| RowError::NotJson(error.to_string()))?;
    let mut texts = vec![];
    for name in &fields.text {
        let mut found = vec![];
        gather(&document, name, &mut found);
        if found.is_empty() {
            return Err(RowError::NoField(name.clone()));
        }
        for value in found {
            let Value::String(text) = value else { return Err(RowError::NotText(name.clone())) };
            texts.push(text.as_str());
        }
    }
    let one = |name: &Option<String>| -> Result<Option<String>, RowError> {
        let Some(name) = name else { return Ok(None) };
        let mut found = vec![];
        gather(&document, name, &mut found);
        match found[..] {
            [Value::String(text)] => Ok(Some(text.clone())),
            [value @ (Value::Number(_) | Value::Bool(_))] => Ok(Some(value.to_string())),
            _ => Err(RowError::NoField(name.clone())),
        }
    };
    let (label, id) = (one(&fields.label)?, one(&fields.id)?);
    Ok(Row { text: texts.join("\n").into(), label, id })
}

/// Adds what lies at `path` inside `value`, in all of the elements of a list; what is missing or null is passed
/// over. A field whose own name has a dot goes before one inside another.
fn gather<'a>(value: &'a Value, path: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Null => {}
        Value::Array(list) => list.iter().for_each(|one| gather(one, path, found)),
        Value::Object(_) if path.is_empty() => found.push(value),
        Value::Object(fields) => {
            if let Some(inner) = fields.get(path) {
                return gather(inner, "", found);
            }
            let inside = |(at, _)| Some((fields.get(&path[..at])?, &path[at + 1..]));
            if let Some((inner, rest)) = path.match_indices('.').find_map(inside) {
                gather(inner, rest, found);
            }
        }
        value if path.is_empty() => found.push(value),
        _ => {}
    }
}

/// Returns where each document of the list in `bytes` lies, and the line that it begins on.
pub(super) fn list(bytes: &[u8]) -> Result<(Vec<Range<usize>>, Vec<String>), RowsError> {
    let (mut places, mut names) = (vec![], vec![]);
    let (mut line, mut counted) = (1, 0);
    let mut line_of = |at: usize| {
        line += bytes[counted..at].iter().filter(|byte| **byte == b'\n').count();
        counted = at;
        line
    };
    let blank = |from: usize| bytes[from..].len() - bytes[from..].trim_ascii_start().len();
    let mut at = behind_bom(bytes);
    at += blank(at) + 1;
    at += blank(at);
    if bytes.get(at) == Some(&b']') {
        return Ok((places, names));
    }
    loop {
        at += blank(at);
        let line = line_of(at);
        let wrong = |reason: String| RowsError::List { line, reason };
        let mut documents =
            serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<serde::de::IgnoredAny>();
        match documents.next() {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(wrong(error.to_string())),
            None => return Err(wrong("it ends here".to_owned())),
        }
        let end = at + documents.byte_offset();
        places.push(at..end);
        names.push(line.to_string());
        at = end + blank(end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => return Ok((places, names)),
            _ => return Err(wrong("expected `,` or `]` behind the document".to_owned())),
        }
    }
}
