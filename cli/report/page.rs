//! The page: its head, its sections, its style.

use crate::plot::{figures::Panel, svg};
use std::fmt::Write as _;

pub(super) use crate::plot::svg::escape;

const STYLE: &str = include_str!("page.css");

/// The most rows of a table that does not scroll up and down.
const TALL: usize = 30;

pub(super) struct Page {
    head: String,
    contents: String,
    body: String,
    sections: usize,
}

impl Page {
    /// Starts a page. `lead` is HTML; the tiles are name, value and a remark.
    pub(super) fn new(title: &str, lead: &str, tiles: &[[String; 3]]) -> Self {
        let title = escape(title);
        let mut head = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title} · coresift</title>\n<style>\n{STYLE}{}\n\
             @media (prefers-color-scheme:dark){{{}}}\n</style>\n</head>\n<body>\n\
             <header>\n<p class=\"brand\">coresift report</p>\n<h1>{title}</h1>\n\
             <p class=\"lead\">{lead}</p>\n<dl class=\"tiles\">\n",
            svg::style(false),
            svg::style(true),
        );
        for [name, value, remark] in tiles {
            let [name, value, remark] = [name, value, remark].map(|text| escape(text));
            writeln!(
                head,
                "<div><dt>{name}</dt><dd><b>{value}</b><span>{remark}</span></dd></div>"
            )
            .ok();
        }
        head.push_str("</dl>\n</header>\n");
        Self { head, contents: String::new(), body: String::new(), sections: 0 }
    }

    /// Adds a section of HTML; an empty one is left out.
    pub(super) fn section(&mut self, heading: &str, note: &str, body: &str) {
        if body.is_empty() {
            return;
        }
        self.sections += 1;
        let id = format!("s{}", self.sections);
        let heading = escape(heading);
        let note = escape(note);
        write!(self.contents, "<li><a href=\"#{id}\">{heading}</a></li>").ok();
        writeln!(
            self.body,
            "<section id=\"{id}\" aria-labelledby=\"{id}h\">\n<h2 id=\"{id}h\">{heading}</h2>\n\
             <p class=\"note\">{note}</p>\n{body}\n</section>"
        )
        .ok();
    }

    pub(super) fn end(self, colophon: &str) -> String {
        let Self { head, contents, body, .. } = self;
        format!(
            "{head}<nav aria-label=\"Contents\"><ul>{contents}</ul></nav>\n<main>\n{body}</main>\n\
             <footer><p>{}</p></footer>\n</body>\n</html>\n",
            escape(colophon)
        )
    }
}

/// Returns panels side by side, as many as the page has room for.
pub(super) fn panels(panels: &[Panel], class: &str) -> String {
    let mut out = format!("<div class=\"panels {class}\">\n");
    for panel in panels {
        let svg = svg::inline(&panel.drawing, &panel.label);
        writeln!(out, "<figure class=\"scroll\" tabindex=\"0\">{svg}</figure>").ok();
    }
    out.push_str("</div>\n");
    out
}

/// Returns a table in a box of its own to scroll in. The first `words` columns are not numbers.
pub(super) fn table(caption: &str, rows: &[Vec<String>], words: usize) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let tall = if rows.len() > TALL { " tall" } else { "" };
    let mut out = format!(
        "<div class=\"scroll{tall}\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>\n\
         <caption>{0}</caption>\n<thead><tr>",
        escape(caption)
    );
    let class = |column: usize| if column < words { "" } else { " class=\"n\"" };
    for (column, name) in head.iter().enumerate() {
        write!(out, "<th scope=\"col\"{}>{}</th>", class(column), escape(name)).ok();
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for (column, entry) in row.iter().enumerate() {
            let entry = escape(entry);
            if column == 0 {
                write!(out, "<th scope=\"row\"><span>{entry}</span></th>").ok();
            } else {
                write!(out, "<td{}>{entry}</td>", class(column)).ok();
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
    out
}
