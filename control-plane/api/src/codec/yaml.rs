//! YAML as kubectl and the apiserver read it: YAML 1.1 booleans (`yes`, `on`) and octals (`0644`), anchors and merge
//! keys, one document.
//!
//! Refuses tags that change a value's type other than YAML's own, and documents that grow through aliases.

use super::{DecodeError, Decoded, MAX_DEPTH, MAX_DUPLICATES, Step};
use crate::value::{Key, Map, Value};
use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use std::collections::HashMap;

/// How many values aliases may add: a document of a few lines can otherwise ask for billions.
const MAX_ALIASED: usize = 100_000;

/// Reads the first YAML document of the input; an empty input is null.
///
/// # Errors
/// Malformed YAML, text that is not UTF-8, nesting beyond [`MAX_DEPTH`], too much growth by aliases.
pub fn decode(input: &[u8]) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(input)
        .map_err(|e| DecodeError::new(e.valid_up_to(), "yaml: invalid leading UTF-8 octet"))?;
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        aliased: 0,
        path: Vec::new(),
        duplicates: Vec::new(),
        line: 1,
    };
    let value = reader.document()?;
    Ok(Decoded { value, duplicates: reader.duplicates })
}

/// A parser's complaint in the words of upstream's, which names the first line only where a node is missing.
fn malformed(line: usize, info: &str) -> String {
    let (what, names_first) = match info {
        i if i.contains("unclosed bracket") => ("did not find expected node content", true),
        i if i.contains("tabs disallowed") => ("found character that cannot start any token", false),
        other => (other, false),
    };
    match line {
        0 | 1 if !names_first => format!("yaml: {what}"),
        line => format!("yaml: line {}: {what}", line.max(1)),
    }
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// The anchored values with their sizes.
    anchors: HashMap<usize, (Value, usize)>,
    aliased: usize,
    path: Vec<Step>,
    duplicates: Vec<String>,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, message: &str) -> DecodeError {
        DecodeError::new(0, format!("yaml: line {}: {message}", self.line))
    }

    fn next(&mut self) -> Result<Event<'a>, DecodeError> {
        loop {
            match self.events.next() {
                None => return Ok(Event::StreamEnd),
                Some(Err(e)) => {
                    return Err(DecodeError::new(e.marker().index(), malformed(e.marker().line(), &e.info())));
                }
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => {
                    self.line = span.start.line();
                    return Ok(event);
                }
            }
        }
    }

    fn document(&mut self) -> Result<Value, DecodeError> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(Value::Null),
                first => {
                    let value = self.node(first)?;
                    // What follows may be malformed too.
                    while !matches!(self.next()?, Event::StreamEnd | Event::DocumentEnd) {}
                    return Ok(value);
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>) -> Result<Value, DecodeError> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.error("exceeded max depth"));
        }
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().map(|t| t.suffix().to_owned());
                (scalar(&text, style, tag.as_deref()), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list()?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map()?, anchor),
            Event::Alias(id) => return self.alias(id),
            _ => return Err(self.error("did not find expected node content")),
        };
        if anchor > 0 {
            let size = size(&value);
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok(value)
    }

    fn alias(&mut self, id: usize) -> Result<Value, DecodeError> {
        let Some((value, size)) = self.anchors.get(&id) else { return Err(self.error("unknown anchor referenced")) };
        self.aliased += size;
        match self.aliased <= MAX_ALIASED {
            true => Ok(value.clone()),
            false => Err(self.error("document contains excessive aliasing")),
        }
    }

    fn list(&mut self) -> Result<Value, DecodeError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => {
                    self.path.push(Step::Index(items.len()));
                    items.push(self.node(event)?);
                    self.path.pop();
                }
            }
        }
    }

    fn map(&mut self) -> Result<Value, DecodeError> {
        let mut pairs: Vec<(Key, Value)> = Vec::new();
        let mut lines: HashMap<Key, usize> = HashMap::new();
        let mut merged: Vec<(Key, Value)> = Vec::new();
        loop {
            let event = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merge = matches!(&event, Event::Scalar(t, ScalarStyle::Plain, _, _) if t == "<<");
            let key = match self.node(event)? {
                Value::Str(text) => text,
                Value::Int(i) => Key::from(i.to_string()),
                Value::Float(f) => Key::from(super::json::float_text(f)),
                Value::Bool(b) => Key::from(b.to_string()),
                Value::Null => Key::new_static("null"),
                Value::List(_) | Value::Map(_) => return Err(self.error("invalid map key")),
            };
            let line = self.line;
            if !merge && lines.insert(key.clone(), line).is_some() && self.duplicates.len() < MAX_DUPLICATES {
                self.duplicates.push(format!("line {line}: key {:?} already set in map", key.as_str()));
            }
            let event = self.next()?;
            self.path.push(Step::Key(key.clone()));
            let value = self.node(event)?;
            self.path.pop();
            match merge {
                true => self.merge(value, &mut merged)?,
                false => pairs.push((key, value)),
            }
        }
        let mut map = Map::from_pairs(pairs, |_| {});
        for (key, value) in merged {
            if !map.contains_key(&key) {
                map.insert(key, value);
            }
        }
        Ok(Value::Map(map))
    }

    /// The first of several merged maps wins.
    fn merge(&self, value: Value, into: &mut Vec<(Key, Value)>) -> Result<(), DecodeError> {
        match value {
            Value::Map(map) => into.extend(map),
            Value::List(items) => {
                for item in items {
                    let Value::Map(map) = item else {
                        return Err(self.error("map merge requires map or sequence of maps as the value"));
                    };
                    into.extend(map);
                }
            }
            _ => return Err(self.error("map merge requires map or sequence of maps as the value")),
        }
        Ok(())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(map) => 1 + map.iter().map(|(_, v)| size(v)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => 1,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&str>) -> Value {
    match (tag, style) {
        (Some("str" | "binary"), _) => Value::from(text),
        (None, ScalarStyle::Plain) | (Some(_), _) => plain(text),
        (None, _) => Value::from(text),
    }
}

/// What a plain scalar means.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Value::from(text);
    }
    number(&text.replace('_', "")).unwrap_or_else(|| Value::from(text))
}

