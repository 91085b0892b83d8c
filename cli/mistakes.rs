//! Mistakes in a pipeline file, each shown at its place.

use crate::output::{Stream, thousands};
use engine::{SpecError, SpecErrors};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};
use std::{collections::BTreeMap, error::Error, fmt, ops::Range};

/// How many mistakes are shown to people; programs get all.
const SHOWN: usize = 50;
/// A line of more bytes than these is shown around the place only.
const LONG: usize = 240;
/// How many bytes of it are shown before the place, and from there on.
const AROUND: (usize, usize) = (80, 120);
/// A message or a hint of more bytes than these is cut.
const LONG_MESSAGE: usize = 1_000;

/// A source and where its lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// Returns which line holds the byte at `at`, from 0.
    fn row(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    /// Returns the bytes of a line, without its end.
    fn range(&self, row: usize) -> Range<usize> {
        let start = self.starts[row];
        let end = self.starts.get(row + 1).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        start..start + line.strip_suffix('\r').unwrap_or(line).len()
    }

    /// Returns the line and the column of the byte at `at`, both from 0.
    fn position(&self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at);
        let row = self.row(at);
        (row, self.text[self.starts[row]..at].chars().count())
    }
}

/// The lines around a mistake, and the mistake in them.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    /// The bytes of the text that are underlined.
    mark: Range<usize>,
    /// The number of its first line in the file, from 0.
    first: usize,
    /// The line and column of the mark in the file, from 0.
    position: (usize, usize),
}

impl Excerpt {
    fn of(name: &str, lines: &Lines<'_>, place: Range<usize>) -> Self {
        let start = lines.text.floor_char_boundary(place.start);
        let position = lines.position(start);
        let row = position.0;
        let first = row.saturating_sub(1);
        // An empty rest after the last line break is no line.
        let next = lines.starts.get(row + 1).filter(|next| **next < lines.text.len());
        let last = if next.is_some() { row + 1 } else { row };
        let mut text = String::new();
        let mut mark = 0..0;
        for one in first..=last {
            let range = lines.range(one);
            let line = &lines.text[range.clone()];
            if one != row {
                text.push_str(&cut(line, 0).0);
            } else {
                let (shown, from) = cut(line, start - range.start);
                // A table that spans many lines is marked by its first line.
                let end = place.end.clamp(start, range.end.max(start));
                let end = (end - range.start).saturating_sub(from.taken) + from.put;
                let begin = text.len() + start - range.start - from.taken + from.put;
                mark = begin..(text.len() + end).min(text.len() + shown.len()).max(begin);
                text.push_str(&shown);
            }
            if one < last {
                text.push('\n');
            }
        }
        Self { name: name.to_owned(), text, mark, first, position }
    }
}

/// How many bytes were taken away from the beginning of a line, and how many put there.
struct Shift {
    taken: usize,
    put: usize,
}

/// Returns `line`, if it is long only what is around the byte at `at`.
fn cut(line: &str, at: usize) -> (String, Shift) {
    if line.len() <= LONG {
        return (line.to_owned(), Shift { taken: 0, put: 0 });
    }
    let from = line.floor_char_boundary(at.saturating_sub(AROUND.0));
    let to = line.ceil_char_boundary((at + AROUND.1).min(line.len()));
    let before = if from > 0 { "…" } else { "" };
    let after = if to < line.len() { "…" } else { "" };
    let shift = Shift { taken: from, put: before.len() };
    (format!("{before}{}{after}", &line[from..to]), shift)
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // Without lines around it, what is asked for is where the mark stands.
        let (start, (row, column)) = match lines_before {
            0 => (span.offset(), self.position),
            _ => (0, (self.first, 0)),
        };
        let data = self.text.get(start..).ok_or(MietteError::OutOfBounds)?;
        let covered = (start, data.len()).into();
        let name = self.name.clone();
        let count = data.lines().count();
        let contents =
            MietteSpanContents::new_named(name, data.as_bytes(), covered, row, column, count);
        Ok(Box::new(contents))
    }
}

#[derive(Debug)]
struct Mistake {
    message: String,
    hint: Option<String>,
    excerpt: Excerpt,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Mistake {}

impl Diagnostic for Mistake {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.excerpt)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::underline(self.excerpt.mark.clone()))))
    }
}

