//! A drawing: shapes in named inks, one after the other. How they become SVG or pixels is not here.

use super::font;

/// How many series have a colour and a mark of their own.
pub(crate) const SERIES: usize = 8;
/// The steps of the scale from none to all.
pub(crate) const HEATS: usize = 11;

/// The role of a colour; light and dark pages have their own colours for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ink {
    Paper,
    Text,
    /// Text that may be overlooked.
    Muted,
    /// Axes, edges and outlines.
    Rule,
    /// Grids, and boxes behind text.
    Faint,
    /// The grey of the series behind the one that is highlighted.
    Back,
    /// A series, counted round from 0.
    Series(usize),
    /// A step of the scale, from 0 to [`HEATS`] - 1.
    Heat(usize),
    /// Text on that step.
    OnHeat(usize),
}

impl Ink {
    /// Returns the step for `share`, from 0 to 1.
    pub(crate) fn heat(share: f64) -> Self {
        Self::Heat(step(share))
    }

    pub(crate) fn on_heat(share: f64) -> Self {
        Self::OnHeat(step(share))
    }

    /// Returns its name in a stylesheet.
    pub(super) fn code(self) -> String {
        match self {
            Self::Paper => "p".to_owned(),
            Self::Text => "t".to_owned(),
            Self::Muted => "m".to_owned(),
            Self::Rule => "r".to_owned(),
            Self::Faint => "g".to_owned(),
            Self::Back => "b".to_owned(),
            Self::Series(at) => format!("c{}", at % SERIES),
            Self::Heat(step) => format!("h{step}"),
            Self::OnHeat(step) => if bright(step) { "lo" } else { "hi" }.to_owned(),
        }
    }

    /// Every ink there is, text on the scale twice: on its low and on its high steps.
    pub(super) fn all() -> Vec<Self> {
        let mut all =
            vec![Self::Paper, Self::Text, Self::Muted, Self::Rule, Self::Faint, Self::Back];
        all.extend((0..SERIES).map(Self::Series));
        all.extend((0..HEATS).map(Self::Heat));
        all.extend([Self::OnHeat(0), Self::OnHeat(HEATS - 1)]);
        all
    }

    /// Returns its colour.
    pub(super) fn colour(self, dark: bool) -> [u8; 3] {
        const LIGHT: [[u8; 3]; SERIES] = [
            [0x00, 0x72, 0xb2],
            [0xd5, 0x5e, 0x00],
            [0x00, 0x84, 0x5f],
            [0xa9, 0x45, 0x8a],
            [0x8a, 0x6d, 0x00],
            [0x3d, 0x2f, 0x8f],
            [0x10, 0x8f, 0xb8],
            [0x5a, 0x5a, 0x5a],
        ];
        const DARK: [[u8; 3]; SERIES] = [
            [0x5b, 0xb5, 0xea],
            [0xff, 0x8f, 0x45],
            [0x35, 0xc9, 0x9f],
            [0xe5, 0x95, 0xca],
            [0xe3, 0xc3, 0x4a],
            [0xa9, 0xa3, 0xf4],
            [0x8b, 0xe3, 0xf5],
            [0xbd, 0xbd, 0xbd],
        ];
        match (self, dark) {
            (Self::Paper, false) => [0xff, 0xff, 0xff],
            (Self::Paper, true) => [0x16, 0x1a, 0x20],
            (Self::Text, false) => [0x1b, 0x1f, 0x24],
            (Self::Text, true) => [0xe8, 0xeb, 0xef],
            (Self::Muted, false) => [0x57, 0x60, 0x6a],
            (Self::Muted, true) => [0xa3, 0xad, 0xb8],
            (Self::Rule, false) => [0x8b, 0x94, 0x9e],
            (Self::Rule, true) => [0x6b, 0x75, 0x80],
            (Self::Faint, false) => [0xe6, 0xe9, 0xed],
            (Self::Faint, true) => [0x2c, 0x33, 0x3c],
            (Self::Back, false) => [0xc3, 0xc9, 0xd0],
            (Self::Back, true) => [0x4b, 0x54, 0x5f],
            (Self::Series(at), false) => LIGHT[at % SERIES],
            (Self::Series(at), true) => DARK[at % SERIES],
            (Self::Heat(step), false) => mix([0xf1, 0xf5, 0xfa], [0x0b, 0x3c, 0x7a], step),
            (Self::Heat(step), true) => mix([0x1f, 0x27, 0x31], [0xa6, 0xd8, 0xff], step),
            (Self::OnHeat(step), dark) => {
                if bright(step) == dark {
                    [0xff, 0xff, 0xff]
                } else {
                    [0x12, 0x18, 0x20]
                }
            }
        }
    }
}

fn step(share: f64) -> usize {
    (share.clamp(0.0, 1.0) * (HEATS - 1) as f64).round() as usize
}

/// Whether a step of the scale is nearer to the paper than to the full colour.
fn bright(step: usize) -> bool {
    step < HEATS / 2
}

fn mix(from: [u8; 3], to: [u8; 3], step: usize) -> [u8; 3] {
    let share = step as f64 / (HEATS - 1) as f64;
    std::array::from_fn(|at| {
        let (from, to) = (f64::from(from[at]), f64::from(to[at]));
        (from + (to - from) * share).round() as u8
    })
}

