//! A drawing as SVG: inside a page, whose stylesheet colours it, or as a file of its own.

use super::{
    drawing::{Anchor, Drawing, DrawnShape, Ink, PixelImage, mark},
    png,
};
use std::fmt::Write as _;

const FONT: &str = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif";

/// Returns the element for a page; `label` says what is to be seen.
pub(crate) fn inline(drawing: &Drawing, label: &str) -> String {
    let (width, height) = (number(drawing.width), number(drawing.height));
    let label = escape(label);
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
         aria-label=\"{label}\">{}</svg>",
        shapes(drawing)
    )
}

/// Returns a file that stands alone.
pub(crate) fn file(drawing: &Drawing, label: &str, dark: bool) -> String {
    let (width, height) = (number(drawing.width), number(drawing.height));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n<title>{}</title>\n\
         <style>{}text{{font-family:{FONT}}}</style>\n\
         <rect class=\"fp\" width=\"{width}\" height=\"{height}\"/>\n{}</svg>\n",
        escape(label),
        style(dark),
        shapes(drawing).replace("><", ">\n<"),
    )
}

/// Returns the rules that colour the shapes.
pub(crate) fn style(dark: bool) -> String {
    let mut out = String::new();
    for ink in Ink::all() {
        let [red, green, blue] = ink.colour(dark);
        let code = ink.code();
        let colour = format!("#{red:02x}{green:02x}{blue:02x}");
        write!(out, ".f{code}{{fill:{colour}}}.s{code}{{stroke:{colour}}}").ok();
    }
    out
}

/// Returns `text` as XML and HTML hold it.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' => out.push('\u{fffd}'),
            _ => out.push(letter),
        }
    }
    out
}

fn shapes(drawing: &Drawing) -> String {
    let mut out = String::new();
    drawing.shapes.iter().for_each(|one| shape(&mut out, one));
    out
}

fn shape(out: &mut String, shape: &DrawnShape) {
    match shape {
        DrawnShape::Rect { at, size, round, fill, outline, tip } => {
            let class = match outline {
                Some(outline) => format!("f{} s{}", fill.code(), outline.code()),
                None => format!("f{}", fill.code()),
            };
            write!(out, "<rect class=\"{class}\"{}", frame(*at, *size)).ok();
            if *round > 0.0 {
                write!(out, " rx=\"{}\"", number(*round)).ok();
            }
            close(out, "rect", tip);
        }
        DrawnShape::Line { points, ink, width, dashed } => {
            let code = ink.code();
            let width = number(*width);
            let dash = if *dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            write!(
                out,
                "<polyline class=\"s{code}\" fill=\"none\" stroke-width=\"{width}\"{dash} \
                 stroke-linejoin=\"round\" points=\"{}\"/>",
                list(points)
            )
            .ok();
        }
        DrawnShape::Mark { at, series, tip } => {
            let (corners, filled) = mark(*series);
            let points: Vec<_> = corners.iter().map(|(x, y)| (x + at.0, y + at.1)).collect();
            let code = Ink::Series(*series).code();
            let fill = if filled { code.clone() } else { Ink::Paper.code() };
            write!(
                out,
                "<polygon class=\"f{fill} s{code}\" stroke-width=\"1.5\" points=\"{}\"",
                list(&points)
            )
            .ok();
            close(out, "polygon", tip);
        }
        DrawnShape::Text { at, text, size, ink, anchor, turned } => {
            let x = number(at.0);
            let y = number(at.1);
            let code = ink.code();
            let size = number(*size);
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let turn =
                if *turned { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
            write!(
                out,
                "<text class=\"f{code}\" x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{turn}>{}</text>",
                escape(text)
            )
            .ok();
        }
        DrawnShape::Image { at, size, pixels, tip } => {
            write!(
                out,
                "<image{} style=\"image-rendering:pixelated\" preserveAspectRatio=\"none\" \
                 href=\"{}\"",
                frame(*at, *size),
                uri(pixels)
            )
            .ok();
            close(out, "image", tip);
        }
    }
}

fn close(out: &mut String, name: &str, tip: &str) {
    if tip.is_empty() {
        out.push_str("/>");
    } else {
        write!(out, "><title>{}</title></{name}>", escape(tip)).ok();
    }
}

fn frame(at: (f64, f64), size: (f64, f64)) -> String {
    let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(number);
    format!(" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"")
}

fn list(points: &[(f64, f64)]) -> String {
    let point = |(x, y): &(f64, f64)| format!("{},{}", number(*x), number(*y));
    points.iter().map(point).collect::<Vec<_>>().join(" ")
}

/// A tenth of a pixel is as fine as anyone sees.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn uri(pixels: &PixelImage) -> String {
    let bytes = png::encode(pixels.width, pixels.height, pixels.channels, &pixels.bytes);
    format!("data:image/png;base64,{}", png::base64(&bytes))
}
