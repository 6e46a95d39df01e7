//! The line through points: least squares.

/// A line, as far as it is of interest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// Per unit of the first coordinate.
    pub(crate) slope: f64,
    /// From the first point to the last, in units of the first coordinate.
    pub(crate) length: f64,
}

impl Line {
    /// The line with the least squares of distances; nothing for fewer than three points.
    pub(crate) fn through(points: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        let points: Vec<_> = points.collect();
        let ([(first, _), .., (last, _)], count) = (points.as_slice(), points.len() as f64) else { return None };
        if points.len() < 3 {
            return None;
        }
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
        let covariance: f64 = points.iter().map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
        let variance: f64 = points.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
        (variance > 0.0).then(|| Self { slope: covariance / variance, length: last - first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_noisy_points_is_that_of_their_trend() {
        let noisy = (0..100).map(|x| (f64::from(x), 7.0 + 3.0 * f64::from(x) + f64::from(x % 2)));
        let line = Line::through(noisy).unwrap();
        assert!((line.slope - 3.0).abs() < 0.01 && (line.length - 99.0).abs() < f64::EPSILON, "{line:?}");
    }

    #[test]
    fn too_few_points_have_no_line() {
        assert!(Line::through([(0.0, 1.0), (1.0, 2.0)].into_iter()).is_none());
        assert!(Line::through([(1.0, 1.0); 5].into_iter()).is_none());
    }
}
