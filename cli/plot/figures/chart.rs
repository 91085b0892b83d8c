//! A chart of lines with error bars, and one of rows for values without a second axis.

use super::super::{
    axes::{Frame, Tick, ticks},
    drawing::{Anchor, BODY, Drawing, DrawnShape, Ink, SERIES, SMALL},
    font,
};
use crate::stats::MeanStd;

/// One line of a chart.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// The number of its colour and mark; without one it is grey, behind the others.
    pub(super) number: Option<usize>,
    /// Without marks and error bars.
    pub(super) plain: bool,
    pub(super) points: Vec<(f64, MeanStd)>,
}

impl Series {
    fn ink(&self) -> Ink {
        self.number.map_or(Ink::Back, Ink::Series)
    }
}

pub(super) struct Chart<'a> {
    pub(super) heading: &'a str,
    pub(super) across: &'a str,
    pub(super) upwards: &'a str,
    /// The ticks of the horizontal axis; empty for round values.
    pub(super) at: Vec<Tick>,
    pub(super) ratios: bool,
    /// The factor by which values are multiplied, such as 100 for percent.
    pub(super) factor: f64,
    pub(super) from_zero: bool,
    pub(super) legend: bool,
    /// A value to compare with, and what it is.
    pub(super) level: Option<(f64, String)>,
    pub(super) series: Vec<Series>,
}

impl Chart<'_> {
    pub(super) fn draw(&self, width: f64, height: f64) -> Drawing {
        let (low, high) = self.reach();
        let (marks, digits) = ticks(low, high, 5);
        let named = self.series.iter().filter(|one| self.legend && one.number.is_some());
        let legend: Vec<(String, Ink, Option<usize>)> = named
            .map(|one| (one.name.clone(), one.ink(), one.number.filter(|_| !one.plain)))
            .collect();
        let upwards = match &self.level {
            Some((_, name)) => format!("{} (dashed: {name})", self.upwards),
            None => self.upwards.to_owned(),
        };
        let frame = Frame {
            heading: self.heading,
            across: self.across,
            upwards: &upwards,
            x: self.ticks_across(),
            y: marks.iter().map(|value| (*value, format!("{value:.digits$}"))).collect(),
            ratios: self.ratios,
            legend: &legend,
        };
        let (mut page, over, up) = frame.draw(width, height);
        if let Some((level, _)) = &self.level {
            let y = up.at(level * self.factor);
            page.dashes((over.from, y), (over.to, y), Ink::Muted, 1.2);
        }
        let place =
            |x: f64, value: f64| (over.at(x), up.at((value * self.factor).clamp(up.low, up.high)));
        let behind = self.series.iter().filter(|one| one.number.is_none());
        for one in behind.chain(self.series.iter().filter(|one| one.number.is_some())) {
            self.draw_series(&mut page, one, &place);
        }
        page
    }

    /// Returns the ends of the vertical axis.
    fn reach(&self) -> (f64, f64) {
        let of_series = self.series.iter().flat_map(|one| {
            one.points.iter().flat_map(|(_, stat)| {
                let spread = if one.plain { 0.0 } else { stat.std.unwrap_or(0.0) };
                [stat.mean - spread, stat.mean + spread].map(|value| value * self.factor)
            })
        });
        let level = self.level.iter().map(|(level, _)| level * self.factor);
        let values: Vec<f64> = of_series.filter(|value| value.is_finite()).chain(level).collect();
        if values.is_empty() {
            return (0.0, 1.0);
        }
        let mut low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let mut high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.from_zero || low < 0.35 * high {
            low = low.min(0.0);
        }
        // An error bar below 0 or above 100 % is of no use there.
        if self.factor == 100.0 {
            (low, high) = (low.max(0.0), high.min(100.0));
        }
        (low, high)
    }

    /// Returns the ticks of the horizontal axis: those given, or round values and the ends.
    fn ticks_across(&self) -> Vec<Tick> {
        if !self.at.is_empty() {
            return self.at.clone();
        }
        let all = || self.series.iter().flat_map(|one| one.points.iter().map(|(x, _)| *x));
        let first = all().fold(f64::INFINITY, f64::min);
        let last = all().fold(f64::NEG_INFINITY, f64::max);
        let (marks, digits) = ticks(first, last, 5);
        let mut kept: Vec<f64> =
            marks.into_iter().filter(|mark| (first..=last).contains(mark)).collect();
        kept.splice(0..0, (kept.first().is_none_or(|one| *one > first)).then_some(first));
        kept.extend((kept.last().is_none_or(|one| *one < last)).then_some(last));
        kept.into_iter().map(|value| (value, format!("{value:.digits$}"))).collect()
    }

    /// Draws a line through the means, with marks and error bars unless the series is plain.
    fn draw_series(
        &self,
        page: &mut Drawing,
        one: &Series,
        place: &impl Fn(f64, f64) -> (f64, f64),
    ) {
        let line: Vec<(f64, f64)> =
            one.points.iter().map(|(x, stat)| place(*x, stat.mean)).collect();
        let thick = if one.number.is_none() { 1.2 } else { 2.0 };
        if line.len() > 1 {
            page.line(line, one.ink(), thick);
        }
        let Some(number) = one.number.filter(|_| !one.plain) else { return };
        for (x, stat) in &one.points {
            if let Some(std) = stat.std {
                let (low, high) = (place(*x, stat.mean - std), place(*x, stat.mean + std));
                page.line(vec![low, high], one.ink(), 1.5);
                for (x, y) in [low, high] {
                    page.line(vec![(x - 4.0, y), (x + 4.0, y)], one.ink(), 1.5);
                }
            }
            let tip = format!("{}: {}", one.name, said(*stat, self.factor));
            let at = place(*x, stat.mean);
            page.shapes.push(DrawnShape::Mark { at, series: number, tip });
        }
    }
}

