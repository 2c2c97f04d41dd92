//! How two texts differ, line by line, in the form of `diff -u`.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

/// Unchanged lines shown around each change.
const CONTEXT: usize = 3;
/// What is compared line by line, as the product of both lengths; of larger texts all lines count as changed.
const MAX_CELLS: usize = 4_000_000;
/// In texts of so many lines, what more than one in a hundred are begins no block, as in Python's difflib.
const MANY_LINES: usize = 200;

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
    let mut out = Vec::new();
    let (mut i, mut j) = (0, 0);
    for (left, right, count) in Matcher::new(old, new).blocks() {
        out.extend(std::iter::repeat_n(Edit::Gone, left - i));
        out.extend(std::iter::repeat_n(Edit::New, right - j));
        out.extend(std::iter::repeat_n(Edit::Same, count));
        (i, j) = (left + count, right + count);
    }
    out.extend(std::iter::repeat_n(Edit::Gone, old.len() - i));
    out.extend(std::iter::repeat_n(Edit::New, new.len() - j));
    out
}

/// Finds what two texts share as Python's difflib does, whose way upstream went: the longest block that is the same,
/// then what is so before and behind it.
struct Matcher<'a> {
    old: &'a [String],
    new: &'a [String],
    /// Where each line stands in `new`; the ones that are everywhere begin no block.
    places: HashMap<&'a str, Vec<usize>>,
}

impl<'a> Matcher<'a> {
    fn new(old: &'a [String], new: &'a [String]) -> Matcher<'a> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, line) in new.iter().enumerate() {
            places.entry(line).or_default().push(i);
        }
        if new.len() >= MANY_LINES {
            let everywhere = new.len() / 100 + 1;
            places.retain(|_, at| at.len() <= everywhere);
        }
        Matcher { old, new, places }
    }

    /// The blocks that are the same, in order: where each begins in either text, and how long it is.
    fn blocks(&self) -> Vec<(usize, usize, usize)> {
        let mut out = Vec::new();
        if self.old.len().saturating_mul(self.new.len()) > MAX_CELLS {
            return out;
        }
        let mut open = vec![(0..self.old.len(), 0..self.new.len())];
        while let Some((left, right)) = open.pop() {
            let (i, j, count) = self.longest(left.clone(), right.clone());
            if count == 0 {
                continue;
            }
            out.push((i, j, count));
            open.push((left.start..i, right.start..j));
            open.push((i + count..left.end, j + count..right.end));
        }
        out.sort_unstable();
        out
    }

    /// The longest block within these parts, the first of equals.
    fn longest(&self, left: Range<usize>, right: Range<usize>) -> (usize, usize, usize) {
        let mut best = (left.start, right.start, 0);
        // How long the block is that ends at each line of `new` and the last line of `old` that was looked at.
        let mut lengths: HashMap<usize, usize> = HashMap::new();
        for i in left.clone() {
            let mut now = HashMap::new();
            let places = self.places.get(self.old[i].as_str()).map_or(&[][..], Vec::as_slice);
            for &j in places.iter().filter(|j| right.contains(j)) {
                let length = j.checked_sub(1).and_then(|before| lengths.get(&before)).unwrap_or(&0) + 1;
                now.insert(j, length);
                if length > best.2 {
                    best = (i + 1 - length, j + 1 - length, length);
                }
            }
            lengths = now;
        }
        let (mut i, mut j, mut count) = best;
        while i > left.start && j > right.start && self.old[i - 1] == self.new[j - 1] {
            (i, j, count) = (i - 1, j - 1, count + 1);
        }
        while i + count < left.end && j + count < right.end && self.old[i + count] == self.new[j + count] {
            count += 1;
        }
        (i, j, count)
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
