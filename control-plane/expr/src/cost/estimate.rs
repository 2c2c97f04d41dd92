//! What an expression can cost at most, from what its schema says about sizes.

use super::{LIST, MAP, MESSAGE, Range};
use crate::ast::{Ast, Fold, Id, Kind, Literal};
use crate::check::{Checked, Ref};
use crate::decl::{Decl, Shape};
use crate::types::Type;
use std::collections::HashMap;

/// Estimates a checked expression. The root is what declared variables are: upstream knows the sizes of only one.
/// The caller reserves the stack.
pub(crate) fn estimate(ast: &Ast, checked: &Checked, root: Option<&Decl>) -> Range {
    let mut estimator = Estimator {
        ast,
        checked,
        root,
        sizes: HashMap::new(),
        elements: HashMap::new(),
        paths: HashMap::new(),
        locals: HashMap::new(),
    };
    estimator.cost(ast.root)
}

pub(super) struct Estimator<'a> {
    pub(super) ast: &'a Ast,
    pub(super) checked: &'a Checked,
    root: Option<&'a Decl>,
    sizes: HashMap<Id, Range>,
    elements: HashMap<Id, Elements>,
    paths: HashMap<Id, Path<'a>>,
    locals: HashMap<usize, Local<'a>>,
}

/// The sizes of what a list or map holds.
#[derive(Clone, Copy)]
pub(super) struct Elements {
    list: bool,
    key: Range,
    value: Range,
}

impl Elements {
    pub(super) fn or(self, other: Elements) -> Elements {
        Elements { list: self.list, key: self.key.or(other.key), value: self.value.or(other.value) }
    }
}

/// Where in the declared variables a value comes from.
#[derive(Clone, Copy, Default)]
pub(super) enum Path<'a> {
    /// From nowhere there.
    #[default]
    Computed,
    /// From a place with this declaration, or from one that no schema describes.
    At(Option<&'a Decl>),
    /// A key of a declared map: upstream takes its size for zero.
    Key,
}

/// A step from a container to what it holds.
#[derive(Clone, Copy)]
pub(super) enum Step<'s> {
    Field(&'s str),
    Item,
    Key,
    Index,
}

#[derive(Clone, Copy, Default)]
struct Local<'a> {
    path: Path<'a>,
    size: Option<Range>,
    elements: Option<Elements>,
}

impl<'a> Estimator<'a> {
    pub(super) fn cost(&mut self, id: Id) -> Range {
        match self.ast.kind(id) {
            Kind::Literal(_) | Kind::Broken => Range::ZERO,
            Kind::Struct { entries, .. } => {
                entries.iter().fold(Range::just(MESSAGE), |sum, entry| sum.plus(self.cost(entry.value)))
            }
            Kind::Ident(_) => {
                let path = match self.local(id) {
                    Some(local) => local.path,
                    None => Path::At(self.root),
                };
                self.paths.insert(id, path);
                Range::ONE
            }
            Kind::Select { operand, field, test } => self.select(id, *operand, field, *test),
            Kind::Call { name, target, args } => self.call(id, name, *target, args),
            Kind::List { items } => {
                let mut sum = Range::just(LIST);
                let mut value: Option<Range> = None;
                for item in items {
                    sum = sum.plus(self.cost(item.value));
                    let size = self.size_or_unknown(item.value);
                    value = Some(value.map_or(size, |v| v.or(size)));
                }
                let value = value.unwrap_or(Range::ZERO);
                self.elements.insert(id, Elements { list: true, key: Range::ONE, value });
                sum
            }
            Kind::Map { entries } => {
                let mut sum = Range::just(MAP);
                let mut found: Option<(Range, Range)> = None;
                for entry in entries {
                    sum = sum.plus(self.cost(entry.key)).plus(self.cost(entry.value));
                    let (k, v) = (self.size_or_unknown(entry.key), self.size_or_unknown(entry.value));
                    found = Some(found.map_or((k, v), |(a, b)| (a.or(k), b.or(v))));
                }
                let (key, value) = found.unwrap_or((Range::ZERO, Range::ZERO));
                self.elements.insert(id, Elements { list: false, key, value });
                sum
            }
            Kind::Fold(fold) => self.fold(id, fold),
            Kind::Let { value, body, .. } => {
                let mut sum = Range::just(LIST).plus(self.cost(*value));
                self.bind(self.slots(id)[0], *value);
                sum = sum.plus(self.cost(*body));
                self.copy_sizes(id, *body);
                sum
            }
            Kind::OptMap { target, body, flat, .. } => {
                // Upstream's expansion evaluates the target twice: `t.hasValue() ? of(bind(v, t.value(), body)) : none()`.
                let on = Range::ONE.plus(self.cost(*target));
                self.locals.insert(self.slots(id)[0], Local::default());
                let mut yes = Range::just(LIST).plus(on).plus(self.cost(*body));
                if !flat {
                    yes = yes.plus(Range::ONE);
                }
                on.plus(yes.or(Range::ONE))
            }
        }
    }

    fn slots(&self, id: Id) -> [usize; 3] {
        match &self.checked.refs[id as usize] {
            Ref::Slots(slots) => *slots,
            _ => [0; 3],
        }
    }

