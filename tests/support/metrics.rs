//! The Prometheus text, read back.

use std::collections::BTreeMap;

/// One scrape: samples by name with labels, as they stand in the text.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Metrics {
    /// Parses the text exposition format; a line that is neither comment nor sample fails the test.
    pub fn parse(text: &str) -> Self {
        let mut metrics = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("odd line: {line}"));
                metrics.kinds.insert(name.to_owned(), kind.to_owned());
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("odd line: {line}"));
                let value = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
                metrics.samples.insert(name.to_owned(), value);
            }
        }
        metrics
    }

    /// The declared type of a family.
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.kinds.get(family).map(String::as_str)
    }

    /// Sum of the samples with this name that carry all these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|(_, value)| value).sum()
    }

    /// Whether there is a sample with this name and all these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// The finite upper bounds of a histogram's buckets.
    pub fn bounds(&self, name: &str) -> impl Iterator<Item = f64> {
        let bounds = self.matching(name, &[]).filter_map(|(series, _)| series.split("le=\"").nth(1)?.split('"').next());
        bounds.filter_map(|bound| bound.parse::<f64>().ok()).filter(|bound| bound.is_finite())
    }

    fn matching(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = (&String, &f64)> {
        let wanted: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        self.samples.iter().filter(move |(series, _)| {
            let (family, set) = series.split_once('{').unwrap_or((series, "}"));
            family == name && wanted.iter().all(|label| set.contains(label.as_str()))
        })
    }

    /// Counter samples (and those of histograms) that are lower than in an earlier scrape, or gone. What is labelled with a
    /// generation ends with its process.
    pub fn fallen_since(&self, earlier: &Self) -> Vec<String> {
        let counters = earlier.samples.iter().filter(|(series, _)| earlier.is_counter(series));
        let fallen = counters.filter(|(series, before)| self.samples.get(*series).is_none_or(|now| now < before));
        fallen.map(|(series, before)| format!("{series}: {before} -> {:?}", self.samples.get(series))).collect()
    }

    fn is_counter(&self, series: &str) -> bool {
        if series.contains("generation=\"") {
            return false;
        }
        let name = series.split('{').next().unwrap_or(series);
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is = |name: &str, kind: &str| self.kind(name) == Some(kind);
        is(name, "counter") || family.is_some_and(|family| is(family, "histogram"))
    }
}