/// Returns a value as people read it.
pub(super) fn said(stat: MeanStd, factor: f64) -> String {
    let digits = if factor == 100.0 { 2 } else { 4 };
    let unit = if factor == 100.0 { " %" } else { "" };
    let mean = stat.mean * factor;
    match stat.std {
        Some(std) => format!("{mean:.digits$} ± {:.digits$}{unit}", std * factor),
        None => format!("{mean:.digits$}{unit}"),
    }
}

/// Draws one row per name, a mark where its value is.
pub(super) fn dots(
    heading: &str,
    across: &str,
    rows: &[(String, MeanStd)],
    from_zero: bool,
    width: f64,
) -> Drawing {
    let widest = rows.iter().map(|(name, _)| font::width(name, BODY)).fold(0.0, f64::max);
    let room = widest.min(width * 0.4);
    let reach = |stat: &MeanStd| {
        let spread = stat.std.unwrap_or(0.0);
        [(stat.mean - spread) * 100.0, (stat.mean + spread) * 100.0]
    };
    let values: Vec<f64> = rows.iter().flat_map(|(_, stat)| reach(stat)).collect();
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max).min(100.0);
    let low = values.iter().copied().fold(f64::INFINITY, f64::min).max(0.0);
    let low = if from_zero || low < 0.35 * high { 0.0 } else { low };
    // Values that hardly differ, or a single one, get a stretch of axis about them.
    let near = high - low < 1.0;
    let (low, high) =
        if near { ((low - 1.0).max(0.0), (high + 1.0).min(100.0)) } else { (low, high) };
    let (marks, digits) = ticks(low, high, 5);
    let (first, last) = (marks[0], marks[marks.len() - 1]);
    let mut page = Drawing::new(width, 0.0);
    let mut top = 4.0;
    if !heading.is_empty() {
        top = page.paragraph((0.0, 15.0), width, heading, 13.5, Ink::Text) - 8.0;
    }
    let (left, right) = (room + 14.0, width - 62.0);
    let at = |value: f64| left + (value - first) / (last - first) * (right - left);
    let bottom = top + 26.0 * rows.len() as f64 + 6.0;
    for mark in &marks {
        page.line(vec![(at(*mark), top), (at(*mark), bottom)], Ink::Faint, 1.0);
        let text = format!("{mark:.digits$}");
        page.text((at(*mark), bottom + 16.0), text, SMALL, Ink::Muted, Anchor::Middle);
    }
    for (row, (name, stat)) in rows.iter().enumerate() {
        let y = top + 26.0 * row as f64 + 16.0;
        let short = font::fitted(name, BODY, room);
        page.text((room, y + 4.0), short, BODY, Ink::Text, Anchor::End);
        let [low, high] = reach(stat).map(|value| value.clamp(first, last));
        page.line(vec![(left, y), (at(low), y)], Ink::Faint, 1.0);
        if stat.std.is_some() {
            page.line(vec![(at(low), y), (at(high), y)], Ink::Series(0), 2.0);
        }
        let tip = format!("{name}: {}", said(*stat, 100.0));
        let place = at((stat.mean * 100.0).clamp(first, last));
        page.shapes.push(DrawnShape::Mark { at: (place, y), series: 0, tip });
        let text = format!("{:.1}", stat.mean * 100.0);
        page.text((width - 2.0, y + 4.0), text, BODY, Ink::Text, Anchor::End);
    }
    page.text((right, bottom + 32.0), across, SMALL, Ink::Muted, Anchor::End);
    page.height = bottom + 38.0;
    page
}

/// Returns the number of the series at `at`, if there are few enough to tell them apart.
pub(super) fn number(at: usize, count: usize) -> Option<usize> {
    (count <= SERIES).then_some(at)
}
