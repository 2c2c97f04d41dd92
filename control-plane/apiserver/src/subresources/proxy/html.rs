//! HTML with its links changed, piece by piece: what is no link goes on byte by byte as it came.
//!
//! Tags, comments and the elements whose content is text alone are told apart (HTML, 13.2.5); nothing is corrected.

use super::links::Links;
use std::io::{self, Write};

/// A tag that goes on for longer is no tag, or none that is worth its memory.
const TAG_BYTES: usize = 64 << 10;

/// The attributes that hold links, by element, as upstream lists them.
const LINKS: [(&str, &[&str]); 26] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];
/// Elements whose content has no tags but their own end.
const TEXT: [&str; 8] = ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"];

enum Within {
    Page,
    Comment,
    /// Until this end tag.
    Text(&'static str),
}

/// Takes a page in pieces; [`Rewriter::take`] gives what is ready.
pub(super) struct Rewriter {
    links: Links,
    within: Within,
    /// What is not decided yet.
    rest: Vec<u8>,
    out: Vec<u8>,
}

impl Rewriter {
    pub(super) fn new(links: Links) -> Rewriter {
        Rewriter { links, within: Within::Page, rest: Vec::new(), out: Vec::new() }
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The page is over: what was not decided is no link.
    pub(super) fn finish(&mut self) {
        self.out.append(&mut self.rest);
    }

    fn step(&mut self) -> bool {
        let rest = std::mem::take(&mut self.rest);
        let used = match self.within {
            Within::Page => self.page(&rest),
            Within::Comment => self.until(&rest, b"-->"),
            Within::Text(name) => self.until(&rest, format!("</{name}").as_bytes()),
        };
        self.rest = rest;
        self.rest.drain(..used);
        used > 0 && !self.rest.is_empty()
    }

    /// Up to a `<` and, where it is whole, its tag.
    fn page(&mut self, rest: &[u8]) -> usize {
        let at = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        self.out.extend_from_slice(&rest[..at]);
        let tag = &rest[at..];
        if tag.starts_with(b"<!--") {
            self.within = Within::Comment;
            self.out.extend_from_slice(b"<!--");
            return at + 4;
        }
        if b"<!--".starts_with(tag) {
            return at;
        }
        if !tag[1..].first().is_some_and(u8::is_ascii_alphabetic) {
            self.out.push(b'<');
            return at + 1;
        }
        match end(tag) {
            Some(len) => {
                self.tag(&tag[..len]);
                at + len
            }
            None if tag.len() > TAG_BYTES => {
                self.out.extend_from_slice(tag);
                rest.len()
            }
            None => at,
        }
    }

    /// Up to and with these words, in whatever case; what may be their begin waits.
    fn until(&mut self, rest: &[u8], words: &[u8]) -> usize {
        let found = rest.windows(words.len()).position(|w| w.eq_ignore_ascii_case(words));
        let used = match found {
            Some(at) => {
                self.within = Within::Page;
                at + words.len()
            }
            None => rest.len().saturating_sub(words.len() - 1),
        };
        self.out.extend_from_slice(&rest[..used]);
        used
    }

    fn tag(&mut self, tag: &[u8]) {
        let end = tag.iter().skip(1).position(|b| !b.is_ascii_alphanumeric()).map_or(tag.len(), |at| at + 1);
        let name = String::from_utf8_lossy(&tag[1..end]).to_ascii_lowercase();
        self.out.extend_from_slice(&tag[..end]);
        match LINKS.iter().find(|(element, _)| *element == name) {
            Some((_, attributes)) => self.attributes(&tag[end..], attributes),
            None => self.out.extend_from_slice(&tag[end..]),
        }
        if let Some(text) = TEXT.into_iter().find(|text| *text == name) {
            self.within = Within::Text(text);
        }
    }

    /// The attributes of a tag, with its end.
    fn attributes(&mut self, mut rest: &[u8], wanted: &[&str]) {
        while !rest.is_empty() {
            let name = span(rest, |b| !is_space(b) && !matches!(b, b'=' | b'>' | b'/'));
            let between = name + span(&rest[name..], is_space);
            let Some(b'=') = rest.get(between).filter(|_| name > 0) else {
                let used = name.max(1);
                self.out.extend_from_slice(&rest[..used]);
                rest = &rest[used..];
                continue;
            };
            let value = between + 1 + span(&rest[between + 1..], is_space);
            let (start, len) = match rest.get(value) {
                Some(quote @ (b'"' | b'\'')) => (value + 1, span(&rest[value + 1..], |b| b != *quote)),
                _ => (value, span(&rest[value..], |b| !is_space(b) && b != b'>')),
            };
            self.out.extend_from_slice(&rest[..start]);
            let (link, word) = (&rest[start..start + len], String::from_utf8_lossy(&rest[..name]).to_ascii_lowercase());
            let changed = std::str::from_utf8(link).ok().filter(|_| wanted.contains(&word.as_str()));
            match changed.and_then(|link| self.links.rewrite(link)) {
                Some(link) => self.out.extend_from_slice(link.as_bytes()),
                None => self.out.extend_from_slice(link),
            }
            rest = &rest[start + len..];
            if let [quote @ (b'"' | b'\''), after @ ..] = rest
                && start > value
            {
                self.out.push(*quote);
                rest = after;
            }
        }
    }
}

impl Write for Rewriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(piece);
        while self.step() {}
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
}

/// How many bytes from the start are of this kind.
fn span(bytes: &[u8], kind: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|b| !kind(*b)).unwrap_or(bytes.len())
}

