//! What a benchmark found, for people and for programs.

use std::fmt;

use serde_json::{Value, json};

/// Figures, with what is needed to judge them.
#[derive(Debug)]
pub(crate) struct Report {
    benchmark: &'static str,
    what: String,
    figures: Vec<Figure>,
}

/// One figure, taken several times.
#[derive(Debug)]
struct Figure {
    name: String,
    unit: &'static str,
    samples: Vec<f64>,
}

impl Report {
    /// An empty report of a benchmark that does this.
    pub(crate) fn new(benchmark: &'static str, what: impl Into<String>) -> Self {
        Self { benchmark, what: what.into(), figures: Vec::new() }
    }

    /// Adds one sample of a figure.
    pub(crate) fn sample(&mut self, name: impl Into<String>, unit: &'static str, sample: f64) {
        let name = name.into();
        match self.figures.iter_mut().find(|figure| figure.name == name) {
            Some(figure) => figure.samples.push(sample),
            None => self.figures.push(Figure { name, unit, samples: vec![sample] }),
        }
    }

    /// The report for programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "benchmark": self.benchmark,
            "what": self.what,
            "machine": machine(),
            "figures": self.figures.iter().map(Figure::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Figure {
    /// Lowest, middle and highest sample.
    fn spread(&self) -> [f64; 3] {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        [0, sorted.len() / 2, last].map(|index| sorted.get(index).copied().unwrap_or(f64::NAN))
    }

    fn to_json(&self) -> Value {
        let [min, median, max] = self.spread();
        json!({"name": self.name, "unit": self.unit, "min": min, "median": median, "max": max, "samples": self.samples})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.benchmark, self.what)?;
        writeln!(f, "on {}\n", machine())?;
        let width = self.figures.iter().map(|figure| figure.name.len()).max().unwrap_or(0);
        writeln!(f, "{:width$}  {:>10} {:>10} {:>10}", "", "min", "median", "max")?;
        for figure in &self.figures {
            let [min, median, max] = figure.spread().map(shown);
            writeln!(f, "{:width$}  {min:>10} {median:>10} {max:>10} {}", figure.name, figure.unit)?;
        }
        Ok(())
    }
}

/// Three digits that matter.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Processors, kernel and how the programs were built.
pub(crate) fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "debug build: figures mean little" } else { "release build" };
    format!("{cores} x {model}, Linux {}, {build}", read("/proc/sys/kernel/osrelease").trim())
}
