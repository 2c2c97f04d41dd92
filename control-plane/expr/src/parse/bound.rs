//! How deep an expression nests, found without recursion, before anything that recurses sees it.

/// One pair of brackets, or the whole expression.
#[derive(Default)]
struct Level {
    /// Selections, calls and operators in a row.
    chain: usize,
    /// Conditions whose other branch is still open.
    branches: usize,
}

/// At least the depth of the expression's tree. Strings and comments don't count, balanced operators (`&&`, `||`) hardly.
pub(super) fn depth(source: &str) -> usize {
    let bytes = source.as_bytes();
    let mut levels = vec![Level::default()];
    // What the enclosing levels add up to.
    let mut below = 0;
    let mut deepest = 0;
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        if rest.starts_with(b"//") {
            i += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
            continue;
        }
        if matches!(rest[0], b'"' | b'\'') {
            let raw = i > 0 && matches!(bytes[i - 1], b'r' | b'R') || i > 1 && matches!(bytes[i - 2], b'r' | b'R');
            i += string(rest, raw);
            continue;
        }
        let nested = levels.len() > 1;
        let top = levels.last_mut().expect("INVARIANT: the outermost level is never closed");
        match rest[0] {
            b'(' | b'[' | b'{' => {
                top.chain += 1;
                below += top.chain + top.branches;
                levels.push(Level::default());
            }
            b')' | b']' | b'}' if nested => {
                levels.pop();
                let outer = levels.last().expect("INVARIANT: the outermost level is never closed");
                below -= outer.chain + outer.branches;
            }
            b',' => *top = Level::default(),
            b'?' => {
                top.branches += 1;
                top.chain = 0;
            }
            b'&' | b'|' => top.chain = 0,
            b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' | b':' => top.chain += 1,
            b'i' if rest.starts_with(b"in ") => top.chain += 1,
            _ => {}
        }
        let top = levels.last().expect("INVARIANT: the outermost level is never closed");
        // The generated parser takes much more stack for a bracket than for an operator: brackets count twice.
        deepest = deepest.max(below + top.chain + top.branches + levels.len() - 1);
        i += 1;
    }
    deepest
}

/// The length of the string literal that the text starts with, quotes included.
fn string(text: &[u8], raw: bool) -> usize {
    let quote = text[0];
    let triple = text.starts_with(&[quote; 3]);
    let (mut i, end): (usize, &[u8]) = if triple { (3, &[quote; 3]) } else { (1, std::slice::from_ref(&quote)) };
    while i < text.len() {
        if text[i] == b'\\' && !raw {
            i += 2;
        } else if text[i..].starts_with(end) {
            return i + end.len();
        } else if text[i] == b'\n' && !triple {
            // An unclosed string: the lexer tells of it.
            return i;
        } else {
            i += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn nesting_counts_and_text_does_not() {
        assert_eq!(depth("a"), 0);
        assert_eq!(depth("'((((((((' + \"....\""), 1);
        assert!(depth(&"(".repeat(300)) >= 300);
        assert!(depth(&format!("a{}", ".b".repeat(300))) >= 300);
        assert!(depth(&format!("a{}", " + b".repeat(300))) >= 300);
        assert!(depth(&format!("a{}", " && b.c == 1".repeat(300))) < 20);
        assert!(depth(&format!("[a{}]", ", b.c".repeat(300))) < 20);
        assert!(depth(&"a ? b : ".repeat(300)) >= 300);
    }
}