fn number(text: &str) -> Option<Value> {
    let (negative, digits) = match text.split_at_checked(1)? {
        ("-", rest) => (true, rest),
        ("+", rest) => (false, rest),
        _ => (false, text),
    };
    let prefixed = |p: &str, q: &str| digits.strip_prefix(p).or_else(|| digits.strip_prefix(q));
    let (radix, body) = match (prefixed("0x", "0X"), prefixed("0o", "0O"), prefixed("0b", "0B")) {
        (Some(rest), _, _) => (16, rest),
        (_, Some(rest), _) => (8, rest),
        (_, _, Some(rest)) => (2, rest),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if body.bytes().next().is_some_and(|b| b.is_ascii_hexdigit())
        && let Ok(size) = i128::from_str_radix(body, radix)
    {
        let int = if negative { -size } else { size };
        return Some(i64::try_from(int).map_or(Value::Float(int as f64), Value::Int));
    }
    let float = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|b| b.is_ascii_digit());
    let parsed: f64 = if float { text.parse().ok()? } else { return None };
    parsed.is_finite().then_some(Value::Float(parsed))
}

/// Prints a value as YAML in block style, keys sorted, as `kubectl get -o yaml` does.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    match value {
        Value::Map(map) if !map.is_empty() => put_map(map, 0, &mut out),
        Value::List(items) if !items.is_empty() => put_list(items, 0, &mut out),
        scalar => {
            put_scalar(scalar, 0, &mut out);
            out.push('\n');
        }
    }
    out.into_bytes()
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn put_map(map: &Map, indent: usize, out: &mut String) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            pad(indent, out);
        }
        put_text(key, None, out);
        out.push(':');
        match value {
            Value::Map(inner) if !inner.is_empty() => {
                out.push('\n');
                put_map(inner, indent + 2, out);
            }
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                put_list(items, indent, out);
            }
            scalar => {
                out.push(' ');
                put_scalar(scalar, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn put_list(items: &[Value], indent: usize, out: &mut String) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            pad(indent, out);
        }
        out.push_str("- ");
        match item {
            Value::Map(inner) if !inner.is_empty() => put_map(inner, indent + 2, out),
            Value::List(inner) if !inner.is_empty() => put_list(inner, indent + 2, out),
            scalar => {
                put_scalar(scalar, indent + 2, out);
                out.push('\n');
            }
        }
    }
}

