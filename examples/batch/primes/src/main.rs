//! Counts the primes of its share of the numbers: which share says the index that the Job gives each pod.

const SHARE: u32 = 50_000;

fn main() {
    let index = std::env::var("JOB_COMPLETION_INDEX").ok().and_then(|index| index.parse::<u32>().ok());
    let Some(index) = index else {
        eprintln!("primes: JOB_COMPLETION_INDEX is not set: this runs in an indexed Job");
        std::process::exit(2);
    };
    // The first try of the second share fails, to show that its index is tried again.
    let tried = std::env::var("TRIED").unwrap_or_default();
    if index == 1 && tried == "0" {
        eprintln!("primes: the first try fails");
        std::process::exit(1);
    }
    let (from, to) = (index * SHARE, (index + 1) * SHARE);
    println!("{} primes from {from} to {to}", (from..to).filter(is_prime).count());
}

fn is_prime(n: &u32) -> bool {
    *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)
}
