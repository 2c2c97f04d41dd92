//! Where in an expression something is wrong, told as upstream's compiler tells it.

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// From 1.
    pub line: usize,
    /// In characters, from 0.
    pub column: usize,
    pub message: String,
}

/// Why an expression can't be compiled: all its errors, as upstream prints them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    pub issues: Vec<Issue>,
    text: String,
}

/// A line that is longer is not shown.
const SNIPPET_BYTES: usize = 16_384;

impl CompileError {
    pub(crate) fn new(source: &str, mut issues: Vec<Issue>) -> CompileError {
        issues.sort_by_key(|i| (i.line, i.column));
        let text = issues.iter().map(|i| show(source, i)).collect::<Vec<_>>().join("\n");
        CompileError { issues, text }
    }
}

impl std::fmt::Display for CompileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CompileError {}

fn show(source: &str, issue: &Issue) -> String {
    let head = format!("ERROR: <input>:{}:{}: {}", issue.line, issue.column + 1, issue.message);
    let Some(line) = source.split('\n').nth(issue.line.saturating_sub(1)) else { return head };
    if line.len() > SNIPPET_BYTES {
        return head;
    }
    let line = line.replace('\t', " ");
    let wide = |c: char| c.len_utf8() > 1;
    let mut chars = line.chars();
    let dots: String = chars.by_ref().take(issue.column).map(|c| if wide(c) { '\u{ff0e}' } else { '.' }).collect();
    let mark = if chars.next().is_some_and(wide) { '\u{ff3e}' } else { '^' };
    format!("{head}\n | {line}\n | {dots}{mark}")
}

/// The line and column of the character at a byte.
pub(crate) fn locate(source: &str, offset: usize) -> (usize, usize) {
    let before = match source.get(..offset) {
        Some(before) => before,
        None => source,
    };
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |i| i + 1);
    (line, before[start..].chars().count())
}
