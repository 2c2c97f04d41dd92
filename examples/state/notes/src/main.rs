//! Counts its visitors in a file, and says which one you are. What it has counted outlives the container as long as the
//! volume that the file is on.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// Where the manifest mounts the volume.
const VISITS: &str = "/data/visits";

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 8080))?;
    println!("there were {} visits before", visits());
    // One after another: nobody is counted twice.
    for stream in listener.incoming() {
        if let Err(error) = answer(stream?) {
            eprintln!("a client left: {error}");
        }
    }
    Ok(())
}

fn visits() -> u64 {
    std::fs::read_to_string(VISITS).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let body = if request.split(' ').nth(1) == Some("/healthz") {
        "ok\n".to_owned()
    } else {
        let visits = visits() + 1;
        std::fs::write(VISITS, visits.to_string())?;
        format!("visit {visits} to {}\n", std::env::var("HOSTNAME").unwrap_or_default())
    };
    let len = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}")
}
