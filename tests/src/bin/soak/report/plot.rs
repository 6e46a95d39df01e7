//! Line plots as SVG, made by hand.

use std::fmt::Write;

mod scale;

use scale::{BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH};

/// Points of a curve; more are thinned out, and of each group the highest is kept.
const POINTS: usize = 600;

/// Colours that can be told apart (Okabe and Ito, 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A curve with its name; points without a value are left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// What happened at the last point, if the curve ends there before its time.
    pub(crate) end: Option<String>,
}

/// A stretch of time, behind the curves: something that the script did, with a short key to its name above it.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) lasted: f64,
    pub(crate) key: String,
    pub(crate) name: String,
}

/// A stretch of time in which a state held, behind the curves, coloured by its class.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    pub(crate) from: f64,
    pub(crate) to: f64,
    pub(crate) class: &'static str,
}

/// A plot over seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// How long the time axis is.
    pub(crate) seconds: f64,
    /// Whether equal distances are equal factors.
    pub(crate) is_logarithmic: bool,
    pub(crate) curves: Vec<Curve>,
    pub(crate) marks: Vec<Mark>,
    pub(crate) bands: Vec<Band>,
    /// A horizontal line with its name.
    pub(crate) limit: Option<(f64, String)>,
}

impl Plot {
    /// The plot as a figure of HTML.
    pub(crate) fn to_html(&self) -> String {
        let values = || self.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
        let scale =
            Scale::of(values().chain(self.limit.iter().map(|limit| limit.0)), self.seconds, self.is_logarithmic);
        let mut html = format!("<figure><figcaption><b>{}</b>, {}", escape(&self.title), escape(self.unit));
        for (curve, colour) in self.coloured() {
            // Writing to a String does not fail.
            let _ = write!(html, " <span style=\"color:{colour}\">■ {}</span>", escape(&curve.name));
        }
        let _ = write!(html, "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
        self.marks.iter().for_each(|mark| html.push_str(&mark_on(&scale, mark)));
        self.bands.iter().for_each(|band| html.push_str(&band_on(&scale, band)));
        html.push_str(&scale.axes(self.unit));
        if let Some((value, name)) = &self.limit {
            html.push_str(&limit_on(&scale, *value, name));
        }
        for (curve, colour) in self.coloured() {
            html.push_str(&curve_on(&scale, curve, colour));
        }
        html.push_str("</svg></figure>\n");
        html
    }

    fn coloured(&self) -> impl Iterator<Item = (&Curve, &'static str)> {
        self.curves.iter().zip(COLOURS.iter().copied().cycle())
    }
}

fn curve_on(scale: &Scale, curve: &Curve, colour: &str) -> String {
    let points = thinned(&curve.points);
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{:.1} {:.1}", scale.x(*x), scale.y(*y))).collect();
    let Some((last_x, last_y)) = points.last().map(|(x, y)| (scale.x(*x), scale.y(*y))) else { return String::new() };
    let mut svg = format!("<path class=\"curve\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
    if let Some(end) = &curve.end {
        // To the side on which there is room.
        let (anchor, offset) = if last_x > WIDTH / 2.0 { ("end", -9.0) } else { ("start", 9.0) };
        let _ = write!(
            svg,
            "<path class=\"curve\" stroke=\"{colour}\" d=\"M{:.1} {:.1}l10 10m0 -10l-10 10\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            last_x - 5.0,
            last_y - 5.0,
            last_x + offset,
            // Below the point: the limit is often right above it.
            last_y + 16.0,
            escape(end)
        );
    }
    svg
}

fn mark_on(scale: &Scale, mark: &Mark) -> String {
    let (left, right) = (scale.x(mark.at), scale.x(mark.at + mark.lasted));
    let (width, height) = ((right - left).max(1.0), HEIGHT - TOP - BOTTOM);
    format!(
        "<rect class=\"mark\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\">\
         <title>{}, from second {:.0} for {:.0} s</title></rect>\
         <text class=\"key\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        escape(&mark.name),
        mark.at,
        mark.lasted,
        left + width / 2.0,
        TOP - 3.0,
        escape(&mark.key)
    )
}

fn band_on(scale: &Scale, band: &Band) -> String {
    let (left, right) = (scale.x(band.from), scale.x(band.to));
    format!(
        "<rect class=\"band {}\" x=\"{left:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>",
        band.class,
        (right - left).max(1.0),
        HEIGHT - TOP - BOTTOM
    )
}

fn limit_on(scale: &Scale, value: f64, name: &str) -> String {
    let y = scale.y(value);
    // Above the line, if there is room.
    let words = if y > TOP + 12.0 { y - 4.0 } else { y + 12.0 };
    format!(
        "<path class=\"limit\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>\
         <text class=\"over\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"start\">{}</text>",
        LEFT + 4.0,
        words,
        escape(name)
    )
}

/// At most [`POINTS`] points; the highest of neighbours stands for them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(POINTS).max(1);
    points.chunks(group).filter_map(|near| near.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

/// Text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_peak() {
        let mut points: Vec<_> = (0..10_000).map(|x| (f64::from(x), 1.0)).collect();
        points[7_777].1 = 9.0;
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS && thin.iter().any(|point| point.1 > 8.0));
    }

    #[test]
    fn names_cannot_break_the_page() {
        let evil = || "<b>".to_owned();
        let mark = Mark { at: 1.0, lasted: 1.0, key: evil(), name: evil() };
        let curve = Curve { name: "a & b".to_owned(), points: vec![(0.0, 1.0), (2.0, 3.0)], end: Some(evil()) };
        let plot = Plot {
            title: evil(),
            unit: "MiB",
            seconds: 2.0,
            curves: vec![curve],
            marks: vec![mark],
            limit: Some((4.0, evil())),
            ..Plot::default()
        };
        let html = plot.to_html();
        assert_eq!(html.matches("&lt;b&gt;").count(), 5, "{html}");
        assert!(html.contains("a &amp; b") && html.matches("<b>").count() == 1, "{html}");
    }

    #[test]
    fn a_plot_of_nothing_is_empty() {
        let html =
            Plot { unit: "ms", is_logarithmic: true, curves: vec![Curve::default()], ..Plot::default() }.to_html();
        assert!(html.contains("</svg>") && !html.contains("NaN") && !html.contains("inf"), "{html}");
    }
}
