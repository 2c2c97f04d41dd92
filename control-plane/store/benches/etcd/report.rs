//! The figures of all rounds: median, least and most.

use std::collections::HashMap;

#[derive(Default)]
pub struct Report {
    /// In the order in which they came first.
    names: Vec<String>,
    figures: HashMap<(String, String), Vec<f64>>,
}

impl Report {
    pub fn add(&mut self, side: &str, name: &str, value: f64) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
        self.figures.entry((side.to_owned(), name.to_owned())).or_default().push(value);
    }

    pub fn text(&self) -> String {
        let mut lines = vec!["| | store | etcd | etcd / store |\n|---|---|---|---|".to_owned()];
        for name in &self.names {
            let [ours, theirs] = ["embedded", "etcd"].map(|side| self.figures.get(&(side.to_owned(), name.clone())));
            let ratio = match (ours.map(|f| median(f)), theirs.map(|f| median(f))) {
                (Some(ours), Some(theirs)) if ours != 0.0 => round(theirs / ours),
                _ => "–".into(),
            };
            lines.push(format!("| {name} | {} | {} | {ratio} |", show(ours), show(theirs)));
        }
        lines.join("\n")
    }
}

fn show(figures: Option<&Vec<f64>>) -> String {
    let Some(figures) = figures else { return "–".into() };
    let (least, most) = figures.iter().fold((f64::MAX, f64::MIN), |(a, b), f| (a.min(*f), b.max(*f)));
    format!("{} ({}–{})", round(median(figures)), round(least), round(most))
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Three digits that count.
fn round(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        1.0..10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
