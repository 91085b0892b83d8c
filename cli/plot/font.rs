//! The font of drawings: how wide a text is, and its outlines. DejaVu Sans, which is built into the program.

use std::sync::OnceLock;
use ttf_parser::{Face, OutlineBuilder};

fn face() -> &'static Face<'static> {
    static FACE: OnceLock<Face<'static>> = OnceLock::new();
    FACE.get_or_init(|| Face::parse(dejavu::sans::regular(), 0).expect("the font on board reads"))
}

fn advance(letter: char) -> f64 {
    let glyph = face().glyph_index(letter).unwrap_or_default();
    f64::from(face().glyph_hor_advance(glyph).unwrap_or(0))
}

/// Returns how wide `text` is. Most fonts a browser takes in its place are narrower.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size / f64::from(face().units_per_em())
}

/// Returns `text`, cut short with an ellipsis where it is wider than `room`.
pub(crate) fn fitted(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut cut: Vec<char> = text.chars().collect();
    loop {
        cut.pop();
        let short = format!("{}…", cut.iter().collect::<String>().trim_end());
        if cut.is_empty() || width(&short, size) <= room {
            return short;
        }
    }
}

/// Returns `text` in lines no wider than `room`, broken between words.
pub(super) fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fitted(word, size, room)),
        }
    }
    lines
}

/// Draws the outlines of `text` with `builder`, starting at the origin on the base line, in units
/// of the font with y upwards; returns how wide it is in them. `place` is told where each letter
/// starts.
pub(super) fn outline<B: OutlineBuilder>(text: &str, builder: &mut B, place: fn(&mut B, f32)) {
    let mut x = 0.0;
    for letter in text.chars() {
        place(builder, x as f32);
        face().outline_glyph(face().glyph_index(letter).unwrap_or_default(), builder);
        x += advance(letter);
    }
}

/// Returns how many units of the font make up its size.
pub(super) fn units() -> f64 {
    f64::from(face().units_per_em())
}