/// Where a tag ends: after the first `>` outside of quotes that follow a `=`.
fn end(tag: &[u8]) -> Option<usize> {
    let (mut quote, mut before) = (None, b' ');
    for (at, byte) in tag.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(*byte),
            (None, _) => {}
        }
        if !is_space(*byte) {
            before = *byte;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewritten(page: &[u8], cut: usize) -> Vec<u8> {
        let mut rewriter = Rewriter::new(Links::new("/p", "10.0.0.1:80", "h"));
        page.chunks(cut).for_each(|piece| rewriter.write_all(piece).expect("it never fails"));
        rewriter.finish();
        rewriter.take()
    }

    #[test]
    fn links_change_and_nothing_else() {
        for (page, expected) in [
            (r#"<a href="/x">/y</a>"#, r#"<a href="/p/x">/y</a>"#),
            ("<A HREF='/x' title='<a href=\"/z\">'>", "<A HREF='/p/x' title='<a href=\"/z\">'>"),
            ("<a href=/x>", "<a href=/p/x>"),
            ("<img src = \"/x\"  alt='/y'/><br/>", "<img src = \"/p/x\"  alt='/y'/><br/>"),
            ("<img src=\"http://10.0.0.1:80/x?a=1&amp;b=2\">", "<img src=\"/p/x?a=1&amp;b=2\">"),
            ("<a href=\"x\"><a href=\"//elsewhere/x\"><a>", "<a href=\"x\"><a href=\"//elsewhere/x\"><a>"),
            ("<div href=\"/x\"></div>", "<div href=\"/x\"></div>"),
            ("<!-- <a href=\"/x\"> --><a href=\"/x\">", "<!-- <a href=\"/x\"> --><a href=\"/p/x\">"),
            (
                "<script src=\"/x\">\"<a href='/x'>\"</script><a href='/x'>",
                "<script src=\"/p/x\">\"<a href='/x'>\"</script><a href='/p/x'>",
            ),
            (
                "<STYLE>a { b: '<a href=/x>' }</Style ><link rel=a href=/x>",
                "<STYLE>a { b: '<a href=/x>' }</Style ><link rel=a href=/p/x>",
            ),
            ("a < b <", "a < b <"),
            ("<a href=\"/x", "<a href=\"/x"),
            (
                "<!doctype html><html manifest=/m><form action='/f' method=post>",
                "<!doctype html><html manifest=/p/m><form action='/p/f' method=post>",
            ),
            ("<a href=\"/\u{e4}\">\u{e4}", "<a href=\"/p/\u{e4}\">\u{e4}"),
        ] {
            for cut in [1, 3, 1000] {
                let got = rewritten(page.as_bytes(), cut);
                assert_eq!(String::from_utf8_lossy(&got), expected, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_tag_without_end_does_not_gather() {
        let mut rewriter = Rewriter::new(Links::new("/p", "", ""));
        let mut got = 0;
        for _ in 0..100 {
            rewriter.write_all(&[b"<a ", &[b'x'; 4093][..]].concat()).expect("it never fails");
            got += rewriter.take().len();
            assert!(rewriter.rest.len() <= TAG_BYTES + 4096);
        }
        rewriter.finish();
        assert_eq!(got + rewriter.take().len(), 100 * 4096);
    }

    proptest! {
        #[test]
        fn a_page_without_links_to_here_stays_as_it_is(page in "[<>a-z/!'\"= -]{0,60}", cut in 1usize..20) {
            let mut rewriter = Rewriter::new(Links::new("/p", "", ""));
            rewriter.links = Links::new("", "", "");
            page.as_bytes().chunks(cut).for_each(|piece| rewriter.write_all(piece).expect("it never fails"));
            rewriter.finish();
            prop_assert_eq!(rewriter.take(), page.as_bytes());
        }
    }
}
