//! Paths into objects: the JSONPath of columns, and the simple paths of `scale` and of selectable fields.

use super::Structural;
use crate::codec::json;
use crate::value::{Key, Map, Value};

/// A JSONPath as kubectl's columns have it: fields, indexes, slices, wildcards, `..`, filters.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(Key),
    /// Every value of a map, every item of a list.
    All,
    Index(i64),
    /// `[0,2]`.
    Several(Vec<i64>),
    /// `[from:to:step]`.
    Slice(Option<i64>, Option<i64>, usize),
    /// A step anywhere below.
    Below(Box<Step>),
    /// `[?(@.a == "b")]`; without an operator the path must lead somewhere.
    Filter(JsonPath, Option<(Compare, Value)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Not,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Values that one path may lead to: a row of a table shows one of them.
const MAX_FOUND: usize = 1000;

impl JsonPath {
    /// Reads a path: `.spec.a`, `.status.conditions[?(@.type=="Ready")].status`, `.spec.l[*]`, `.metadata.labels.a\.b`.
    /// `None` for what is none.
    pub fn parse(text: &str) -> Option<JsonPath> {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(text);
        let mut parser = Parser { rest: inner };
        let steps = parser.steps()?;
        parser.rest.is_empty().then_some(JsonPath(steps))
    }

    /// The values that the path leads to.
    pub fn find<'v>(&self, root: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![root], |found, step| {
            let mut next = Vec::new();
            found.into_iter().for_each(|v| step.take(v, &mut next));
            next.truncate(MAX_FOUND);
            next
        })
    }

    /// The first value.
    pub fn first<'v>(&self, root: &'v Map) -> Option<&'v Value> {
        let (first, rest) = self.0.split_first()?;
        let mut found = Vec::new();
        match first {
            Step::Field(key) => found.extend(root.get(key)),
            Step::All => found.extend(root.iter().map(|(_, v)| v)),
            Step::Below(step) => root.iter().for_each(|(_, v)| step.below(v, &mut found)),
            Step::Index(_) | Step::Several(_) | Step::Slice(..) | Step::Filter(..) => {}
        }
        let rest = JsonPath(rest.to_vec());
        found.into_iter().find_map(|v| rest.find(v).first().copied())
    }
}

impl Step {
    fn take<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        match (self, value) {
            (Step::Field(key), Value::Map(map)) => out.extend(map.get(key)),
            // As upstream: a field of a list is that field of each item.
            (Step::Field(_), Value::List(_)) => {}
            (Step::All, Value::Map(map)) => out.extend(map.iter().map(|(_, v)| v)),
            (Step::All, Value::List(items)) => out.extend(items),
            (Step::Index(i), Value::List(items)) => out.extend(place(*i, items.len()).and_then(|i| items.get(i))),
            (Step::Several(places), Value::List(items)) => {
                let one = |i: &i64| place(*i, items.len()).and_then(|i| items.get(i));
                out.extend(places.iter().filter_map(one));
            }
            (Step::Slice(from, to, step), Value::List(items)) => {
                let bound = |i: Option<i64>, absent: usize| i.map_or(Some(absent), |i| place(i, items.len()));
                let (from, to) = (bound(*from, 0).unwrap_or(0), bound(*to, items.len()).unwrap_or(0));
                out.extend(items.iter().take(to).skip(from).step_by((*step).max(1)));
            }
            (Step::Below(step), value) => step.below(value, out),
            (Step::Filter(path, test), Value::List(items)) => {
                out.extend(items.iter().filter(|item| holds(path, test.as_ref(), item)));
            }
            _ => {}
        }
    }

    fn below<'v>(&self, value: &'v Value, out: &mut Vec<&'v Value>) {
        if out.len() >= MAX_FOUND {
            return;
        }
        self.take(value, out);
        match value {
            Value::Map(map) => map.iter().for_each(|(_, v)| self.below(v, out)),
            Value::List(items) => items.iter().for_each(|v| self.below(v, out)),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => {}
        }
    }
}

/// An index from the front, or from the end where it is negative.
fn place(i: i64, len: usize) -> Option<usize> {
    match usize::try_from(i) {
        Ok(i) => Some(i),
        Err(_) => len.checked_sub(usize::try_from(i.unsigned_abs()).ok()?),
    }
}