    fn local(&self, id: Id) -> Option<Local<'a>> {
        match &self.checked.refs[id as usize] {
            Ref::Local(slot) => Some(self.locals.get(slot).copied().unwrap_or_default()),
            _ => None,
        }
    }

    pub(super) fn type_of(&self, id: Id) -> &'a Type {
        &self.checked.types[id as usize]
    }

    fn select(&mut self, id: Id, operand: Id, field: &str, test: bool) -> Range {
        if !matches!(self.checked.refs[id as usize], Ref::None) {
            // A dotted name of a type, sized as the names without dots are.
            self.paths.insert(id, Path::At(self.root));
            return Range::ONE;
        }
        let mut sum = self.cost(operand);
        if test {
            return sum;
        }
        if matches!(self.type_of(operand), Type::Map(_) | Type::Object(_) | Type::Param(_)) {
            sum = sum.plus(Range::ONE);
        }
        let path = self.extend(self.path(operand), Step::Field(field));
        self.paths.insert(id, path);
        sum
    }

    fn fold(&mut self, id: Id, fold: &Fold) -> Range {
        let mut sum = self.cost(fold.range).plus(self.cost(fold.init));
        let [accu, var, var2] = self.slots(id);
        self.bind(accu, fold.init);
        self.bind_elements(fold, var, var2);
        let turn = self.cost(fold.condition).plus(self.cost(fold.step));
        sum = sum.plus(self.cost(fold.result));
        let count = self.size_or_unknown(fold.range);
        sum = sum.plus(count.times(turn));
        match self.ast.kind(fold.init) {
            Kind::Literal(_) => {
                if let Some(size) = self.size(fold.init) {
                    self.sizes.insert(id, size);
                }
            }
            Kind::List { .. } | Kind::Map { .. } => {
                self.sizes.insert(id, count);
                if let Some(elements) = self.elements_of(fold.step) {
                    self.elements.insert(id, elements);
                }
            }
            _ => {}
        }
        sum
    }

    fn bind_elements(&mut self, fold: &Fold, var: usize, var2: usize) {
        let elements = self.elements_of(fold.range);
        let list = elements.map_or(matches!(self.type_of(fold.range), Type::List(_)), |e| e.list);
        let path = self.path(fold.range);
        let key = Local {
            path: self.extend(path, if list { Step::Index } else { Step::Key }),
            size: elements.map(|e| e.key),
            elements: None,
        };
        let value = Local { path: self.extend(path, Step::Item), size: elements.map(|e| e.value), elements: None };
        match &fold.var2 {
            Some(_) => {
                self.locals.insert(var, key);
                self.locals.insert(var2, value);
            }
            None => {
                self.locals.insert(var, if list { value } else { key });
            }
        }
    }

    fn bind(&mut self, slot: usize, to: Id) {
        let local = Local { path: self.path(to), size: self.size(to), elements: self.elements_of(to) };
        self.locals.insert(slot, local);
    }

    pub(super) fn copy_sizes(&mut self, to: Id, from: Id) {
        if let Some(size) = self.size(from) {
            self.sizes.insert(to, size);
        }
        if let Some(elements) = self.elements_of(from) {
            self.elements.insert(to, elements);
        }
    }

    pub(super) fn path(&self, id: Id) -> Path<'a> {
        match self.local(id) {
            Some(local) => local.path,
            None => self.paths.get(&id).copied().unwrap_or_default(),
        }
    }

    pub(super) fn set_path(&mut self, id: Id, path: Path<'a>) {
        self.paths.insert(id, path);
    }

    pub(super) fn set_size(&mut self, id: Id, size: Range) {
        self.sizes.insert(id, size);
    }

    pub(super) fn set_elements(&mut self, id: Id, elements: Elements) {
        self.elements.insert(id, elements);
    }

    /// The place that a step leads to. From a computed value it leads to the root: so upstream reads its paths, whose
    /// first part it never looks at.
    pub(super) fn extend(&self, path: Path<'a>, step: Step<'_>) -> Path<'a> {
        let decl = match path {
            Path::Computed => return Path::At(self.root),
            Path::At(Some(decl)) => decl,
            Path::At(None) | Path::Key => return Path::At(None),
        };
        match (&decl.shape, step) {
            (Shape::Object(object), Step::Field(name)) => Path::At(object.field(name).map(|f| &*f.decl)),
            (Shape::List { items, .. }, Step::Item) => Path::At(Some(items)),
            (Shape::Map { values }, Step::Item) => Path::At(Some(values)),
            (Shape::Map { .. }, Step::Key) => Path::Key,
            _ => Path::At(None),
        }
    }

    /// The size that the schema gives a place.
    pub(super) fn declared(&self, path: Path<'a>) -> Option<Range> {
        match path {
            Path::At(Some(decl)) => Some(Range { min: 0, max: decl.max_elements }),
            Path::Key => Some(Range::ZERO),
            Path::At(None) | Path::Computed => None,
        }
    }

    pub(super) fn elements_of(&self, id: Id) -> Option<Elements> {
        self.elements.get(&id).copied().or_else(|| self.local(id)?.elements)
    }

    pub(super) fn element_size(&self, id: Id) -> Option<Range> {
        self.elements_of(id).map(|e| e.value)
    }

    pub(super) fn size_or_unknown(&self, id: Id) -> Range {
        self.size(id).unwrap_or(Range::UNKNOWN)
    }

    pub(super) fn size(&self, id: Id) -> Option<Range> {
        if let Some(size) = self.sizes.get(&id) {
            return Some(*size);
        }
        let written = match self.ast.kind(id) {
            Kind::Literal(Literal::String(s)) => Some(s.chars().count()),
            Kind::Literal(Literal::Bytes(b)) => Some(b.len()),
            Kind::Literal(_) => Some(1),
            Kind::List { items } => Some(items.len()),
            Kind::Map { entries } => Some(entries.len()),
            _ => None,
        };
        if let Some(n) = written {
            return Some(Range::just(n as u64));
        }
        if let Some(size) = self.declared(self.path(id)) {
            return Some(size);
        }
        if self.type_of(id).is_scalar() {
            return Some(Range::ONE);
        }
        self.local(id)?.size
    }
}
