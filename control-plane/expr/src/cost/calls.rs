//! What calls can cost at most, and how large what they give can be.

use super::estimate::{Estimator, Step};
use super::{CHECK, LIST, READ, REGEX, Range};
use crate::ast::{Id, Kind, Literal};
use crate::check::Ref;
use crate::library::{Cost, Overload};
use crate::types::{self, Type};

/// The size of an address in bytes.
const ADDRESS: Range = Range { min: 4, max: 16 };
/// The longest name of a format.
const FORMAT_BYTES: u64 = 64;
/// The longest regular expression behind a format.
const FORMAT_REGEX: f64 = 128.0;

/// A call that is being estimated. Arguments are without the target.
struct Call<'c> {
    id: Id,
    target: Option<Id>,
    args: &'c [Id],
    costs: Vec<Range>,
}

impl Estimator<'_> {
    pub(super) fn call(&mut self, id: Id, name: &str, target: Option<Id>, args: &[Id]) -> Range {
        if name == "dyn" {
            let sum = Range::ONE.plus(self.cost(args[0]));
            self.copy_sizes(id, args[0]);
            return sum;
        }
        let costs: Vec<Range> = args.iter().map(|a| self.cost(*a)).collect();
        let sum = costs.iter().fold(Range::ZERO, |a, b| a.plus(*b));
        let Ref::Overloads(overloads) = &self.checked.refs[id as usize] else {
            // An optional selection.
            return sum.plus(Range::ONE);
        };
        let target = target.filter(|_| overloads.first().is_some_and(|o| o.member));
        let on = target.map_or(Range::ZERO, |t| self.cost(t));
        let call = Call { id, target, args, costs };
        let mut cost: Option<Range> = None;
        let mut size: Option<Range> = None;
        for overload in overloads {
            let (own, gives) = self.overload(&call, name, overload);
            let own = match overload.cost {
                Cost::Logic | Cost::Conditional => own,
                _ => own.plus(sum),
            };
            cost = Some(cost.map_or(own, |c| c.or(own)));
            size = match (size, gives) {
                (Some(a), Some(b)) => Some(a.or(b)),
                (a, b) => a.or(b),
            };
            if overload.cost == Cost::Index {
                size = self.element_size(args[0]);
                let path = self.extend(self.path(args[0]), Step::Item);
                self.set_path(id, path);
            }
            size = size.or_else(|| self.size(id));
        }
        if let Some(size) = size {
            self.set_size(id, size);
        }
        on.plus(cost.unwrap_or(Range::ZERO))
    }

    /// What one overload costs, and the size of what it gives.
    fn overload(&mut self, call: &Call<'_>, name: &str, overload: &Overload) -> (Range, Option<Range>) {
        let on = call.target.map_or(Range::UNKNOWN, |t| self.size_or_unknown(t));
        let arg = |e: &Self, i: usize| call.args.get(i).map_or(Range::UNKNOWN, |a| e.size_or_unknown(*a));
        match overload.cost {
            Cost::One | Cost::Index => (Range::ONE, None),
            Cost::Free => (Range::ZERO, None),
            Cost::Logic => {
                let (left, right) = (call.costs[0], call.costs[1]);
                (Range { min: left.min, max: left.plus(right).max }, None)
            }
            Cost::Conditional => {
                let (yes, no) = (call.args[1], call.args[2]);
                if let (Some(a), Some(b)) = (self.elements_of(yes), self.elements_of(no)) {
                    self.set_elements(call.id, a.or(b));
                }
                let size = self.size_or_unknown(yes).or(self.size_or_unknown(no));
                (call.costs[0].plus(call.costs[1].or(call.costs[2])), Some(size))
            }
            Cost::Equality => (self.equality(call, name), None),
            Cost::Ordering => (compared(arg(self, 0), arg(self, 1)), None),
            Cost::Join2 | Cost::JoinLists => {
                if let (Some(a), Some(b)) = (self.elements_of(call.args[0]), self.elements_of(call.args[1])) {
                    self.set_elements(call.id, a.or(b));
                }
                let size = arg(self, 0).plus(arg(self, 1));
                let own = if overload.cost == Cost::JoinLists { Range::ONE } else { size.by(READ) };
                (own, Some(size))
            }
            Cost::Prefix => (arg(self, 0).by(READ), None),
            Cost::StringToBytes => {
                let size = arg(self, 0);
                (size.by(READ), Some(Range { min: size.min, max: size.max.saturating_mul(4) }))
            }
            Cost::BytesToString => {
                let size = arg(self, 0);
                (size.by(READ), Some(Range { min: size.min / 4, max: size.max }))
            }
            Cost::Quote => {
                let size = arg(self, 0);
                let gives =
                    Range { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
                (size.by(READ), Some(gives))
            }
            Cost::Printf => (on.by(READ), None),
            Cost::InList => (arg(self, 1), None),
            // Upstream weighs the method and forgets the function.
            Cost::Matches if call.target.is_none() => (Range::ONE, None),
            Cost::Matches => (on.plus(Range::ONE).by(READ).times(arg(self, 0).by(REGEX)), None),
            Cost::Find => {
                let own = on.plus(Range::ONE).by(READ).times(arg(self, 0).by(REGEX));
                (own, Some(Range { min: 0, max: on.max }))
            }
            Cost::Contains => (on.by(READ).times(arg(self, 0).by(READ)), None),
            Cost::Elements => (self.over_elements(call, on), None),
            Cost::Seek => (on.by(READ), None),
            Cost::Copy => (on.by(READ), Some(on)),
            Cost::CopyArgument => (arg(self, 0).by(READ), Some(arg(self, 0))),
            Cost::Replace => (on.by(2.0 * READ), Some(replaced(on, arg(self, 0), arg(self, 1)))),
            Cost::Split => {
                let max = self.number(call.args.get(1)).unwrap_or(on.max);
                (on.by(2.0 * READ), Some(Range { min: 0, max }))
            }
            Cost::Join => {
                let size = self.joined(call, on);
                (size.by(READ), Some(size))
            }
            Cost::Parse => (arg(self, 0).by(READ), None),
            Cost::ParseTwice => (arg(self, 0).by(2.0 * READ), None),
            Cost::ContainsIp { text } => {
                let own = ADDRESS.plus(ADDRESS).by(READ);
                (if text { own.plus(arg(self, 0).by(READ)) } else { own }, None)
            }
            Cost::ContainsCidr { text } => {
                let own = ADDRESS.plus(ADDRESS).by(READ).plus(ADDRESS.by(READ)).plus(Range::ONE);
                (if text { own.plus(arg(self, 0).by(READ)) } else { own }, None)
            }
            Cost::Validate => (arg(self, 0).by(READ).by(FORMAT_REGEX * REGEX), None),
            Cost::Check => (Range::just(CHECK), None),
            Cost::Sets(factor) => (arg(self, 0).times(arg(self, 1)).by(f64::from(factor)).plus(Range::ONE), None),
            Cost::Slice => {
                let from = self.number(call.args.first()).unwrap_or(0);
                let to = self.number(call.args.get(1)).unwrap_or(on.max);
                // Upstream's numbers have no sign and go round.
                made(1.0, Range::just(to.wrapping_sub(from)))
            }
            Cost::Range => made(1.0, Range::just(self.number(call.args.first()).unwrap_or(u64::MAX))),
            Cost::Reverse => made(1.0, on),
            Cost::Flatten => {
                let depth = match call.args.first() {
                    Some(_) => self.number(call.args.first()).unwrap_or(u64::MAX),
                    None => 1,
                };
                made(depth as f64, on)
            }
            Cost::Pairs => {
                let text = call.target.is_some_and(|t| self.holds_text(t)) && name == "sort";
                made(if text { 2.0 + READ } else { 2.0 }, on.times(on))
            }
            Cost::PairsOfKeys => {
                let (keys, text) = (arg(self, 1), call.args.get(1).is_some_and(|a| self.holds_text(*a)));
                made(if text { 2.0 + READ } else { 2.0 }, keys.times(keys))
            }
        }
    }

    fn equality(&self, call: &Call<'_>, name: &str) -> Range {
        let [left, right] = call.args else { return Range::ONE };
        if name == "_==_"
            && let (Type::Opaque(a), Type::Opaque(b)) = (self.type_of(*left), self.type_of(*right))
            && a == b
        {
            return match *a {
                types::FORMAT => Range { min: 1, max: FORMAT_BYTES }.by(READ),
                types::URL => {
                    let max = self.size(*right).map_or(1, |s| s.max);
                    Range { min: 1, max }.by(READ)
                }
                _ => Range::ONE,
            };
        }
        compared(self.size_or_unknown(*left), self.size_or_unknown(*right))
    }

    fn holds_text(&self, list: Id) -> bool {
        matches!(self.type_of(list), Type::List(of) if matches!(**of, Type::String | Type::Bytes))
    }

    /// The size that the schema gives the items of a list.
    fn item_size(&self, list: Id) -> Range {
        match self.path(list) {
            super::estimate::Path::Computed => Range::UNKNOWN,
            path => self.declared(self.extend(path, Step::Item)).unwrap_or(Range::UNKNOWN),
        }
    }

    fn over_elements(&self, call: &Call<'_>, on: Range) -> Range {
        let Some(list) = call.target else { return Range::ONE };
        let mut each = Range::ONE;
        if self.holds_text(list) {
            each = each.plus(self.item_size(list).by(READ));
        }
        on.times(each)
    }

    fn joined(&self, call: &Call<'_>, on: Range) -> Range {
        let Some(list) = call.target else { return Range::UNKNOWN };
        let size = on.times(self.item_size(list));
        match call.args.first() {
            Some(by) => {
                let between = Range { min: on.min.saturating_sub(1), max: on.max.saturating_sub(1) };
                size.plus(self.size_or_unknown(*by).times(between))
            }
            None => size,
        }
    }

    /// A number that is written in the expression.
    fn number(&self, arg: Option<&Id>) -> Option<u64> {
        match self.ast.kind(*arg?) {
            Kind::Literal(Literal::Int(n)) => u64::try_from(*n).ok(),
            _ => None,
        }
    }
}

fn made(factor: f64, size: Range) -> (Range, Option<Range>) {
    (size.by(factor).plus(Range::ONE).plus(Range::just(LIST)), Some(size))
}

fn compared(left: Range, right: Range) -> Range {
    let max = left.max.min(right.max);
    Range { min: u64::from(max > 0), max }.by(READ)
}

/// How long a text is after replacements: each that can be longest, each that can be shortest.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let parts = |whole: u64, part: u64| (whole as f64 / part as f64).ceil() as u64;
    let (most, kept_most) = match from.min {
        0 => (text.max.saturating_add(1), text.max),
        shortest if to.max <= shortest => (0, text.max),
        shortest => (parts(text.max, shortest), 0),
    };
    let (least, kept_least) = match from.max {
        0 => (text.min.saturating_add(1), text.min),
        longest if longest <= to.min => (0, text.min),
        longest => (parts(text.min, longest), 0),
    };
    Range {
        min: least.saturating_mul(to.min).saturating_add(kept_least),
        max: most.saturating_mul(to.max).saturating_add(kept_most),
    }
}
