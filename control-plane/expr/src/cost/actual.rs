//! What a call has cost, once its arguments and its result are known.

use super::{CHECK, LIST, READ, REGEX, scale};
use crate::library::Cost;
use crate::value::{Special, Val};

pub(crate) fn cost(kind: Cost, args: &[Val<'_>], result: Option<&Val<'_>>) -> u64 {
    let size = |i: usize| args.get(i).map_or(1, size);
    let made = result.map_or(0, self::size);
    let read = |i: usize| scale(size(i), READ);
    match kind {
        Cost::Free | Cost::Conditional | Cost::Logic => 0,
        Cost::One | Cost::Index | Cost::JoinLists => 1,
        Cost::Equality => match (args.first(), args.get(1)) {
            (Some(Val::Special(_)), _) => 1,
            _ => scale(size(0).min(size(1)), READ),
        },
        Cost::Ordering => scale(size(0).min(size(1)), READ),
        Cost::Join2 => scale(size(0) + size(1), READ),
        Cost::Prefix | Cost::StringToBytes | Cost::BytesToString | Cost::Quote | Cost::Printf => read(0),
        Cost::InList => size(1),
        Cost::Matches | Cost::Find => scale(1 + size(0), READ).saturating_mul(scale(size(1), REGEX)),
        Cost::Contains => read(0).saturating_mul(read(1)),
        Cost::Elements | Cost::Seek => args.first().map_or(0, |a| walk(a, 0)),
        Cost::Copy | Cost::CopyArgument | Cost::Parse => read(0),
        Cost::Replace | Cost::Split | Cost::ParseTwice => scale(size(0), 2.0 * READ),
        Cost::Join => scale(made, 2.0 * READ),
        Cost::ContainsIp { text } => scale(2 * size(0), READ) + if text { read(1) } else { 0 },
        Cost::ContainsCidr { text } => scale(2 * size(0), READ) + read(0) + 1 + if text { read(1) } else { 0 },
        Cost::Validate => {
            let weight = match args.first() {
                Some(Val::Special(special)) => match &**special {
                    Special::Format(format) => format.weight,
                    _ => 0,
                },
                _ => 0,
            };
            scale(1 + size(1), READ).saturating_mul(scale(weight, REGEX))
        }
        Cost::Check => CHECK,
        Cost::Sets(factor) => 1 + size(0).saturating_mul(size(1)).saturating_mul(u64::from(factor)),
        Cost::Slice | Cost::Range | Cost::Reverse => 1 + LIST + made,
        Cost::Flatten => {
            let depth = match args.get(1) {
                Some(Val::Int(n)) => u64::try_from(*n).unwrap_or(0),
                _ => 1,
            };
            1 + LIST + size(0).saturating_mul(depth)
        }
        Cost::Pairs => pairs(args.first()),
        Cost::PairsOfKeys => pairs(args.get(1)),
    }
}

fn pairs(list: Option<&Val<'_>>) -> u64 {
    let Some(items) = list.and_then(Val::items) else { return 1 };
    let text = matches!(items.get(0), Some(Ok(Val::String(_) | Val::Bytes(_))));
    let n = items.len() as u64;
    let factor = if text { 2.0 + READ } else { 2.0 };
    (1 + LIST).saturating_add((n.saturating_mul(n) as f64 * factor) as u64)
}

/// The size that costs are counted by.
fn size(value: &Val<'_>) -> u64 {
    match value {
        Val::Optional(Some(held)) => size(held),
        other => other.size().map_or(1, |n| n as u64),
    }
}

/// How deep a value is looked into. Objects are not deeper: their parser sees to it.
const DEPTH: usize = 128;

/// Walking over everything in a value.
fn walk(value: &Val<'_>, depth: usize) -> u64 {
    if depth > DEPTH {
        return 1;
    }
    let part = |n: usize| (n as f64 * READ) as u64;
    if let Some(items) = value.items() {
        return items.iter().map(|i| i.map_or(1, |i| walk(&i, depth + 1))).sum();
    }
    if let Some(Ok(entries)) = value.entries() {
        return entries.iter().map(|(k, v)| walk(k, depth + 1) + walk(v, depth + 1)).sum();
    }
    match value {
        Val::String(s) => part(s.len()),
        Val::Bytes(b) => part(b.len()),
        _ => 1,
    }
}