fn holds(path: &JsonPath, test: Option<&(Compare, Value)>, item: &Value) -> bool {
    let found = path.find(item);
    let Some((compare, wanted)) = test else { return !found.is_empty() };
    found.first().is_some_and(|value| {
        let order = match (super::number::float(value), super::number::float(wanted)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => match (value, wanted) {
                (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
                (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
                _ => None,
            },
        };
        use std::cmp::Ordering::{Equal, Greater, Less};
        match (compare, order) {
            (Compare::Not, order) => order != Some(Equal),
            (_, None) => false,
            (Compare::Equal, Some(order)) => order == Equal,
            (Compare::Less, Some(order)) => order == Less,
            (Compare::LessOrEqual, Some(order)) => order != Greater,
            (Compare::Greater, Some(order)) => order == Greater,
            (Compare::GreaterOrEqual, Some(order)) => order != Less,
        }
    })
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn steps(&mut self) -> Option<Vec<Step>> {
        self.eat("$");
        self.eat("@");
        let mut steps = Vec::new();
        while !self.rest.is_empty() {
            let anywhere = self.eat("..");
            if !anywhere && self.eat(".") && self.rest.is_empty() && steps.is_empty() {
                break;
            }
            let step = match self.rest.starts_with('[') {
                true => self.bracket()?,
                false => self.name()?,
            };
            steps.push(if anywhere { Step::Below(Box::new(step)) } else { step });
        }
        Some(steps)
    }

    fn name(&mut self) -> Option<Step> {
        let (mut name, mut escaped, mut end) = (String::new(), false, self.rest.len());
        for (i, c) in self.rest.char_indices() {
            match c {
                c if escaped => {
                    name.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '.' | '[' | ']' | '{' | '}' => {
                    end = i;
                    break;
                }
                c => name.push(c),
            }
        }
        self.rest = &self.rest[end..];
        match name.as_str() {
            "" => None,
            "*" => Some(Step::All),
            _ => Some(Step::Field(name.into())),
        }
    }

    fn bracket(&mut self) -> Option<Step> {
        self.eat("[");
        if self.eat("?(") {
            let end = close(self.rest)?;
            let inside = &self.rest[..end];
            self.rest = &self.rest[end..];
            return (self.eat(")]")).then(|| filter(inside)).flatten();
        }
        let end = self.rest.find(']')?;
        let inside = self.rest[..end].trim();
        self.rest = &self.rest[end + 1..];
        if inside == "*" {
            return Some(Step::All);
        }
        if let Some(name) = inside.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
            return Some(Step::Field(name.into()));
        }
        if inside.contains(',') {
            return inside.split(',').map(|one| one.trim().parse().ok()).collect::<Option<_>>().map(Step::Several);
        }
        if !inside.contains(':') {
            return inside.parse().ok().map(Step::Index);
        }
        let mut parts = inside.split(':').map(str::trim);
        let mut next = || match parts.next().unwrap_or("") {
            "" => Some(None),
            text => text.parse::<i64>().ok().map(Some),
        };
        let (from, to, step) = (next()?, next()?, next()?);
        Some(Step::Slice(from, to, usize::try_from(step.unwrap_or(1)).ok()?))
    }
}

/// Where the parenthesis that is open closes.
fn close(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '\'', None) => quote = Some(c),
            ('(', None) => depth += 1,
            (')', None) if depth == 0 => return Some(i),
            (')', None) => depth -= 1,
            _ => {}
        }
    }
    None
}

const COMPARES: [(&str, Compare); 6] = [
    ("==", Compare::Equal),
    ("!=", Compare::Not),
    ("<=", Compare::LessOrEqual),
    (">=", Compare::GreaterOrEqual),
    ("<", Compare::Less),
    (">", Compare::Greater),
];

fn filter(text: &str) -> Option<Step> {
    let found = COMPARES.iter().filter_map(|(sign, c)| Some((text.find(sign)?, *sign, *c))).min_by_key(|f| f.0);
    let Some((at, sign, compare)) = found else { return Some(Step::Filter(JsonPath::parse(text.trim())?, None)) };
    let path = JsonPath::parse(text[..at].trim())?;
    Some(Step::Filter(path, Some((compare, literal(text[at + sign.len()..].trim())?))))
}

fn literal(text: &str) -> Option<Value> {
    match text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        Some(inner) => Some(Value::from(inner)),
        None => json::decode(text.as_bytes()).ok().map(|d| d.value),
    }
}

/// The schema that a simple path (`.spec.a`) leads to: fields, keys of maps (`['a']` too where `brackets` may be), but no
/// items of lists.
///
/// # Errors
/// Why it leads nowhere.
pub fn field<'s>(schema: &'s Structural, path: &str, brackets: bool) -> Result<&'s Structural, String> {
    let (mut at, mut rest) = (schema, path);
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() {
                return Err("unexpected end of JSON path".to_owned());
            }
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            (name, rest) = after.split_at(end);
        } else if let Some(after) = rest.strip_prefix('[') {
            let inside = after.split_once(']').filter(|_| brackets).ok_or("array notation is not allowed")?;
            name = inside.0.strip_prefix('\'').and_then(|n| n.strip_suffix('\'')).ok_or("expected a quoted name")?;
            rest = inside.1;
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len());
            return Err(format!("expected [ or . but got: {}", &rest[..end]));
        }
        at = at.below(name).ok_or("does not refer to a valid field")?;
    }
    Ok(at)
}