fn put_scalar(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Str(text) => put_text(text, Some(indent), out),
        Value::Map(_) => out.push_str("{}"),
        Value::List(_) => out.push_str("[]"),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            out.push_str(&String::from_utf8_lossy(&super::json::encode(value)));
        }
    }
}

/// `indent` is where a block of lines may stand; a key has none.
fn put_text(text: &str, indent: Option<usize>, out: &mut String) {
    let block = text.contains('\n')
        && text.chars().all(printable)
        && !text.starts_with([' ', '\n', '\t'])
        && !text.lines().any(|l| l.ends_with(' '));
    match (indent, block) {
        (Some(indent), true) => put_block(text, indent, out),
        _ if is_plain(text) => put_folded(text, indent, 0, out),
        _ => {
            let single = !text.contains(['\n', '\t']) && text.chars().all(printable) && is_text(text);
            match single {
                true => {
                    out.push('\'');
                    put_folded(&text.replace('\'', "''"), indent, 1, out);
                    out.push('\'');
                }
                false => put_double(text, out),
            }
        }
    }
}

/// Lines of text outside blocks end at the first space after so many characters, as upstream's encoder ends them.
const WIDTH: usize = 80;

/// Text whose long lines go on below, at `indent`; without one, in one line. A single space between words may become a
/// line's end, but not within `edge` characters of the text's ends.
fn put_folded(text: &str, indent: Option<usize>, edge: usize, out: &mut String) {
    let Some(indent) = indent else { return out.push_str(text) };
    let mut column = out[out.rfind('\n').map_or(0, |at| at + 1)..].chars().count();
    let mut before = '\0';
    for (at, c) in text.char_indices() {
        let after = text[at + c.len_utf8()..].chars().next();
        let inside = at >= edge && (edge == 0 || after.is_some());
        if c == ' ' && before != ' ' && after != Some(' ') && inside && column > WIDTH {
            out.push('\n');
            pad(indent, out);
            column = indent;
        } else {
            out.push(c);
            column += 1;
        }
        before = c;
    }
}

fn put_block(text: &str, indent: usize, out: &mut String) {
    let body = text.strip_suffix('\n');
    out.push_str(match body {
        None => "|-",
        Some(rest) if rest.ends_with('\n') => "|+",
        Some(_) => "|",
    });
    for line in body.unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(indent, out);
            out.push_str(line);
        }
    }
}

/// What YAML lets stand for itself in a block or in quotes.
fn printable(c: char) -> bool {
    matches!(c, '\n' | '\t')
        || !(c.is_control() || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}'))
}

fn put_double(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if printable(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    out.push('"');
}

/// Whether text without quotes is read back as itself.
fn is_plain(text: &str) -> bool {
    let (Some(first), Some(last)) = (text.chars().next(), text.chars().next_back()) else { return false };
    let opens = matches!(
        first,
        ' ' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' | '{' | '}' | '[' | ']' | ','
    );
    let dashed = matches!(first, '-' | '?' | ':') && !text[1..].starts_with(|c: char| c.is_alphanumeric());
    let inside = text.contains(": ")
        || text.contains(" #")
        || text.contains(|c: char| matches!(c, '\t' | '\n') || !printable(c));
    let document = text.starts_with("---") || text.starts_with("...");
    !(opens || dashed || inside || document || matches!(last, ' ' | ':') || text == "=" || text == "<<")
        && is_text(text)
}

/// Whether every reader of YAML 1.1 takes the plain word for text: others than ours know times and numbers of base 60.
fn is_text(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let sixties = digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.contains(':')
        && digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'_'));
    let in_time =
        |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b':' | b'.' | b' ' | b'T' | b't' | b'Z' | b'z');
    let year = digits.split_once('-').is_some_and(|(y, _)| y.len() == 4 && y.bytes().all(|b| b.is_ascii_digit()));
    let time = year && digits.bytes().all(in_time);
    !sixties && !time && plain(text) == Value::from(text)
}
