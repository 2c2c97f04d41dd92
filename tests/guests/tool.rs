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
        // Each pod of an indexed Job ends with the code of its index; `wait` keeps it.
        ["index", codes @ ..] => {
            let index = std::env::var("JOB_COMPLETION_INDEX").expect("an index");
            match codes[index.parse::<usize>().expect("a number")] {
                "wait" => wait(),
                code => std::process::exit(code.parse().expect("a number")),
            }
        }
        // It fails until it has been there before.
        ["again", file] => {
            let known = std::path::Path::new(file).exists();
            std::fs::write(file, "").expect("written");
            std::process::exit(i32::from(!known));
        }
        // Three lines, a moment apart, and its end.
        ["count", code] => {
            for line in ["one", "two", "three"] {
                println!("{line}");
                std::thread::sleep(Duration::from_millis(500));
            }
            std::process::exit(code.parse().expect("a number"));
        }
        // Says the words to everyone who connects.
        ["serve", port, words] => {
            let listener = std::net::TcpListener::bind(("0.0.0.0", port.parse().expect("a port"))).expect("the port");
            for connection in listener.incoming().flatten() {
                let _ = writeln!(&connection, "{words}");
            }
        }
        ["ask", address] => {
            let mut said = String::new();
            let answer = std::net::TcpStream::connect(address).and_then(|mut to| to.read_to_string(&mut said));
            answer.expect("an answer");
            print!("{said}");
        }
        ["wait"] => wait(),
        ["wait", file] => {
            std::fs::write(file, "").expect("written");
            wait()
        }
        ["make", file] => std::fs::write(file, "").expect("written"),
        ["remove", file] => std::fs::remove_file(file).expect("removed"),
        ["there", file] => std::process::exit(i32::from(!std::path::Path::new(file).exists())),
        other => {
            eprintln!("tool: {other:?}?");
            std::process::exit(64);
        }
    }
}

fn wait() -> ! {
    println!("waiting");
    loop {
        std::thread::park();
    }
}
