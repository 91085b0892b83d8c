//! The axes of a chart: scales, ticks, and the frame they stand on.

use super::{
    drawing::{Anchor, BODY, Drawing, HEADING, Ink, SMALL},
    font,
};

/// Values laid out between two places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Whether equal ratios are equally long.
    pub(super) ratios: bool,
}

impl Scale {
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = if self.high <= self.low {
            0.5
        } else if self.ratios {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share * (self.to - self.from)
    }
}

/// Returns round values that cover `low` to `high` in about `count` steps, and how many digits
/// tell them apart.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> (Vec<f64>, usize) {
    let span = (high - low).max(1e-9);
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|step| step * power >= rough * 0.999);
    let step = nice.unwrap_or(10.0) * power;
    let (first, last) = ((low / step).floor(), (high / step - 1e-9).ceil());
    let values = (0..=(last - first).max(1.0) as usize).map(|at| (first + at as f64) * step);
    let digits = (0..6).find(|digits| {
        let scaled = step * 10f64.powi(*digits);
        (scaled - scaled.round()).abs() < 1e-6
    });
    (values.collect(), digits.unwrap_or(6) as usize)
}

/// A value on an axis, and what is written there.
pub(super) type Tick = (f64, String);

/// The axes, ticks and labels around a plot.
pub(super) struct Frame<'a> {
    pub(super) heading: &'a str,
    /// The names and units of the axes.
    pub(super) across: &'a str,
    pub(super) upwards: &'a str,
    pub(super) x: Vec<Tick>,
    pub(super) y: Vec<Tick>,
    /// Whether equal ratios are equally long across.
    pub(super) ratios: bool,
    /// The names of the series, by their colours.
    pub(super) legend: &'a [(String, Ink, Option<usize>)],
}

impl Frame<'_> {
    /// Draws the frame on new paper; the scales lead from values to it.
    pub(super) fn draw(&self, width: f64, height: f64) -> (Drawing, Scale, Scale) {
        let mut page = Drawing::new(width, height);
        let mut top = 4.0;
        if !self.heading.is_empty() {
            top = page.paragraph((0.0, top + 11.0), width, self.heading, HEADING, Ink::Text) - 10.0;
        }
        top = legend(&mut page, self.legend, top + 4.0);
        page.text((0.0, top + 12.0), self.upwards, SMALL, Ink::Muted, Anchor::Start);
        top += 24.0;
        let widest = self.y.iter().map(|(_, text)| font::width(text, SMALL)).fold(0.0, f64::max);
        let left = widest + 10.0;
        let right = width - 14.0;
        let bottom = height - 36.0;
        let ends = |ticks: &[Tick]| {
            let values = || ticks.iter().map(|(value, _)| *value);
            (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
        };
        let (low, high) = ends(&self.y);
        let up = Scale { low, high, from: bottom, to: top, ratios: false };
        let (low, high) = ends(&self.x);
        let over = Scale { low, high, from: left + 8.0, to: right - 4.0, ratios: self.ratios };
        for (value, text) in &self.y {
            let y = up.at(*value);
            page.line(vec![(left, y), (right, y)], Ink::Faint, 1.0);
            page.text((left - 6.0, y + 4.0), text, SMALL, Ink::Muted, Anchor::End);
        }
        page.line(vec![(left, bottom), (right, bottom)], Ink::Rule, 1.0);
        let mut free = f64::NEG_INFINITY;
        for (value, text) in &self.x {
            let x = over.at(*value);
            let half = font::width(text, SMALL) / 2.0;
            page.line(vec![(x, bottom), (x, bottom + 4.0)], Ink::Rule, 1.0);
            if x - half >= free {
                let x = x.min(width - half);
                page.text((x, bottom + 16.0), text, SMALL, Ink::Muted, Anchor::Middle);
                free = x + half + 6.0;
            }
        }
        page.text((right, height - 4.0), self.across, SMALL, Ink::Muted, Anchor::End);
        (page, over, up)
    }
}

/// Writes the names of the series in as many lines as they need; returns where they end.
pub(super) fn legend(
    page: &mut Drawing,
    entries: &[(String, Ink, Option<usize>)],
    top: f64,
) -> f64 {
    let (mut x, mut y) = (0.0, top);
    for (name, ink, mark) in entries {
        let name = font::fitted(name, BODY, page.width - 30.0);
        let wide = 24.0 + font::width(&name, BODY) + 14.0;
        if x > 0.0 && x + wide > page.width {
            (x, y) = (0.0, y + 19.0);
        }
        if let Some(series) = mark {
            page.line(vec![(x, y + 9.0), (x + 18.0, y + 9.0)], *ink, 2.0);
            let (at, tip) = ((x + 9.0, y + 9.0), String::new());
            page.shapes.push(super::drawing::DrawnShape::Mark { at, series: *series, tip });
        } else {
            page.rect((x, y + 3.0), (18.0, 12.0), *ink);
        }
        page.text((x + 24.0, y + 13.0), name, BODY, Ink::Text, Anchor::Start);
        x += wide;
    }
    if entries.is_empty() { top } else { y + 20.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        assert_eq!(ticks(0.0, 1.0, 5), (vec![0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0], 1));
        let (values, digits) = ticks(81.3, 93.1, 4);
        assert_eq!((values.first(), values.last(), digits), (Some(&80.0), Some(&95.0), 0));
        for (low, high) in [(0.0, 0.0), (-3e-4, 2e-3), (5.0, 5e6), (-2.0, -1.0)] {
            let (values, _) = ticks(low, high, 5);
            assert!(values[0] <= low && *values.last().expect("some") >= high, "{values:?}");
            assert!((2..=12).contains(&values.len()), "{values:?}");
        }
    }

    #[test]
    fn a_scale_of_ratios_puts_the_geometric_mean_in_the_middle() {
        let scale = Scale { low: 0.01, high: 1.0, from: 0.0, to: 100.0, ratios: true };
        assert!((scale.at(0.1) - 50.0).abs() < 1e-9);
    }
}
