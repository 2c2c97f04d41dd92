//! The samples as tables in Markdown: medians of the rounds, with the least and the most.

use crate::Samples;
use crate::measure::Sample;
use crate::workloads;

pub(crate) fn print(names: &[&str], samples: &Samples) {
    println!(
        "| workload | server | operations/s | server CPU per operation, µs | p50 ms | p99 ms | memory before → peak, MiB | bytes held by each |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (number, of_all) in samples {
        for (name, rounds) in names.iter().zip(of_all) {
            println!("{}", row(workloads::ALL[*number], name, rounds));
        }
        if let [a, b] = of_all.as_slice() {
            let ratio = median(b, Sample::cpu_us) / median(a, Sample::cpu_us).max(f64::MIN_POSITIVE);
            println!("| {} | CPU of {} ÷ {} | | {ratio:.2}× | | | | |", workloads::ALL[*number], names[1], names[0]);
        }
    }
}

fn row(workload: &str, server: &str, rounds: &[Sample]) -> String {
    let cpu: Vec<f64> = sorted(rounds, Sample::cpu_us);
    let mib = |kib: f64| kib / 1024.0;
    let held = match rounds.iter().any(|s| s.held.is_some()) {
        true => format!("{:.0}", median(rounds, Sample::held_each)),
        false => String::new(),
    };
    format!(
        "| {workload} | {server} | {:.0} | {:.1} ({:.1} to {:.1}) | {:.2} | {:.2} | {:.0} → {:.0} | {held} |",
        median(rounds, Sample::per_second),
        median(rounds, Sample::cpu_us),
        cpu.first().copied().unwrap_or(0.0),
        cpu.last().copied().unwrap_or(0.0),
        median(rounds, |s| s.percentile(0.5)),
        median(rounds, |s| s.percentile(0.99)),
        mib(median(rounds, |s| s.before as f64)),
        mib(median(rounds, |s| s.peak as f64)),
    )
}

fn sorted(rounds: &[Sample], of: impl Fn(&Sample) -> f64) -> Vec<f64> {
    let mut all: Vec<f64> = rounds.iter().map(of).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn median(rounds: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let all = sorted(rounds, of);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}
