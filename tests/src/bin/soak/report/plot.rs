//! Line plots as SVG, made by hand.

use std::fmt::Write;

/// Points of a curve; more are thinned out, and of each group the highest is kept.
const POINTS: usize = 600;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 24.0;
const TOP: f64 = 10.0;

/// Colours that can be told apart (Okabe and Ito, 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A curve with its name; points without a value are left out.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A stretch of time with a name, behind the curves.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) lasted: f64,
    pub(crate) name: String,
}

/// A plot over seconds.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) curves: Vec<Curve>,
    pub(crate) marks: Vec<Mark>,
    /// A horizontal line with its name.
    pub(crate) limit: Option<(f64, &'static str)>,
}

impl Plot {
    /// The plot as a figure of HTML.
    pub(crate) fn to_html(&self) -> String {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let right = points().map(|point| point.0).fold(1.0, f64::max);
        let highest = points().map(|point| point.1).chain(self.limit.map(|limit| limit.0)).fold(0.0, f64::max);
        let scale = Scale { right, top: round_up(highest) };
        let mut html = format!("<figure><figcaption>{}, {}", escape(&self.title), escape(self.unit));
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            // Writing to a String does not fail.
            let _ = write!(html, " <span style=\"color:{colour}\">■ {}</span>", escape(&curve.name));
        }
        let _ = write!(html, "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
        self.marks.iter().for_each(|mark| html.push_str(&scale.mark(mark)));
        html.push_str(&scale.axes());
        if let Some((value, name)) = self.limit {
            let y = scale.y(value);
            let _ = write!(html, "<path class=\"limit\" d=\"M{LEFT} {y:.1}H{WIDTH}\"/>");
            let _ = write!(
                html,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - 4.0,
                y + 12.0,
                escape(name)
            );
        }
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let path: Vec<String> =
                thinned(&curve.points).iter().map(|(x, y)| format!("{:.1} {:.1}", scale.x(*x), scale.y(*y))).collect();
            if !path.is_empty() {
                let _ = write!(html, "<path class=\"curve\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
            }
        }
        html.push_str("</svg></figure>\n");
        html
    }
}

/// From values to places.
struct Scale {
    right: f64,
    top: f64,
}

impl Scale {
    fn x(&self, seconds: f64) -> f64 {
        LEFT + (WIDTH - LEFT) * (seconds / self.right).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / self.top).clamp(0.0, 1.0))
    }

    fn mark(&self, mark: &Mark) -> String {
        let (left, right) = (self.x(mark.at), self.x(mark.at + mark.lasted));
        let (width, height) = ((right - left).max(1.0), HEIGHT - TOP - BOTTOM);
        let name = escape(&mark.name);
        format!(
            "<rect class=\"mark\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">\
             <title>{name}, from second {:.0} for {:.0} s</title></rect>",
            mark.at, mark.lasted
        )
    }

    fn axes(&self) -> String {
        const LINES: u32 = 4;
        let mut svg = String::new();
        for line in 0..=LINES {
            let share = f64::from(line) / f64::from(LINES);
            let (value, seconds) = (self.top * share, self.right * share);
            let (y, x) = (self.y(value), self.x(seconds));
            let anchor = if line == LINES { "end" } else { "middle" };
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{WIDTH}\"/>");
            let _ = write!(
                svg,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                shown(value)
            );
            let _ = write!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"{anchor}\">{seconds:.0} s</text>",
                HEIGHT - 6.0
            );
        }
        svg
    }
}

/// At most [`POINTS`] points; the highest of neighbours stands for them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(POINTS).max(1);
    points.chunks(group).filter_map(|near| near.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

/// The next of 1, 2, 2.5, 5 and 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|&top| top >= value * 0.999_999).unwrap_or(10.0 * power)
}

fn shown(value: f64) -> String {
    let digits = if value.fract().abs() < 1e-9 { 0 } else { 2 };
    format!("{value:.digits$}")
}

/// Text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_plot_is_a_round_number_that_is_not_exceeded() {
        for (value, top) in [(0.0, 1.0), (3.0, 5.0), (100.0, 100.0), (101.0, 200.0), (0.021, 0.025), (99.0, 100.0)] {
            assert!((round_up(value) / top - 1.0_f64).abs() < 1e-9, "{value}: {}", round_up(value));
        }
    }

    #[test]
    fn thinning_keeps_the_peak() {
        let mut points: Vec<_> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[7_777].1 = 9.0;
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin.iter().any(|point| point.1 > 8.0));
    }

    #[test]
    fn names_cannot_break_the_page() {
        let mark = Mark { at: 1.0, lasted: 1.0, name: "<b>".to_owned() };
        let curve = Curve { name: "a & b".to_owned(), points: vec![(0.0, 1.0), (2.0, 3.0)] };
        let plot = Plot { title: "t".to_owned(), unit: "MiB", curves: vec![curve], marks: vec![mark], limit: None };
        let html = plot.to_html();
        assert!(html.contains("&lt;b&gt;") && html.contains("a &amp; b") && !html.contains("<b>"), "{html}");
    }
}
