//! A heading and rows of text, and the ways to write them down.

use crate::context::{columns, width_of};
use std::ops::Range;

/// A heading and rows of text.
pub(super) struct Sheet {
    /// The line above the table, if any.
    pub(super) caption: Option<String>,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
    /// The columns that hold numbers.
    pub(super) numbers: Range<usize>,
    /// The lines below the table.
    pub(super) notes: Vec<String>,
}

impl Sheet {
    /// Returns how many places its longest line takes.
    pub(super) fn width(&self) -> usize {
        self.text().lines().map(width_of).max().unwrap_or(0)
    }

    /// Takes a column of numbers away and returns its heading.
    pub(super) fn remove(&mut self, column: usize) -> String {
        self.numbers.end -= 1;
        self.rows.iter_mut().for_each(|row| drop(row.remove(column)));
        self.head.remove(column)
    }

    pub(super) fn text(&self) -> String {
        let rows: Vec<Vec<String>> =
            std::iter::once(&self.head).chain(&self.rows).cloned().collect();
        let table = columns(&rows, |column| self.numbers.contains(&column));
        let lines = self.caption.iter().map(|line| format!("{line}\n"));
        let notes = self.notes.iter().map(|line| format!("{line}\n"));
        lines.chain([table]).chain(notes).collect()
    }

    pub(super) fn markdown(&self) -> String {
        let rule = |column| if self.numbers.contains(&column) { "---:" } else { "---" }.to_owned();
        let rule: Vec<String> = (0..self.head.len()).map(rule).collect();
        let line = |row: &Vec<String>| {
            let row: Vec<String> = row.iter().map(|entry| entry.replace('|', "\\|")).collect();
            format!("| {} |\n", row.join(" | "))
        };
        let mut out: String = self.caption.iter().map(|text| format!("{text}\n\n")).collect();
        out.extend([&self.head, &rule].into_iter().chain(&self.rows).map(line));
        out.extend(self.notes.iter().map(|text| format!("\n{text}\n")));
        out
    }

    pub(super) fn latex(&self) -> String {
        let align = |column| if self.numbers.contains(&column) { 'r' } else { 'l' };
        let align: String = (0..self.head.len()).map(align).collect();
        let line = |row: &Vec<String>| {
            let row: Vec<String> = row.iter().map(|entry| tex(entry)).collect();
            format!("{} \\\\\n", row.join(" & "))
        };
        let remark = |text: &String| format!("% {text}\n");
        let mut out: String = self.caption.iter().map(remark).collect();
        out.push_str(&format!("\\begin{{tabular}}{{{align}}}\n\\toprule\n{}", line(&self.head)));
        out.push_str("\\midrule\n");
        out.extend(self.rows.iter().map(line));
        out.push_str("\\bottomrule\n\\end{tabular}\n");
        out.extend(self.notes.iter().map(remark));
        out
    }
}

/// Returns `text` with what TeX would take for a command made plain.
fn tex(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '±' => out.push_str("$\\pm$"),
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("$<$"),
            '>' => out.push_str("$>$"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', letter]),
            other => out.push(other),
        }
    }
    out
}

/// Returns one line of a CSV file.
pub(super) fn csv_line(fields: &[String]) -> String {
    let field = |field: &String| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field.clone()
        }
    };
    format!("{}\n", fields.iter().map(field).collect::<Vec<_>>().join(","))
}

/// Returns a number that may be missing, as a CSV file has it.
pub(super) fn csv_number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_written_for_tex_and_markdown() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let sheet = Sheet {
            caption: None,
            head: row("selector", "worst_class %"),
            rows: vec![row("k-center|a", "93.05 ± 0.81")],
            numbers: 1..2,
            notes: vec![],
        };
        let wanted = "\
\\begin{tabular}{lr}
\\toprule
selector & worst\\_class \\% \\\\
\\midrule
k-center|a & 93.05 $\\pm$ 0.81 \\\\
\\bottomrule
\\end{tabular}
";
        assert_eq!(sheet.latex(), wanted);
        let wanted = "\
| selector | worst_class % |
| --- | ---: |
| k-center\\|a | 93.05 ± 0.81 |
";
        assert_eq!(sheet.markdown(), wanted);
    }
}
