//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
    /// In milliseconds since the epoch.
    pub at: Option<i64>,
}

impl Sample {
    pub fn plain(value: f64, at: Option<i64>) -> Sample {
        Sample { labels: Vec::new(), value, at }
    }
}

#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// A name with all of its samples; nothing where there is none.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str, samples: Vec<Sample>) {
        if samples.is_empty() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for sample in samples {
            self.line(name, &sample);
        }
    }

    fn line(&mut self, name: &str, sample: &Sample) {
        self.0.push_str(name);
        for (i, (label, value)) in sample.labels.iter().enumerate() {
            self.0.push(if i == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(value));
        }
        if !sample.labels.is_empty() {
            self.0.push('}');
        }
        let _ = write!(self.0, " {}", sample.value);
        if let Some(at) = sample.at {
            let _ = write!(self.0, " {at}");
        }
        self.0.push('\n');
    }

    pub fn text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_as_the_format_has_it() {
        let mut page = Page::default();
        page.family("none", Kind::Gauge, "Nothing.", Vec::new());
        page.family("up", Kind::Gauge, "Whether it is up.", vec![Sample::plain(1.0, None)]);
        let labels = vec![("pod", "a".to_owned()), ("image", "q\"\\\n".to_owned())];
        let sample = Sample { labels, value: 0.25, at: Some(1_767_225_600_000) };
        page.family("used_total", Kind::Counter, "What is used.", vec![sample]);
        let wanted = "# HELP up Whether it is up.\n# TYPE up gauge\nup 1\n# HELP used_total What is used.\n\
            # TYPE used_total counter\nused_total{pod=\"a\",image=\"q\\\"\\\\\\n\"} 0.25 1767225600000\n";
        assert_eq!(page.text(), wanted);
    }
}
