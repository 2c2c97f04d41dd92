//! JSON: a parser that keeps integers and floats apart and reports duplicate keys, and a printer that prints numbers as
//! Go does. Takes linear time and bounded depth for any input.

use super::{DecodeError, Decoded, MAX_DEPTH, MAX_DUPLICATES, Step, path_text};
use crate::value::{Key, Map, Value};

/// Reads one JSON document.
///
/// # Errors
/// Malformed JSON, text that is not UTF-8, nesting beyond [`MAX_DEPTH`], a number that no float can hold.
pub fn decode(input: &[u8]) -> Result<Decoded, DecodeError> {
    let text = std::str::from_utf8(input)
        .map_err(|e| DecodeError::new(e.valid_up_to(), format!("invalid UTF-8 at byte {}", e.valid_up_to())))?;
    let mut parser = Parser { text, bytes: input, at: 0, path: Vec::new(), duplicates: Vec::new() };
    parser.space();
    let value = parser.value()?;
    parser.space();
    match parser.bytes.get(parser.at) {
        None => Ok(Decoded { value, duplicates: parser.duplicates }),
        Some(_) => Err(parser.invalid("after top-level value")),
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    path: Vec<Step>,
    duplicates: Vec<String>,
}

/// A character as Go writes it.
fn quoted(c: char) -> String {
    let shown = c.escape_debug().to_string();
    match u32::from(c) {
        _ if !shown.starts_with("\\u{") => shown,
        code @ ..0x80 => format!("\\x{code:02x}"),
        code @ ..0x1_0000 => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    }
}

impl Parser<'_> {
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn invalid(&self, context: &str) -> DecodeError {
        match self.text.get(self.at..).and_then(|t| t.chars().next()) {
            None => DecodeError::new(self.at, "unexpected end of JSON input"),
            Some('\'') => DecodeError::new(self.at, format!("invalid character '\\'' {context}")),
            Some('"') => DecodeError::new(self.at, format!("invalid character '\"' {context}")),
            Some(c) => DecodeError::new(self.at, format!("invalid character '{}' {context}", quoted(c))),
        }
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        match self.bytes.get(self.at) {
            Some(b'{') => self.map(),
            Some(b'[') => self.list(),
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.invalid("looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, DecodeError> {
        for (i, expected) in word.bytes().enumerate() {
            if self.bytes.get(self.at) != Some(&expected) {
                return Err(self.invalid(&format!("in literal {word} (expecting '{}')", &word[i..=i])));
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn enter(&self) -> Result<(), DecodeError> {
        match self.path.len() < MAX_DEPTH {
            true => Ok(()),
            false => Err(DecodeError::new(self.at, "exceeded max depth")),
        }
    }

    fn list(&mut self) -> Result<Value, DecodeError> {
        self.enter()?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.bytes.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::List(items));
        }
        loop {
            self.path.push(Step::Index(items.len()));
            self.space();
            items.push(self.value()?);
            self.path.pop();
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                _ => return Err(self.invalid("after array element")),
            }
        }
    }

    fn map(&mut self) -> Result<Value, DecodeError> {
        self.enter()?;
        self.at += 1;
        let mut pairs: Vec<(Key, Value)> = Vec::new();
        self.space();
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Map(Map::new()));
        }
        loop {
            self.space();
            if self.bytes.get(self.at) != Some(&b'"') {
                return Err(self.invalid("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.space();
            if self.bytes.get(self.at) != Some(&b':') {
                return Err(self.invalid("after object key"));
            }
            self.at += 1;
            self.space();
            self.path.push(Step::Key(key.clone()));
            pairs.push((key, self.value()?));
            self.path.pop();
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Map(self.close(pairs)));
                }
                _ => return Err(self.invalid("after object key:value pair")),
            }
        }
    }

    fn close(&mut self, pairs: Vec<(Key, Value)>) -> Map {
        let (path, duplicates) = (&mut self.path, &mut self.duplicates);
        Map::from_pairs(pairs, |key| {
            path.push(Step::Key(key.clone()));
            note_duplicate(duplicates, path);
            path.pop();
        })
    }

    fn number(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        let mut float = false;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.invalid("in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            float = true;
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            float = true;
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = &self.text[start..self.at];
        if !float && let Ok(int) = text.parse() {
            return Ok(Value::Int(int));
        }
        match text.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Value::Float(f)),
            _ => Err(DecodeError::new(
                start,
                format!("json: cannot unmarshal number {text} into Go value of type float64"),
            )),
        }
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), DecodeError> {
        match self.bytes.get(self.at) {
            Some(b'0'..=b'9') => {
                self.digits();
                Ok(())
            }
            _ => Err(self.invalid(context)),
        }
    }

    fn string(&mut self) -> Result<Key, DecodeError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let text = Key::new(&self.text[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => return self.escaped(start),
                Some(0..=0x1f) | None => return Err(self.invalid("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<Key, DecodeError> {
        let mut out = String::from(&self.text[start..self.at]);
        let mut plain = self.at;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(Key::from(out));
                }
                Some(b'\\') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    out.push(self.escape()?);
                    plain = self.at;
                }
                Some(0..=0x1f) | None => return Err(self.invalid("in string literal")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, DecodeError> {
        let c = match self.bytes.get(self.at) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.invalid("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    fn hex(&mut self) -> Result<u32, DecodeError> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.bytes.get(self.at).and_then(|b| (*b as char).to_digit(16)) else {
                return Err(self.invalid("in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    /// A lone surrogate becomes the replacement character, as in Go.
    fn unicode(&mut self) -> Result<char, DecodeError> {
        let high = self.hex()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 1;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

pub(super) fn note_duplicate(duplicates: &mut Vec<String>, path: &[Step]) {
    if duplicates.len() < MAX_DUPLICATES {
        let text = path_text(path);
        if !duplicates.contains(&text) {
            duplicates.push(text);
        }
    }
}

/// Puts paths (as in [`Decoded::duplicates`] or `schema::Checked::unknown`) into the order in which the document has
/// them. Paths that it does not have stay at the end.
pub fn sort_paths(input: &[u8], paths: &mut [String]) {
    if paths.len() < 2 {
        return;
    }
    let order = document_paths(input, paths);
    paths.sort_by_key(|p| order.iter().position(|o| o == p).unwrap_or(usize::MAX));
}

/// Those of the wanted paths that the document has, in its order.
fn document_paths(input: &[u8], wanted: &[String]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(input) else { return Vec::new() };
    let mut walk =
        Walk { parser: Parser { text, bytes: input, at: 0, path: vec![], duplicates: vec![] }, wanted, found: vec![] };
    walk.value();
    walk.found
}

struct Walk<'a> {
    parser: Parser<'a>,
    wanted: &'a [String],
    found: Vec<String>,
}

impl Walk<'_> {
    fn next(&mut self) -> u8 {
        self.parser.space();
        self.parser.bytes.get(self.parser.at).copied().unwrap_or(0)
    }

    /// False at the first thing that is not JSON: then what was found so far counts.
    fn value(&mut self) -> bool {
        match self.next() {
            b'{' => self.children(b'}', true),
            b'[' => self.children(b']', false),
            _ => self.parser.value().is_ok(),
        }
    }

    fn children(&mut self, end: u8, keyed: bool) -> bool {
        if self.parser.enter().is_err() {
            return false;
        }
        self.parser.at += 1;
        for index in 0.. {
            match self.next() {
                c if c == end => break,
                b',' if index > 0 => self.parser.at += 1,
                _ if index == 0 => {}
                _ => return false,
            }
            if !self.child(keyed, index) {
                return false;
            }
        }
        self.parser.at += 1;
        true
    }

    fn child(&mut self, keyed: bool, index: usize) -> bool {
        let step = match (keyed, self.next()) {
            (true, b'"') => match self.parser.string() {
                Ok(key) => Step::Key(key),
                Err(_) => return false,
            },
            (true, _) => return false,
            (false, _) => Step::Index(index),
        };
        if keyed {
            if self.next() != b':' {
                return false;
            }
            self.parser.at += 1;
        }
        self.parser.path.push(step);
        let text = path_text(&self.parser.path);
        if self.wanted.contains(&text) && !self.found.contains(&text) {
            self.found.push(text);
        }
        let good = self.value();
        self.parser.path.pop();
        good
    }
}

/// Prints a value on one line, keys sorted.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode_into(value, &mut out);
    out
}

pub fn encode_into(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(i) => put_int(*i, out),
        Value::Float(f) => out.extend_from_slice(float_text(*f).as_bytes()),
        Value::Str(s) => encode_str(s, out),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                encode_into(item, out);
            }
            out.push(b']');
        }
        Value::Map(map) => encode_map_into(map, out),
    }
}

pub fn encode_map_into(map: &Map, out: &mut Vec<u8>) {
    out.push(b'{');
    for (i, (key, item)) in map.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        encode_str(key, out);
        out.push(b':');
        encode_into(item, out);
    }
    out.push(b'}');
}

fn put_int(int: i64, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a Vec never fails.
    let _ = write!(out, "{int}");
}

/// A float as Go's `encoding/json` prints it: no exponent from 1e-6 up to 1e21, and no `.0`.
pub fn float_text(float: f64) -> String {
    let size = float.abs();
    if !float.is_finite() {
        return "null".into();
    }
    if size == 0.0 {
        return "0".into();
    }
    if (1e-6..1e21).contains(&size) {
        return format!("{float}");
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent:0>2}"),
        _ => text,
    }
}

/// Prints a string with its quotes; control characters are escaped.
pub fn encode_str(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (i, &b) in bytes.iter().enumerate() {
        let short = match b {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..i]);
        match short {
            0 => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
            c => out.extend_from_slice(&[b'\\', c]),
        }
        plain = i + 1;
    }
    out.extend_from_slice(&bytes[plain..]);
    out.push(b'"');
}
