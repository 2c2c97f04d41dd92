//! Selectors of labels.

use super::lexer::{Token, tokens};
use super::{MAX_REQUIREMENTS, SelectorError};
use crate::names;
use crate::object::Object;
use crate::value::Value;
use std::collections::BTreeSet;
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: BTreeSet<String>,
}

/// Conditions that all must hold. Without any, everything matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
    /// An absent selector of an object matches nothing.
    nothing: bool,
}

type Parsed<T> = Result<T, SelectorError>;

fn fail<T>(message: String) -> Parsed<T> {
    Err(SelectorError(message))
}

impl LabelSelector {
    /// Matches everything.
    pub fn everything() -> LabelSelector {
        LabelSelector::default()
    }

    /// Matches nothing.
    pub fn nothing() -> LabelSelector {
        LabelSelector { requirements: Vec::new(), nothing: true }
    }

    /// Reads a selector from a query: `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn parse(text: &str) -> Parsed<LabelSelector> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = parser.selector()?;
        if requirements.len() > MAX_REQUIREMENTS {
            return fail(format!("a selector may have at most {MAX_REQUIREMENTS} requirements"));
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements, nothing: false })
    }

    /// Reads a `meta/v1.LabelSelector`. An absent one (null) matches nothing, an empty one everything.
    ///
    /// # Errors
    /// Upstream's message about an operator, a key or a value.
    pub fn from_value(selector: &Value) -> Parsed<LabelSelector> {
        let Some(map) = selector.as_map() else { return Ok(LabelSelector::nothing()) };
        let mut requirements = Vec::new();
        for (key, value) in map.get("matchLabels").and_then(Value::as_map).into_iter().flat_map(|m| m.iter()) {
            requirements.push(requirement(key, Operator::Equals, [value.as_str().unwrap_or("").to_owned()].into())?);
        }
        for expression in map.get("matchExpressions").and_then(Value::as_list).unwrap_or(&[]) {
            let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or("");
            let operator = match text("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return fail(format!("{other:?} is not a valid label selector operator")),
            };
            let values = expression.get("values").and_then(Value::as_list).unwrap_or(&[]);
            let values = values.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(requirement(text("key"), operator, values)?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(LabelSelector { requirements, nothing: false })
    }

    /// A plain map of labels that all must be there (`spec.selector` of Services); an empty one matches everything.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> LabelSelector {
        let one = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: [value.to_owned()].into(),
        };
        LabelSelector { requirements: labels.into_iter().map(one).collect(), nothing: false }
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Whether labels match; `label` gives the value of a key.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    pub fn matches_object(&self, object: &Object) -> bool {
        self.matches(|key| object.label(key))
    }

    /// Whether the labels of a map (`metadata.labels`, `spec.template.metadata.labels`) match.
    pub fn matches_labels(&self, labels: Option<&Value>) -> bool {
        self.matches(|key| labels?.get(key)?.as_str())
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|v| self.values.contains(v));
        let compared = |wanted: std::cmp::Ordering| {
            let number = |t: &str| t.parse::<i64>().ok();
            let (have, limit) = (value.and_then(number), self.values.first().and_then(|v| number(v)));
            matches!((have, limit), (Some(h), Some(l)) if h.cmp(&l) == wanted)
        };
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => listed(),
            Operator::NotIn | Operator::NotEquals => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compared(std::cmp::Ordering::Greater),
            Operator::LessThan => compared(std::cmp::Ordering::Less),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{r}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        let key = &self.key;
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

/// All that is wrong with a key, as one.
fn wrong_key(key: &str) -> Option<String> {
    let why = names::qualified_name(key);
    (!why.is_empty()).then(|| invalid("<nil>", key, &why.join("; ")))
}

/// A checked requirement.
fn requirement(key: &str, operator: Operator, values: BTreeSet<String>) -> Parsed<Requirement> {
    let mut errors: Vec<String> = wrong_key(key).into_iter().collect();
    let shown = || format!("[{}]", values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(","));
    let complaint = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
            Some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if values.len() != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        _ => None,
    };
    errors.extend(complaint.map(|c| format!("values: Invalid value: {}: {c}", shown())));
    for (i, value) in values.iter().enumerate() {
        let number = matches!(operator, Operator::GreaterThan | Operator::LessThan);
        if number && value.parse::<i64>().is_err() {
            let message = "for 'Gt', 'Lt' operators, the value must be an integer";
            errors.push(invalid(&format!("values[{i}]"), value, message));
        }
        let place = format!("values[{i}][{key}]");
        errors.extend(names::label_value(value).iter().map(|m| invalid(&place, value, m)));
    }
    match errors.as_slice() {
        [] => Ok(Requirement { key: key.to_owned(), operator, values }),
        [one] => fail(one.clone()),
        many => fail(format!("[{}]", many.join(", "))),
    }
}

