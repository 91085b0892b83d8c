//! A drawing as pixels.

use super::{
    drawing::{Anchor, Drawing, DrawnShape, Ink, mark},
    font, png,
};
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, StrokeDash,
    Transform,
};

/// Returns `drawing` as PNG, `scale` pixels to its unit; `None` if it is larger than a picture can
/// be.
pub(super) fn png(drawing: &Drawing, scale: f64, dark: bool) -> Option<Vec<u8>> {
    let side = |side: f64| (side * scale).ceil().max(1.0) as u32;
    let mut canvas = Canvas {
        map: Pixmap::new(side(drawing.width), side(drawing.height))?,
        scale: Transform::from_scale(scale as f32, scale as f32),
        dark,
    };
    let [red, green, blue] = Ink::Paper.colour(dark);
    canvas.map.fill(Color::from_rgba8(red, green, blue, 255));
    drawing.shapes.iter().for_each(|shape| canvas.draw(shape));
    let (width, height) = (canvas.map.width() as usize, canvas.map.height() as usize);
    // Every pixel of a painted page is opaque.
    let solid: Vec<u8> = canvas
        .map
        .data()
        .chunks_exact(4)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .collect();
    Some(png::encode(width, height, 3, &solid))
}

struct Canvas {
    map: Pixmap,
    scale: Transform,
    dark: bool,
}

impl Canvas {
    fn paint(&self, ink: Ink) -> Paint<'static> {
        let [red, green, blue] = ink.colour(self.dark);
        colour(red, green, blue)
    }

    fn fill(&mut self, path: &Path, ink: Ink) {
        let paint = self.paint(ink);
        self.map.fill_path(path, &paint, FillRule::Winding, self.scale, None);
    }

    fn stroke(&mut self, path: &Path, ink: Ink, width: f64, dashed: bool) {
        let stroke = Stroke {
            width: width as f32,
            line_cap: LineCap::Butt,
            line_join: LineJoin::Round,
            dash: if dashed { StrokeDash::new(vec![5.0, 4.0], 0.0) } else { None },
            ..Stroke::default()
        };
        let paint = self.paint(ink);
        self.map.stroke_path(path, &paint, &stroke, self.scale, None);
    }

    fn draw(&mut self, shape: &DrawnShape) {
        match shape {
            DrawnShape::Rect { at, size, round, fill, outline, .. } => {
                let Some(path) = rounded(*at, *size, *round) else { return };
                self.fill(&path, *fill);
                if let Some(outline) = outline {
                    self.stroke(&path, *outline, 1.0, false);
                }
            }
            DrawnShape::Line { points, ink, width, dashed } => {
                if let Some(path) = through(points, false) {
                    self.stroke(&path, *ink, *width, *dashed);
                }
            }
            DrawnShape::Mark { at, series, .. } => {
                let (corners, filled) = mark(*series);
                let points: Vec<_> = corners.iter().map(|(x, y)| (x + at.0, y + at.1)).collect();
                let ink = Ink::Series(*series);
                if let Some(path) = through(&points, true) {
                    self.fill(&path, if filled { ink } else { Ink::Paper });
                    self.stroke(&path, ink, 1.5, false);
                }
            }
            DrawnShape::Text { at, text, size, ink, anchor, turned } => {
                let shift = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => -font::width(text, *size) / 2.0,
                    Anchor::End => -font::width(text, *size),
                };
                let mut pen = Pen { path: PathBuilder::new(), x: 0.0 };
                font::outline(text, &mut pen, |pen, x| pen.x = x);
                let Some(path) = pen.path.finish() else { return };
                let letter = (size / font::units()) as f32;
                let turn = if *turned { -90.0 } else { 0.0 };
                let place = self
                    .scale
                    .pre_translate(at.0 as f32, at.1 as f32)
                    .pre_rotate(turn)
                    .pre_translate(shift as f32, 0.0)
                    .pre_scale(letter, -letter);
                let paint = self.paint(*ink);
                self.map.fill_path(&path, &paint, FillRule::Winding, place, None);
            }
            DrawnShape::Image { at, size, pixels, .. } => {
                let each = (size.0 / pixels.width as f64, size.1 / pixels.height as f64);
                for (place, pixel) in pixels.bytes.chunks_exact(pixels.channels).enumerate() {
                    let (x, y) = (place % pixels.width, place / pixels.width);
                    let at = (at.0 + x as f64 * each.0, at.1 + y as f64 * each.1);
                    let [red, green, blue] = match *pixel {
                        [red, green, blue] => [red, green, blue],
                        _ => [pixel[0]; 3],
                    };
                    if let Some(rect) = rect(at, each) {
                        let mut paint = colour(red, green, blue);
                        // Smooth edges would let the paper through between neighbours.
                        paint.anti_alias = false;
                        self.map.fill_rect(rect, &paint, self.scale, None);
                    }
                }
            }
        }
    }
}

fn colour(red: u8, green: u8, blue: u8) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(red, green, blue, 255);
    paint.anti_alias = true;
    paint
}

fn rect(at: (f64, f64), size: (f64, f64)) -> Option<Rect> {
    Rect::from_xywh(at.0 as f32, at.1 as f32, size.0 as f32, size.1 as f32)
}

fn rounded(at: (f64, f64), size: (f64, f64), round: f64) -> Option<Path> {
    if round <= 0.0 {
        return rect(at, size).map(PathBuilder::from_rect);
    }
    let [left, top, right, bottom, round] =
        [at.0, at.1, at.0 + size.0, at.1 + size.1, round].map(|value| value as f32);
    let mut path = PathBuilder::new();
    path.move_to(left + round, top);
    path.line_to(right - round, top);
    path.quad_to(right, top, right, top + round);
    path.line_to(right, bottom - round);
    path.quad_to(right, bottom, right - round, bottom);
    path.line_to(left + round, bottom);
    path.quad_to(left, bottom, left, bottom - round);
    path.line_to(left, top + round);
    path.quad_to(left, top, left + round, top);
    path.close();
    path.finish()
}

fn through(points: &[(f64, f64)], closed: bool) -> Option<Path> {
    let mut path = PathBuilder::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let (x, y) = (*x as f32, *y as f32);
        if at == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    if closed {
        path.close();
    }
    path.finish()
}

/// Takes a font's outlines, each letter moved to its place.
struct Pen {
    path: PathBuilder,
    x: f32,
}

impl ttf_parser::OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.path.move_to(x + self.x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.path.line_to(x + self.x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.path.quad_to(x1 + self.x, y1, x + self.x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.path.cubic_to(x1 + self.x, y1, x2 + self.x, y2, x + self.x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}
