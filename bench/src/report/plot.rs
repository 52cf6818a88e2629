//! Line charts as SVG, drawn here so that a page needs no script.

use crate::report::html::escape;
use std::fmt::Write;

const WIDTH: f64 = 1120.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// A chart with more points than this has no marks to point at: they would only hide each other.
const MARKS_MAX: usize = 1500;

/// How values become places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// In proportion, from 0.
    Linear,
    /// By their logarithm.
    Log,
    /// Values are 1 / (1 - quantile), placed by their logarithm and labelled as percentiles.
    Percentile,
}

/// An axis.
#[derive(Clone, Debug)]
pub struct Axis {
    label: &'static str,
    scale: Scale,
}

impl Axis {
    /// An axis.
    #[must_use]
    pub fn new(label: &'static str, scale: Scale) -> Axis {
        Axis { label, scale }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Stroke {
    Solid,
    Dashed,
    Dotted,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    name: String,
    colour: usize,
    stroke: Stroke,
    /// Its points from left to right.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// A line.
    #[must_use]
    pub fn new(name: &str, colour: usize, stroke: Stroke, points: Vec<(f64, f64)>) -> Line {
        Line {
            name: name.to_owned(),
            colour,
            stroke,
            points,
        }
    }
}

/// A chart: all lines share both axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below it.
    pub caption: String,
    /// From left to right.
    pub x: Axis,
    /// From below to above.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// A scale with its ends, ready to place values.
struct Span {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Span {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Span {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        match scale {
            Scale::Linear => Span {
                scale,
                low: 0.0,
                // A little room, so that a level line does not lie on the edge.
                high: if high > 0.0 { high * 1.05 } else { 1.0 },
            },
            Scale::Log => {
                let low = 10_f64.powf(low.max(1e-3).log10().floor());
                let high = 10_f64.powf(high.max(1e-3).log10().ceil());
                Span {
                    scale,
                    low,
                    high: if high > low { high } else { low * 10.0 },
                }
            }
            Scale::Percentile => Span {
                scale,
                low: 1.0,
                high: high.max(100.0),
            },
        }
    }

    /// The place of a value: 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log | Scale::Percentile => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        share.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => self.linear_ticks(),
            Scale::Log => self.powers().into_iter().map(|value| (value, short(value))).collect(),
            Scale::Percentile => self
                .powers()
                .into_iter()
                .map(|value| (value, percentile(value)))
                .collect(),
        }
    }

    fn powers(&self) -> Vec<f64> {
        let mut value = self.low;
        let mut powers = Vec::new();
        while value <= self.high * 1.0001 {
            powers.push(value);
            value *= 10.0;
        }
        powers
    }

    /// Some five steps of 1, 2 or 5 times a power of ten.
    fn linear_ticks(&self) -> Vec<(f64, String)> {
        let raw = self.high / 5.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= raw)
            .unwrap_or(raw);
        let mut ticks = Vec::new();
        let mut value = 0.0;
        while value <= self.high * 1.0001 {
            ticks.push((value, short(value)));
            value += step;
        }
        ticks
    }
}