fn invalid(place: &str, value: &str, message: &str) -> String {
    format!("{place}: Invalid value: {value:?}: {message}")
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

impl<'a> Parser<'a> {
    /// What stands here; `in` and `notin` are operators only where one is looked for.
    fn look(&self) -> (Token, &'a str) {
        match self.tokens[self.at.min(self.tokens.len() - 1)] {
            (Token::In | Token::NotIn, text) => (Token::Identifier, text),
            token => token,
        }
    }

    fn take(&mut self) -> (Token, &'a str) {
        let token = self.look();
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Parsed<Vec<Requirement>> {
        let mut out = Vec::new();
        loop {
            match self.look() {
                (Token::Identifier | Token::Not, _) => {
                    let wrapped = |e: SelectorError| SelectorError(format!("unable to parse requirement: {e}"));
                    out.push(self.requirement().map_err(wrapped)?);
                    match self.take() {
                        (Token::End, _) => return Ok(out),
                        (Token::Comma, _) => match self.look() {
                            (Token::Identifier | Token::Not, _) => {}
                            (_, text) => return fail(format!("found '{text}', expected: identifier after ','")),
                        },
                        (_, text) => return fail(format!("found '{text}', expected: ',' or 'end of string'")),
                    }
                }
                (Token::End, _) => return Ok(out),
                (_, text) => return fail(format!("found '{text}', expected: !, identifier, or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let negated = self.look().0 == Token::Not;
        if negated {
            self.take();
        }
        let (token, key) = self.take();
        if token != Token::Identifier {
            return fail(format!("found '{key}', expected: identifier"));
        }
        if let Some(why) = wrong_key(key) {
            return fail(why);
        }
        if negated {
            return requirement(key, Operator::DoesNotExist, BTreeSet::new());
        }
        if matches!(self.look().0, Token::End | Token::Comma) {
            return requirement(key, Operator::Exists, BTreeSet::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => self.exact()?,
        };
        requirement(key, operator, values)
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let (token, text) = self.tokens[self.at.min(self.tokens.len() - 1)];
        self.at += 1;
        Ok(match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            Token::End | Token::Identifier | Token::Not | Token::Open | Token::Close | Token::Comma | Token::Bad => {
                return fail(format!("found '{text}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        })
    }

    fn exact(&mut self) -> Parsed<BTreeSet<String>> {
        match self.look() {
            (Token::End | Token::Comma, _) => Ok([String::new()].into()),
            (Token::Identifier, text) => {
                self.take();
                Ok([text.to_owned()].into())
            }
            (_, text) => fail(format!("found '{text}', expected: identifier")),
        }
    }

    fn list(&mut self) -> Parsed<BTreeSet<String>> {
        match self.take() {
            (Token::Open, _) => {}
            (_, text) => return fail(format!("found '{text}' expected: '('")),
        }
        let values = match self.look() {
            (Token::Identifier | Token::Comma, _) => self.identifiers()?,
            (Token::Close, _) => [String::new()].into(),
            (_, text) => return fail(format!("found '{text}', expected: ',', ')' or identifier")),
        };
        match self.take() {
            (Token::Close, _) => Ok(values),
            (_, text) => fail(format!("found '{text}', expected: ')'")),
        }
    }

    /// Up to the closing parenthesis; nothing between commas is the empty value.
    fn identifiers(&mut self) -> Parsed<BTreeSet<String>> {
        let mut out = BTreeSet::new();
        loop {
            match self.take() {
                (Token::Identifier, text) => {
                    out.insert(text.to_owned());
                    match self.look() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(out),
                        (_, text) => return fail(format!("found '{text}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if out.is_empty() {
                        out.insert(String::new());
                    }
                    match self.look().0 {
                        Token::Close => {
                            out.insert(String::new());
                            return Ok(out);
                        }
                        Token::Comma => {
                            self.take();
                            out.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, text) => return fail(format!("found '{text}', expected: ',', or identifier")),
            }
        }
    }
}
