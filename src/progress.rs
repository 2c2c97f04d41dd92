//! What a person sees while something takes longer than a second: a moving line on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// One thing being done. It reads as given up when dropped without [`Step::done`].
pub struct Step {
    bar: Option<ProgressBar>,
    what: String,
    since: Instant,
    finished: bool,
}

impl Step {
    pub fn start(what: impl Into<String>) -> Step {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})").expect("a template of ours"));
            bar.enable_steady_tick(Duration::from_millis(100));
            bar.set_message(what.clone());
            bar
        });
        Step { bar, what, since: Instant::now(), finished: false }
    }

    /// Replaces what is shown, for steps that have news.
    pub fn say(&self, news: impl Into<String>) {
        let news = news.into();
        match &self.bar {
            Some(bar) => bar.set_message(format!("{}: {news}", self.what)),
            None => eprintln!("{}: {news}", self.what),
        }
    }

    pub fn done(mut self, result: &str) {
        self.finish("✓", result);
    }

    fn finish(&mut self, mark: &str, result: &str) {
        self.finished = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let result = if result.is_empty() { String::new() } else { format!(": {result}") };
        eprintln!("{mark} {}{result} ({:.1} s)", self.what, self.since.elapsed().as_secs_f32());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            self.finish("✗", "");
        }
    }
}
