//! From text to the expression tree. The grammar is cel-rust's; macros are expanded here, because Kubernetes has more of
//! them than its parser knows.

mod bound;
mod macros;

use crate::ast::{Ast, Entry, Id, Item, Kind, Literal, Node};
use crate::limits::{DEPTH, ERRORS, SOURCE_CHARS};
use crate::source::{CompileError, Issue, locate};
use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, SourceInfo};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Parses an expression and expands its macros. The caller reserves the stack.
pub(crate) fn parse(source: &str) -> Result<Ast, CompileError> {
    let plain = |message: String| CompileError::new(source, vec![Issue { line: 1, column: 0, message }]);
    let length = source.chars().count();
    if length > SOURCE_CHARS {
        return Err(plain(format!("expression code point size exceeds limit: size: {length}, limit {SOURCE_CHARS}")));
    }
    if bound::depth(source) > DEPTH {
        return Err(plain(format!("expression recursion limit exceeded: {DEPTH}")));
    }
    let (expr, info) = grammar(source)?;
    let mut builder = Builder { nodes: Vec::new(), info: &info, source, issues: Vec::new() };
    let root = builder.add(&expr);
    if !builder.issues.is_empty() {
        return Err(CompileError::new(source, builder.issues));
    }
    Ok(Ast { nodes: builder.nodes, root })
}

fn grammar(source: &str) -> Result<(IdedExpr, SourceInfo), CompileError> {
    let parser = cel::Env::default().parser().max_recursion_depth(DEPTH as u16);
    // The generated parser is not ours: should it panic on some text, that text is an error and the server stays.
    let parsed = catch_unwind(AssertUnwindSafe(|| parser.parse_with_source_info(source)));
    let errors = match parsed {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(errors)) => errors.errors,
        Err(_) => Vec::new(),
    };
    let mut issues: Vec<Issue> = errors
        .into_iter()
        .map(|e| Issue {
            line: e.pos.0.max(1) as usize,
            column: (e.pos.1 - 1).max(0) as usize,
            message: if e.msg.contains("InvalidUnicode") {
                "invalid unicode code point".to_owned()
            } else {
                expected(e.msg)
            },
        })
        .collect();
    // What a broken tree leads to afterwards is no news.
    if issues.iter().any(|i| i.message.starts_with("Syntax error")) {
        issues.retain(|i| i.message.starts_with("Syntax error"));
    }
    if issues.is_empty() {
        issues.push(Issue { line: 1, column: 0, message: "Syntax error: the expression can't be parsed".to_owned() });
    }
    issues.truncate(ERRORS);
    Err(CompileError::new(source, issues))
}

/// Behind a whole expression the parser names every operator that might go on; the one of upstream names only what would
/// close it.
fn expected(message: String) -> String {
    let Some((head, set)) = message.split_once(" expecting {").filter(|(_, set)| set.contains("'=='")) else {
        return message;
    };
    let closers = ["<EOF>", "')'", "']'", "':'", "'}'"];
    match closers.iter().find(|c| set.contains(**c)) {
        Some(closer) => format!("{head} expecting {closer}"),
        None => message,
    }
}

/// Copies the parser's tree into the arena.
struct Builder<'a> {
    nodes: Vec<Node>,
    info: &'a SourceInfo,
    source: &'a str,
    issues: Vec<Issue>,
}

impl Builder<'_> {
    fn node(&mut self, at: u32, kind: Kind) -> Id {
        self.nodes.push(Node { at, kind });
        (self.nodes.len() - 1) as Id
    }

    fn at(&self, expr: &IdedExpr) -> u32 {
        self.info.offset_for(expr.id).map_or(0, |(start, _)| start)
    }

    fn issue(&mut self, at: u32, message: impl Into<String>) -> Id {
        let (line, column) = locate(self.source, at as usize);
        self.issues.push(Issue { line, column, message: message.into() });
        self.node(at, Kind::Broken)
    }

    fn add(&mut self, expr: &IdedExpr) -> Id {
        let at = self.at(expr);
        let kind = match &expr.expr {
            Expr::Literal(literal) => Kind::Literal(literal_of(literal)),
            Expr::Ident(name) => Kind::Ident(name.trim_start_matches('.').to_owned()),
            Expr::Select(select) => {
                let operand = self.add(&select.operand);
                Kind::Select { operand, field: select.field.clone(), test: select.test }
            }
            Expr::Call(call) => return self.call(at, call),
            Expr::List(list) => {
                let items = list
                    .elements
                    .iter()
                    .enumerate()
                    .map(|(i, e)| Item { value: self.add(e), optional: list.optional_indices.contains(&i) });
                Kind::List { items: items.collect() }
            }
            Expr::Map(map) => {
                let entries = map.entries.iter().filter_map(|e| match &e.expr {
                    EntryExpr::MapEntry(entry) => Some(Entry {
                        key: self.add(&entry.key),
                        value: self.add(&entry.value),
                        optional: entry.optional,
                    }),
                    EntryExpr::StructField(_) => None,
                });
                Kind::Map { entries: entries.collect() }
            }
            Expr::Struct(message) => {
                let entries = message.entries.iter().filter_map(|e| match &e.expr {
                    EntryExpr::StructField(field) => Some(Entry {
                        key: self.node(
                            self.info.offset_for(e.id).map_or(at, |(start, _)| start),
                            Kind::Literal(Literal::String(field.field.clone())),
                        ),
                        value: self.add(&field.value),
                        optional: field.optional,
                    }),
                    EntryExpr::MapEntry(_) => None,
                });
                let entries = entries.collect();
                Kind::Struct { name: message.type_name.trim_start_matches('.').to_owned(), entries }
            }
            Expr::Comprehension(_) | Expr::Unspecified => Kind::Broken,
        };
        self.node(at, kind)
    }
}

fn literal_of(literal: &LiteralValue) -> Literal {
    match literal {
        LiteralValue::Boolean(b) => Literal::Bool(*b.inner()),
        LiteralValue::Bytes(b) => Literal::Bytes(b.inner().to_vec()),
        LiteralValue::Double(n) => Literal::Double(*n.inner()),
        LiteralValue::Int(n) => Literal::Int(*n.inner()),
        LiteralValue::Null => Literal::Null,
        LiteralValue::String(s) => Literal::String(s.inner().to_owned()),
        LiteralValue::UInt(n) => Literal::Uint(*n.inner()),
    }
}
