//! Mistakes in a pipeline file, each shown at its place.

use engine::{SpecError, SpecErrors};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, Severity,
    SourceCode,
};
use std::{error::Error, fmt, io::IsTerminal as _};

#[derive(Debug)]
struct Mistake {
    error: SpecError,
    source: NamedSource<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.kind.fmt(f)
    }
}

impl Error for Mistake {}

impl Diagnostic for Mistake {
    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.error.hint.as_ref().map(|hint| Box::new(hint) as _)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let range = self.error.place.range();
        // A table that spans many lines is pointed at by its first line.
        let text = self.source.inner();
        let end = text[range.start.min(text.len())..range.end.min(text.len())]
            .find('\n')
            .map_or(range.end, |line| range.start + line);
        Some(Box::new(std::iter::once(LabeledSpan::underline(range.start..end))))
    }
}

/// Returns every mistake as people read it.
pub(crate) fn render(errors: SpecErrors) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
    let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
    let mut text = String::new();
    let count = errors.errors.len();
    for error in errors.errors {
        let source = &errors.sources[error.place.source as usize];
        let source = NamedSource::new(&source.name, source.text.clone());
        handler.render_report(&mut text, &Mistake { error, source }).ok();
    }
    let noun = if count == 1 { "mistake" } else { "mistakes" };
    text.push_str(&format!("{count} {noun}; nothing was run"));
    text
}

/// Returns every mistake as programs read it.
pub(crate) fn json(errors: &SpecErrors) -> serde_json::Value {
    let one = |error: &SpecError| {
        let source = &errors.sources[error.place.source as usize];
        let before = &source.text[..error.place.range().start.min(source.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
        serde_json::json!({
            "file": source.name,
            "line": line,
            "column": column,
            "message": error.to_string(),
            "hint": error.hint,
        })
    };
    serde_json::json!({ "mistakes": errors.errors.iter().map(one).collect::<Vec<_>>() })
}
