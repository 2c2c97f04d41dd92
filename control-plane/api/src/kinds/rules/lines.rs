//! How two texts differ, line by line, in the form of `diff -u`.

use std::fmt::Write;

/// Unchanged lines shown around each change.
const CONTEXT: usize = 3;
/// What is compared line by line, as the product of both lengths; of larger texts all lines count as changed.
const MAX_CELLS: usize = 4_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edit {
    Same,
    Gone,
    New,
}

/// The hunks that lead from `old` to `new`; empty where they are the same.
pub(super) fn unified(old: &[String], new: &[String]) -> String {
    let edits = edits(old, new);
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = edits[at..].iter().position(|e| *e != Edit::Same).map(|i| at + i) {
        let start = first.saturating_sub(CONTEXT).max(at);
        let end = hunk_end(&edits, first);
        hunk(&edits, start, end, old, new, &mut out);
        at = end;
    }
    out
}

/// Where the hunk around a change ends: behind its context, unless the next change is so near that both are one.
fn hunk_end(edits: &[Edit], first: usize) -> usize {
    let mut last = first;
    for (i, edit) in edits.iter().enumerate().skip(first) {
        if *edit != Edit::Same {
            last = i;
        } else if i - last > 2 * CONTEXT {
            break;
        }
    }
    (last + 1 + CONTEXT).min(edits.len())
}

fn hunk(edits: &[Edit], start: usize, end: usize, old: &[String], new: &[String], out: &mut String) {
    let count = |edits: &[Edit], other: Edit| edits.iter().filter(|e| **e != other).count();
    let (mut left, mut right) = (count(&edits[..start], Edit::New), count(&edits[..start], Edit::Gone));
    let (olds, news) = (count(&edits[start..end], Edit::New), count(&edits[start..end], Edit::Gone));
    // Writing to a String never fails.
    let _ = writeln!(out, "@@ -{} +{} @@", range(left, olds), range(right, news));
    for edit in &edits[start..end] {
        let (sign, text) = match edit {
            Edit::Same => (' ', &old[left]),
            Edit::Gone => ('-', &old[left]),
            Edit::New => ('+', &new[right]),
        };
        left += usize::from(*edit != Edit::New);
        right += usize::from(*edit != Edit::Gone);
        let _ = writeln!(out, "{sign}{text}");
    }
}

/// The first line and how many; one line goes without its number, none stands behind the line before.
fn range(before: usize, count: usize) -> String {
    match count {
        1 => format!("{}", before + 1),
        0 => format!("{before},0"),
        _ => format!("{},{count}", before + 1),
    }
}

fn edits(old: &[String], new: &[String]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut out = vec![Edit::Same; head];
    middle(&old[head..old.len() - tail], &new[head..new.len() - tail], &mut out);
    out.extend(std::iter::repeat_n(Edit::Same, tail));
    out
}

/// The shortest way from one to the other, what goes before what comes.
fn middle(old: &[String], new: &[String], out: &mut Vec<Edit>) {
    let (rows, columns) = (old.len(), new.len());
    if rows.saturating_mul(columns) > MAX_CELLS {
        out.extend(std::iter::repeat_n(Edit::Gone, rows));
        return out.extend(std::iter::repeat_n(Edit::New, columns));
    }
    // The longest common rest from each pair of places on.
    let width = columns + 1;
    let mut common = vec![0u32; (rows + 1) * width];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            common[i * width + j] = match old[i] == new[j] {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < rows || j < columns {
        let edit = match (i < rows, j < columns) {
            (true, true) if old[i] == new[j] => Edit::Same,
            (true, true) if common[(i + 1) * width + j] >= common[i * width + j + 1] => Edit::Gone,
            (true, false) => Edit::Gone,
            _ => Edit::New,
        };
        i += usize::from(edit != Edit::New);
        j += usize::from(edit != Edit::Gone);
        out.push(edit);
    }
}

#[cfg(test)]
mod tests {
    use super::unified;

    /// Letters are lines: old, new, the hunks with `|` for line breaks.
    const CASES: &[(&str, &str, &str)] = &[
        ("abc", "abc", ""),
        ("abcdefgh", "abcdXfgh", "@@ -2,7 +2,7 @@| b| c| d|-e|+X| f| g| h|"),
        ("a", "b", "@@ -1 +1 @@|-a|+b|"),
        ("", "ab", "@@ -0,0 +1,2 @@|+a|+b|"),
        ("abcdefghijkl", "Xbcdefghijkl", "@@ -1,4 +1,4 @@|-a|+X| b| c| d|"),
        ("abcdefgh", "XbcdefgY", "@@ -1,8 +1,8 @@|-a|+X| b| c| d| e| f| g|-h|+Y|"),
        ("abcdefghi", "XbcdefghY", "@@ -1,4 +1,4 @@|-a|+X| b| c| d|@@ -6,4 +6,4 @@| f| g| h|-i|+Y|"),
    ];

    #[test]
    fn hunks_are_those_of_diff() {
        let lines = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        for (old, new, expected) in CASES {
            assert_eq!(unified(&lines(old), &lines(new)).replace('\n', "|"), *expected, "{old} {new}");
        }
    }
}