/// The sources of some mistakes, each gone through once.
struct Sources<'a> {
    errors: &'a SpecErrors,
    lines: BTreeMap<u32, Lines<'a>>,
}

impl<'a> Sources<'a> {
    fn of(errors: &'a SpecErrors) -> Self {
        Self { errors, lines: BTreeMap::new() }
    }

    /// Returns the name and the lines of the source `error` is in.
    fn of_error(&mut self, error: &SpecError) -> (&'a str, &Lines<'a>) {
        let number = error.span.source;
        let source = &self.errors.sources[number as usize];
        let lines = self.lines.entry(number).or_insert_with(|| Lines::of(&source.text));
        (&source.name, lines)
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= LONG_MESSAGE {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LONG_MESSAGE)])
}

/// Returns the mistakes as people read them on stderr.
pub(crate) fn render(errors: &SpecErrors) -> String {
    let theme = match (Stream::Err.is_ascii(), Stream::Err.has_colour()) {
        (true, true) => GraphicalTheme::ascii(),
        (true, false) => GraphicalTheme::none(),
        (false, true) => GraphicalTheme::unicode(),
        (false, false) => GraphicalTheme::unicode_nocolor(),
    };
    let handler = GraphicalReportHandler::new_themed(theme);
    let handler = match Stream::Err.columns() {
        Some(columns) => handler.with_width(columns.clamp(40, 100)),
        None => handler.with_wrap_lines(false).with_width(usize::MAX),
    };
    let mut sources = Sources::of(errors);
    let mut text = String::new();
    for error in errors.errors.iter().take(SHOWN) {
        let (name, lines) = sources.of_error(error);
        let excerpt = Excerpt::of(name, lines, error.span.range());
        let message = shortened(&error.kind.to_string());
        let hint = error.hint.as_deref().map(shortened);
        handler.render_report(&mut text, &Mistake { message, hint, excerpt }).ok();
    }
    let count = errors.errors.len();
    if count > SHOWN {
        let more = thousands(count - SHOWN);
        text.push_str(&format!("… and {more} more; the first {SHOWN} are shown\n"));
    }
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    text.push_str(&format!("{} {noun}; nothing was run", thousands(count)));
    text
}

/// Returns every mistake as programs read it.
pub(crate) fn json(errors: &SpecErrors) -> serde_json::Value {
    let mut sources = Sources::of(errors);
    let one = |error: &SpecError| {
        let (name, lines) = sources.of_error(error);
        let (row, column) = lines.position(error.span.range().start);
        serde_json::json!({
            "file": name,
            "line": row + 1,
            "column": column + 1,
            "message": error.to_string(),
            "hint": error.hint,
        })
    };
    errors.errors.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(text: &str, what: &str) -> Excerpt {
        let start = text.find(what).expect("it is there");
        Excerpt::of("p.toml", &Lines::of(text), start..start + what.len())
    }

    #[test]
    fn an_excerpt_is_the_line_and_its_neighbours() {
        let found = excerpt("a = 1\r\nö = 2\nkep = 3\nd = 4\n", "kep");
        assert_eq!((found.text.as_str(), found.first), ("ö = 2\nkep = 3\nd = 4", 1));
        assert_eq!((&found.text[found.mark.clone()], found.position), ("kep", (2, 0)));
        let found = excerpt("ö = kep", "kep");
        assert_eq!((&found.text[found.mark.clone()], found.position), ("kep", (0, 4)));
        let found = excerpt("[a]\nb = 1\n[c]\n", "[a]\nb = 1");
        assert_eq!(&found.text[found.mark.clone()], "[a]", "a table is marked by its first line");
        let empty = Excerpt::of("p.toml", &Lines::of(""), 3..7);
        assert_eq!((empty.text.as_str(), empty.mark, empty.position), ("", 0..0, (0, 0)));
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let text = format!("a = \"{}\"; kep = \"{}\"", "ä".repeat(5_000), "ö".repeat(5_000));
        let found = excerpt(&text, "kep");
        assert!(found.text.len() < LONG + 10, "{}", found.text);
        assert!(found.text.starts_with('…') && found.text.ends_with('…'), "{}", found.text);
        assert_eq!((&found.text[found.mark.clone()], found.position), ("kep", (0, 5_008)));
        // One that spans more than is shown is marked to the end of it.
        let found = excerpt(&text, &text[5..]);
        assert_eq!(found.mark.end, found.text.len());
    }
}