/// Which point of a text stands at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture, row by row, with 1 byte a pixel (grey) or 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PixelImage {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) channels: usize,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum DrawnShape {
    Rect {
        at: (f64, f64),
        size: (f64, f64),
        round: f64,
        fill: Ink,
        outline: Option<Ink>,
        /// The tooltip.
        tip: String,
    },
    Line {
        points: Vec<(f64, f64)>,
        ink: Ink,
        width: f64,
        dashed: bool,
    },
    /// The mark of a series, by its number.
    Mark {
        at: (f64, f64),
        series: usize,
        tip: String,
    },
    Text {
        at: (f64, f64),
        text: String,
        size: f64,
        ink: Ink,
        anchor: Anchor,
        /// Whether it reads upwards.
        turned: bool,
    },
    Image {
        at: (f64, f64),
        size: (f64, f64),
        pixels: PixelImage,
        tip: String,
    },
}

/// Shapes on paper, in units of a CSS pixel.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) shapes: Vec<DrawnShape>,
}

/// The size of text that is read, of text beside it, and of headings.
pub(crate) const SMALL: f64 = 11.0;
pub(crate) const BODY: f64 = 12.0;
pub(crate) const HEADING: f64 = 13.5;

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, shapes: vec![] }
    }

    pub(crate) fn rect(&mut self, at: (f64, f64), size: (f64, f64), fill: Ink) {
        self.tipped_rect(at, size, fill, String::new());
    }

    pub(crate) fn tipped_rect(&mut self, at: (f64, f64), size: (f64, f64), fill: Ink, tip: String) {
        self.shapes.push(DrawnShape::Rect { at, size, round: 0.0, fill, outline: None, tip });
    }

    pub(crate) fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
        self.shapes.push(DrawnShape::Line { points, ink, width, dashed: false });
    }

    pub(crate) fn dashes(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        self.shapes.push(DrawnShape::Line { points: vec![from, to], ink, width, dashed: true });
    }

    pub(crate) fn text(
        &mut self,
        at: (f64, f64),
        text: impl Into<String>,
        size: f64,
        ink: Ink,
        anchor: Anchor,
    ) {
        let text = text.into();
        self.shapes.push(DrawnShape::Text { at, text, size, ink, anchor, turned: false });
    }

    /// Writes text upwards; `at` is where its `anchor` stands.
    pub(crate) fn turned(&mut self, at: (f64, f64), text: String, ink: Ink, anchor: Anchor) {
        let size = SMALL;
        self.shapes.push(DrawnShape::Text { at, text, size, ink, anchor, turned: true });
    }

    /// Writes `words` from `left` on in as many lines as they need; returns where the next line
    /// would stand.
    pub(crate) fn paragraph(
        &mut self,
        (left, top): (f64, f64),
        room: f64,
        words: &str,
        size: f64,
        ink: Ink,
    ) -> f64 {
        let mut y = top;
        for line in font::wrapped(words, size, room) {
            self.text((left, y), line, size, ink, Anchor::Start);
            y += size * 1.35;
        }
        y
    }

    /// Lays `other` on this one, its corner at `(dx, dy)`.
    pub(crate) fn place(&mut self, other: &Self, dx: f64, dy: f64) {
        let moved = |(x, y): (f64, f64)| (x + dx, y + dy);
        for shape in &other.shapes {
            let mut shape = shape.clone();
            match &mut shape {
                DrawnShape::Rect { at, .. }
                | DrawnShape::Mark { at, .. }
                | DrawnShape::Text { at, .. }
                | DrawnShape::Image { at, .. } => *at = moved(*at),
                DrawnShape::Line { points, .. } => {
                    points.iter_mut().for_each(|point| *point = moved(*point));
                }
            }
            self.shapes.push(shape);
        }
    }

    /// Returns `panels` side by side, at most `columns` in a row, under a heading.
    pub(crate) fn sheet(heading: &str, panels: &[Self], columns: usize) -> Self {
        const GAP: f64 = 24.0;
        let columns = columns.clamp(1, panels.len().max(1));
        let wide = panels.iter().map(|panel| panel.width).fold(0.0, f64::max);
        let room = (wide + GAP).mul_add(columns as f64, -GAP);
        let mut sheet = Self::new(room + 2.0 * GAP, 0.0);
        let below = sheet.paragraph((GAP, GAP + 12.0), room, heading, 16.0, Ink::Text);
        let mut y = below + 4.0;
        for row in panels.chunks(columns) {
            for (column, panel) in row.iter().enumerate() {
                sheet.place(panel, (wide + GAP).mul_add(column as f64, GAP), y);
            }
            y += row.iter().map(|panel| panel.height).fold(0.0, f64::max) + GAP;
        }
        sheet.height = y;
        sheet
    }
}

/// Returns the corners of a series' mark around `(0, 0)`, and whether it is filled. A circle has
/// many corners.
pub(super) fn mark(series: usize) -> (Vec<(f64, f64)>, bool) {
    let ring = |corners: usize, size: f64, turn: f64| {
        (0..corners).map(move |corner| {
            let angle = std::f64::consts::TAU * (corner as f64 / corners as f64 + turn);
            (size * angle.sin(), -size * angle.cos())
        })
    };
    let corners = match series % 4 {
        0 => ring(16, 3.8, 0.0).collect(),
        1 => ring(4, 4.8, 0.125).collect(),
        2 => ring(3, 5.2, 0.0).collect(),
        _ => ring(4, 5.2, 0.0).collect(),
    };
    (corners, series % SERIES < 4)
}
