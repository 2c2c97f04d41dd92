//! Answers every request with a greeting from its ConfigMap and the name of its pod.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// Where the manifest mounts the ConfigMap. Read anew for each request: an edit shows without a restart.
const GREETING: &str = "/etc/hello/greeting";

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).unwrap_or(8080);
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening on port {port}");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = answer(stream) {
                eprintln!("a client left: {error}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or("/");
    let body = match path {
        "/healthz" => "ok\n".to_owned(),
        _ => {
            let greeting = std::fs::read_to_string(GREETING).unwrap_or_else(|_| "Hello".into());
            let pod = std::env::var("HOSTNAME").unwrap_or_default();
            println!("{request}");
            format!("{}, from container {pod}\n", greeting.trim())
        }
    };
    let len = body.len();
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}")
}