/// 1 is the 0th percentile, 100 the 99th, 1000 the 99.9th.
fn percentile(inverse: f64) -> String {
    let percent = 100.0 - 100.0 / inverse;
    let text = format!("{percent:.7}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number in few letters: 0.05, 2.5k, 1M.
fn short(value: f64) -> String {
    let (value, unit) = if value >= 1e6 {
        (value / 1e6, "M")
    } else if value >= 1e4 {
        (value / 1e3, "k")
    } else {
        (value, "")
    };
    let text = format!("{value:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

impl Chart {
    /// The chart with its title and caption.
    #[must_use]
    pub fn figure(&self) -> String {
        format!(
            "<figure><h3>{}</h3>{}<figcaption>{}</figcaption></figure>",
            escape(&self.title),
            self.svg(),
            escape(&self.caption)
        )
    }

    fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let across = Span::of(self.x.scale, points().map(|(x, _y)| *x));
        let up = Span::of(self.y.scale, points().map(|(_x, y)| *y));
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        self.draw_axes(&mut svg, &across, &up);
        let marks = points().count() <= MARKS_MAX;
        for line in &self.lines {
            draw_line(&mut svg, line, &across, &up, marks);
        }
        svg.push_str("</svg>");
        svg
    }

    fn draw_axes(&self, svg: &mut String, across: &Span, up: &Span) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        // Writing to a string cannot fail.
        for (value, text) in up.ticks() {
            let y = y_of(up.place(value));
            let _tick = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        for (value, text) in across.ticks() {
            let x = x_of(across.place(value));
            let _tick = write!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                bottom + 18.0
            );
        }
        let _axes = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <text x=\"14\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {:.1})\">{}</text>",
            HEIGHT - 8.0,
            self.x.label,
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            self.y.label,
        );
    }
}

fn x_of(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn y_of(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn draw_line(svg: &mut String, line: &Line, across: &Span, up: &Span, marks: bool) {
    let dash = match line.stroke {
        Stroke::Solid => "",
        Stroke::Dashed => " dash",
        Stroke::Dotted => " dots",
    };
    let mut path = String::new();
    let mut hits = String::new();
    for (place, (x, y)) in line.points.iter().enumerate() {
        let (left, top) = (x_of(across.place(*x)), y_of(up.place(*y)));
        let letter = if place == 0 { 'M' } else { 'L' };
        let _step = write!(path, "{letter}{left:.1} {top:.1}");
        if marks {
            let at = match across.scale {
                Scale::Percentile => percentile(*x),
                Scale::Linear | Scale::Log => short(*x),
            };
            let _mark = write!(
                hits,
                "<circle class=\"hit k{}\" cx=\"{left:.1}\" cy=\"{top:.1}\" r=\"6\"><title>{}: {} at {at}</title></circle>",
                line.colour,
                escape(&line.name),
                short(*y),
            );
        }
    }
    let _line = write!(
        svg,
        "<path class=\"k{}{dash}\" d=\"{path}\"><title>{}</title></path>{hits}",
        line.colour,
        escape(&line.name)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_evenly_spaced_by_their_nines() {
        let span = Span::of(Scale::Percentile, [1.0, 10_000.0].into_iter());
        let labels: Vec<String> = span.ticks().into_iter().map(|(_value, text)| text).collect();
        assert_eq!(labels, ["0%", "90%", "99%", "99.9%", "99.99%"]);
        assert!((span.place(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn axes_hold_every_value_and_have_round_ticks() {
        let span = Span::of(Scale::Linear, [3.0, 87_000.0].into_iter());
        let labels: Vec<String> = span.ticks().into_iter().map(|(_value, text)| text).collect();
        assert_eq!(labels, ["0", "20k", "40k", "60k", "80k"]);
        let span = Span::of(Scale::Log, [0.07, 400.0].into_iter());
        assert_eq!((span.low, span.high), (0.01, 1000.0));
        assert!(span.place(0.07) > 0.0 && span.place(400.0) < 1.0);
    }

    #[test]
    fn lines_of_one_chart_share_its_axes() {
        let chart = Chart {
            title: "T".to_owned(),
            caption: String::new(),
            x: Axis::new("x", Scale::Linear),
            y: Axis::new("y", Scale::Linear),
            lines: vec![
                Line::new("low", 0, Stroke::Solid, vec![(0.0, 0.0), (10.0, 5.0)]),
                Line::new("high", 1, Stroke::Dashed, vec![(0.0, 0.0), (20.0, 10.0)]),
            ],
        };
        let svg = chart.svg();
        // An axis has a little room beyond the highest value.
        let half = 0.5 / 1.05;
        let end = format!("L{:.1} {:.1}", x_of(half), y_of(half));
        assert!(
            svg.contains(&end),
            "a line ends at half of the longer one's values:\n{svg}"
        );
    }

    #[test]
    fn nothing_to_draw_is_drawn_all_the_same() {
        let span = Span::of(Scale::Log, std::iter::empty());
        assert!(span.ticks().len() >= 2);
    }
}
