//! A program for containers of tests: what a shell would be used for. The standard library alone, so that rustc builds
//! it by itself.

use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", rest @ ..] => println!("{}", rest.join(" ")),
        ["tty"] => println!("terminal: {}", std::io::stdin().is_terminal()),
        ["cat"] => {
            let mut all = Vec::new();
            std::io::stdin().read_to_end(&mut all).expect("the input");
            std::io::stdout().write_all(&all).expect("the output");
        }
        ["exit", code] => std::process::exit(code.parse().expect("a number")),
        // Three lines, a moment apart, and its end.
        ["count", code] => {
            for line in ["one", "two", "three"] {
                println!("{line}");
                std::thread::sleep(Duration::from_millis(500));
            }
            std::process::exit(code.parse().expect("a number"));
        }
        ["wait"] => {
            println!("waiting");
            loop {
                std::thread::park();
            }
        }
        other => {
            eprintln!("tool: {other:?}?");
            std::process::exit(64);
        }
    }
}
