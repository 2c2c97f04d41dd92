//! Counts by upper bounds.

use std::fmt::Write;

/// Upper bounds of a histogram, each so many times the one before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    pub first: f64,
    pub factor: f64,
    pub many: usize,
}

impl Bounds {
    fn all(self) -> impl Iterator<Item = f64> {
        std::iter::successors(Some(self.first), move |bound| Some(bound * self.factor)).take(self.many)
    }
}

#[derive(Debug, Default, Clone)]
pub(super) struct Histogram {
    /// How many were at most each bound.
    below: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    pub(super) fn observe(&mut self, bounds: Bounds, value: f64) {
        self.below.resize(bounds.many, 0);
        self.below.iter_mut().zip(bounds.all()).filter(|(_, bound)| value <= *bound).for_each(|(n, _)| *n += 1);
        self.count += 1;
        self.sum += value;
    }

    pub(super) fn write(&self, out: &mut String, name: &str, labels: &str, bounds: Bounds) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (nth, bound) in bounds.all().enumerate() {
            let below = self.below.get(nth).copied().unwrap_or(0);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {}", self.count);
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(out, "{name}_sum{braces} {}\n{name}_count{braces} {}", self.sum, self.count);
    }
}
