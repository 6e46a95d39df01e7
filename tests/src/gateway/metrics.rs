//! Metrics in the text format of Prometheus.

use crate::Result;

/// The samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
    text: String,
}

impl Metrics {
    pub(super) fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                Some((series.to_owned(), value.parse().ok()?))
            })
            .collect();
        Self { samples, text: text.to_owned() }
    }

    /// The sum over all label values of a metric; 0 if it isn't there.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum over the series whose labels contain this text, such as `result="hit"`.
    pub fn sum_where(&self, name: &str, labels: &str) -> f64 {
        let of_name = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
                && series.contains(labels)
        };
        self.samples.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }

    /// An error unless there is a series of this name.
    pub fn require(&self, name: &str) -> Result<()> {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        crate::ensure(self.samples.iter().any(|(series, _)| of_name(series)), || format!("no metric {name}"))
    }

    /// The scrape as it was received.
    pub fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_a_name_are_summed_and_longer_names_are_others() {
        let metrics = Metrics::parse("# HELP a x\na{b=\"1\"} 2\na{b=\"2\"} 3.5\na_total 7\n");
        assert!((metrics.sum("a") - 5.5).abs() < f64::EPSILON);
        assert!((metrics.sum_where("a", "b=\"2\"") - 3.5).abs() < f64::EPSILON);
        assert!(metrics.require("a_total").is_ok() && metrics.require("b").is_err());
    }
}
