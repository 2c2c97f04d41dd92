//! Where the fields of a message stand: made once per type out of its schema.

use crate::schema::{self, Field, Schema};

/// Messages whose fields stand in JSON beside those of the message that holds them: `:type`, then `number name`.
const INLINED: &str = include_str!("../../../tables/inlined.txt");

/// The fields of a message, sorted by number.
#[derive(Debug)]
pub(crate) struct Layout {
    slots: Vec<Slot>,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub number: u32,
    pub of: Of,
}

#[derive(Debug)]
pub(super) enum Of {
    /// A field, by its place in the schema.
    Field(usize),
    /// A message whose fields JSON shows among those of this one.
    Inline(Inline),
}

#[derive(Debug)]
pub(super) enum Inline {
    /// It has a table of its own.
    Known(&'static Schema),
    /// Its numbers, with the places of the fields in the outer schema.
    Fields(Layout),
}

impl Layout {
    pub(crate) fn of(schema: &Schema) -> Layout {
        let slots = schema.fields.iter().enumerate().filter(|(_, f)| f.proto_number > 0);
        Layout::sorted(slots.filter_map(|(i, field)| {
            let of = match field.hidden {
                false => Of::Field(i),
                true => Of::Inline(inline(schema, field)?),
            };
            Some(Slot { number: field.proto_number, of })
        }))
    }

    fn sorted(slots: impl Iterator<Item = Slot>) -> Layout {
        let mut slots: Vec<Slot> = slots.collect();
        slots.sort_by_key(|s| s.number);
        Layout { slots }
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn find(&self, number: u32) -> Option<&Of> {
        let i = self.slots.binary_search_by_key(&number, |s| s.number).ok()?;
        Some(&self.slots[i].of)
    }
}

/// What a field that JSON does not name holds of those that it does; `None` for one that is of protobuf alone.
fn inline(outer: &Schema, field: &Field) -> Option<Inline> {
    let full = format!("{}.{}", outer.package, field.proto_type);
    let shown = |name: &str| outer.fields.iter().position(|f| f.name == name && !f.hidden && f.proto_number == 0);
    if let Some(inner) = schema::find(&full) {
        return inner.fields.iter().any(|f| !f.hidden && shown(f.name).is_some()).then_some(Inline::Known(inner));
    }
    let slots = inlined(&full)
        .filter_map(|(number, name)| Some(Slot { number: number.parse().ok()?, of: Of::Field(shown(name)?) }));
    let fields = Layout::sorted(slots);
    (!fields.slots.is_empty()).then_some(Inline::Fields(fields))
}

/// The numbers and names of the fields of a message of [`INLINED`].
fn inlined(full: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let of_type = INLINED.lines().skip_while(move |l| l.strip_prefix(':') != Some(full)).skip(1);
    of_type.take_while(|l| !l.starts_with(':')).filter_map(|l| l.split_once('\t'))
}

/// The types by which a field stands in an object, from the outside: none for a field of the type itself.
pub(crate) fn embedded(schema: &Schema, name: &str) -> Vec<&'static str> {
    if schema.field(name).is_none_or(|f| f.proto_number > 0) {
        return Vec::new();
    }
    let hidden = schema.fields.iter().filter(|f| f.hidden);
    let mut found = hidden.filter_map(|field| {
        let full = format!("{}.{}", schema.package, field.proto_type);
        match schema::find(&full) {
            Some(inner) => inner.field(name).map(|_| [vec![field.proto_type], embedded(inner, name)].concat()),
            None => inlined(&full).any(|(_, n)| n == name).then(|| vec![field.proto_type]),
        }
    });
    found.next().unwrap_or_default()
}
