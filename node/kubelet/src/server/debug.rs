//! `/run/…`, which runs a command and answers with what it says, and `/logs/…`, the log files of the machine.

use super::{Here, Refusal, not_found};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

/// Of a command that nobody can end.
const RUN_LIMIT: Duration = Duration::from_secs(60);
/// Upstream's place for them.
const LOGS: &str = "/var/log";
/// Names of one directory that are shown.
const NAMES: usize = 10_000;

type Asked = Query<HashMap<String, String>>;

pub async fn run(here: Here, Path((ns, pod, name)): Path<(String, String, String)>, query: Asked) -> Response {
    run_in(here, (ns, pod, None, name), query).await
}

pub async fn run_of(
    here: Here,
    Path((ns, pod, uid, name)): Path<(String, String, String, String)>,
    query: Asked,
) -> Response {
    run_in(here, (ns, pod, Some(uid), name), query).await
}

async fn run_in(
    State(node): Here,
    (ns, pod, uid, name): (String, String, Option<String>, String),
    Query(query): Asked,
) -> Response {
    let id = match super::proxy::container(&node, &ns, &pod, uid.as_deref(), &name) {
        Ok(id) => id,
        Err(refusal) => return refusal.into_response(),
    };
    let command: Vec<String> =
        query.get("cmd").map(String::as_str).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if command.is_empty() {
        return (StatusCode::BAD_REQUEST, "you must specify a command: ?cmd=…\n").into_response();
    }
    match node.runtime.exec_sync(&id, command, RUN_LIMIT).await {
        Ok(done) => {
            let mut said = done.stdout;
            said.extend(done.stderr);
            let status = if done.exit_code == 0 { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            (status, said).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

pub async fn logs_root() -> Response {
    logs(Path(String::new())).await
}

pub async fn logs(Path(path): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || open(FilePath::new(LOGS), &path)).await;
    match found {
        Ok(Ok(Found::Names(list))) => Html(list).into_response(),
        Ok(Ok(Found::File(file))) => {
            let stream = body_of(tokio::fs::File::from_std(file));
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], stream).into_response()
        }
        Ok(Err(refusal)) => refusal.into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// A file as an answer's body, read as the client takes it.
fn body_of(file: tokio::fs::File) -> Body {
    use tokio::io::AsyncReadExt;
    const PIECE: usize = 64 << 10;
    let stream = futures::stream::unfold(file, |mut file| async move {
        let mut piece = vec![0; PIECE];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(n) => {
                piece.truncate(n);
                Some((Ok::<_, std::io::Error>(piece), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Body::from_stream(stream)
}

#[derive(Debug)]
enum Found {
    /// A directory's names as a page of links.
    Names(String),
    File(std::fs::File),
}

/// What is at `path` below `root`. A link that leads out of it is not followed.
fn open(root: &FilePath, path: &str) -> Result<Found, Refusal> {
    let missing = || not_found(format!("\"{path}\""));
    let root = root.canonicalize().map_err(|_| missing())?;
    let at: PathBuf = root.join(path.trim_start_matches('/')).canonicalize().map_err(|_| missing())?;
    if !at.starts_with(&root) {
        return Err(missing());
    }
    let metadata = at.metadata().map_err(|_| missing())?;
    if metadata.is_dir() {
        return Ok(Found::Names(names(&at)));
    }
    if !metadata.is_file() {
        return Err(missing());
    }
    std::fs::File::open(&at).map(Found::File).map_err(|_| missing())
}

fn names(dir: &FilePath) -> String {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().take(NAMES);
    let mut names: Vec<String> = entries
        .map(|e| {
            let slash = if e.path().is_dir() { "/" } else { "" };
            format!("{}{slash}", e.file_name().to_string_lossy())
        })
        .collect();
    names.sort();
    let mut page = String::from("<!doctype html>\n<pre>\n");
    for name in names {
        let text = name.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&#34;");
        let link: String = url::form_urlencoded::byte_serialize(name.trim_end_matches('/').as_bytes()).collect();
        let slash = if name.ends_with('/') { "/" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<a href=\"{}{slash}\">{text}</a>", link.replace('+', "%20"));
    }
    page.push_str("</pre>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn files_below_the_directory_are_shown_and_no_others() {
        let root = tempfile::tempdir().unwrap();
        let logs = root.path().join("log");
        std::fs::create_dir_all(logs.join("pods")).unwrap();
        std::fs::write(logs.join("sys <log>"), "said").unwrap();
        std::fs::write(root.path().join("secret"), "no").unwrap();
        std::os::unix::fs::symlink(root.path().join("secret"), logs.join("link")).unwrap();
        let Ok(Found::Names(page)) = open(&logs, "") else { panic!("no page") };
        assert!(page.contains("<a href=\"pods/\">pods/</a>"), "{page}");
        assert!(page.contains("<a href=\"sys%20%3Clog%3E\">sys &lt;log></a>"), "{page}");
        let Ok(Found::File(mut file)) = open(&logs, "/sys <log>") else { panic!("no file") };
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "said");
        for bad in ["../secret", "link", "nothing", "pods/../../secret", "/etc/passwd", "\0"] {
            assert_eq!(open(&logs, bad).unwrap_err().0, StatusCode::NOT_FOUND, "{bad:?}");
        }
    }
}
