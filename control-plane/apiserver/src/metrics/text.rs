//! The text form of Prometheus (exposition format 0.0.4).

use std::fmt::{Display, Write};

/// A distribution: how many values were at most each bound, and their sum.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// One more than there are bounds, for what is above the last; empty before the first value.
    buckets: Vec<u64>,
    sum: f64,
}

impl Histogram {
    pub(crate) fn observe(&mut self, bounds: &[f64], value: f64) {
        self.buckets.resize(bounds.len() + 1, 0);
        let bucket = bounds.iter().position(|b| value <= *b).unwrap_or(bounds.len());
        self.buckets[bucket] += 1;
        self.sum += value;
    }

    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What is said, family by family.
#[derive(Default)]
pub(crate) struct Text(String);

impl Text {
    /// Begins a family: what follows until the next one belongs to it.
    pub(crate) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
    }

    /// A value with its labels (`a="b",c="d"`, or none).
    pub(crate) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        match labels {
            "" => self.line(format_args!("{name} {value}")),
            labels => self.line(format_args!("{name}{{{labels}}} {value}")),
        }
    }

    /// A family of one value without labels.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, "", value);
    }

    pub(crate) fn histogram(&mut self, name: &str, labels: &str, bounds: &[f64], values: &Histogram) {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        let bounds = bounds.iter().map(|bound| number(*bound)).chain(["+Inf".to_owned()]);
        for (bound, more) in bounds.zip(&values.buckets) {
            count += more;
            self.line(format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"));
        }
        self.sample(&format!("{name}_sum"), labels, number(values.sum));
        self.sample(&format!("{name}_count"), labels, count);
    }

    /// What somebody else has said in this form.
    pub(crate) fn append(&mut self, text: &str) {
        self.0.push_str(text);
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String never fails.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A number as Go prints it: bounds of buckets are labels, which are compared as text.
fn number(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e').and_then(|(digits, exponent)| Some((digits, exponent.parse::<i32>().ok()?))) {
        Some((digits, exponent)) if exponent < -4 => format!("{digits}e-{:02}", -exponent),
        Some((digits, exponent)) if exponent > 5 => format!("{digits}e+{exponent:02}"),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_up() {
        let (bounds, mut values) = ([0.1, 1.0], Histogram::default());
        [0.1, 0.5, 2.0].into_iter().for_each(|v| values.observe(&bounds, v));
        let mut text = Text::default();
        text.family("t", "histogram", "Times.");
        text.histogram("t", "a=\"b\"", &bounds, &values);
        text.single("n", "gauge", "A number.", 5);
        let expected = "# HELP t Times.\n# TYPE t histogram\nt_bucket{a=\"b\",le=\"0.1\"} 1\nt_bucket{a=\"b\",le=\"1\"} 2\n\
                        t_bucket{a=\"b\",le=\"+Inf\"} 3\nt_sum{a=\"b\"} 2.6\nt_count{a=\"b\"} 3\n\
                        # HELP n A number.\n# TYPE n gauge\nn 5\n";
        assert_eq!(text.into_string(), expected);
    }

    #[test]
    fn numbers_are_gos() {
        let said = [0.0, 0.005, 1.0, 1.25, 131_072.0, 1e6, 2_592_000.0, 1e9, 0.0001, 0.000_01].map(number);
        let expected = ["0", "0.005", "1", "1.25", "131072", "1e+06", "2.592e+06", "1e+09", "0.0001", "1e-05"];
        assert_eq!(said, expected);
    }
}
