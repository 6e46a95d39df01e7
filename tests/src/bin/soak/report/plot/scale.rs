//! From values to places, and the axes that say so.

use std::fmt::Write;

pub(super) const WIDTH: f64 = 900.0;
pub(super) const HEIGHT: f64 = 260.0;
pub(super) const LEFT: f64 = 60.0;
pub(super) const RIGHT: f64 = 888.0;
pub(super) const TOP: f64 = 28.0;
pub(super) const BOTTOM: f64 = 24.0;

/// Lines across a plot, at most and roughly.
const LINES: f64 = 5.0;

/// A time axis and an axis of values.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    seconds: f64,
    values: Values,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Values {
    /// From zero in steps.
    Linear { top: f64, step: f64 },
    /// From one power of ten to another.
    Logarithmic { bottom: i32, top: i32 },
}

impl Scale {
    /// One on which all of these values have a place.
    pub(super) fn of(values: impl Iterator<Item = f64>, seconds: f64, is_logarithmic: bool) -> Self {
        let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        let values = if is_logarithmic { logarithmic(least, greatest) } else { linear(greatest) };
        Self { seconds: seconds.max(1.0), values }
    }

    pub(super) fn x(&self, seconds: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (seconds / self.seconds).clamp(0.0, 1.0)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        let share = match self.values {
            Values::Linear { top, .. } => value / top,
            Values::Logarithmic { bottom, top } => {
                (value.max(f64::MIN_POSITIVE).log10() - f64::from(bottom)) / f64::from(top - bottom)
            }
        };
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share.clamp(0.0, 1.0))
    }

    /// Lines for values and the times below them.
    pub(super) fn axes(&self, unit: &str) -> String {
        let mut svg = format!("<text x=\"4\" y=\"{:.0}\">{}</text>", TOP - 14.0, super::escape(unit));
        for (value, label) in self.lines() {
            let y = self.y(value);
            // Writing to a String does not fail.
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
                 <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 6.0,
                y + 4.0,
            );
        }
        for (seconds, label) in self.times() {
            let x = self.x(seconds);
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {:.0}v4\"/><text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{label}</text>",
                HEIGHT - BOTTOM,
                HEIGHT - 6.0
            );
        }
        svg
    }

    fn lines(&self) -> Vec<(f64, String)> {
        match self.values {
            Values::Linear { top, step } => {
                let digits = if step >= 1.0 { 0 } else { 1 + usize::from(step < 0.1) + usize::from(step < 0.01) };
                let values = (0_u32..).map(|line| f64::from(line) * step).take_while(|value| *value <= top * 1.001);
                values.map(|value| (value, format!("{value:.digits$}"))).collect()
            }
            Values::Logarithmic { bottom, top } => (bottom..=top)
                .map(|power| {
                    let value = 10_f64.powi(power);
                    (value, format!("{value}"))
                })
                .collect(),
        }
    }

    /// In seconds if the whole is short, otherwise in minutes or hours.
    fn times(&self) -> Vec<(f64, String)> {
        let (unit, name) = match self.seconds {
            seconds if seconds <= 180.0 => (1.0, "s"),
            seconds if seconds <= 3.0 * 3_600.0 => (60.0, "min"),
            _ => (3_600.0, "h"),
        };
        let whole = self.seconds / unit;
        let step = step_of(whole).max(1.0);
        let times = (0_u32..).map(|number| f64::from(number) * step).take_while(|time| *time <= whole * 1.001);
        times.map(|time| (time * unit, format!("{time:.0} {name}"))).collect()
    }
}

fn linear(greatest: f64) -> Values {
    let step = step_of(if greatest > 0.0 { greatest } else { 1.0 });
    Values::Linear { top: (greatest / step - 1e-6).ceil().max(1.0) * step, step }
}

fn logarithmic(least: f64, greatest: f64) -> Values {
    // Latencies and the like: some powers of ten, of which an i32 has plenty.
    #[expect(clippy::cast_possible_truncation, reason = "a logarithm is small")]
    let power = |value: f64| value as i32;
    let (bottom, top) = if greatest > 0.0 { (least.log10().floor(), greatest.log10().ceil()) } else { (0.0, 1.0) };
    Values::Logarithmic { bottom: power(bottom), top: power(top).max(power(bottom) + 1) }
}

/// 1, 2 or 5 times a power of ten, about [`LINES`] of which make the whole.
fn step_of(whole: f64) -> f64 {
    let wanted = whole / LINES;
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&step| step >= wanted * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_an_axis_is_a_round_number_that_is_not_exceeded() {
        for (value, top, step) in [
            (0.0, 0.2, 0.2),
            (3.0, 3.0, 1.0),
            (30.0, 30.0, 10.0),
            (101.0, 150.0, 50.0),
            (0.021, 0.025, 0.005),
            (300.0, 300.0, 100.0),
        ] {
            let Values::Linear { top: got, step: steps } = linear(value) else { panic!("not linear") };
            assert!((got - top).abs() < 1e-9 && (steps - step).abs() < 1e-9, "{value}: {got} in steps of {steps}");
        }
    }

    #[test]
    fn equal_factors_are_equal_distances_on_a_logarithmic_axis() {
        let scale = Scale::of([0.7, 4_000.0].into_iter(), 60.0, true);
        assert_eq!(scale.values, Values::Logarithmic { bottom: -1, top: 4 });
        let distance = |a, b| scale.y(a) - scale.y(b);
        assert!((distance(1.0, 10.0) - distance(100.0, 1_000.0)).abs() < 1e-9);
        assert_eq!(
            scale.lines().iter().map(|line| line.1.as_str()).collect::<Vec<_>>(),
            ["0.1", "1", "10", "100", "1000", "10000"]
        );
    }

    #[test]
    fn times_are_in_the_unit_that_fits() {
        for (seconds, last) in [(40.0, "40 s"), (1_800.0, "30 min"), (86_400.0, "20 h")] {
            let times = Scale::of(std::iter::empty(), seconds, false).times();
            assert_eq!(times.last().unwrap().1, last);
            assert!((3..=7).contains(&times.len()), "{times:?}");
        }
    }
}
