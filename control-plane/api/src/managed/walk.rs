//! Walks over objects along their schema: which fields there are, and what differs between two.

use super::set::{Element, Set, text_of};
use crate::kind::Kind;
use crate::schema::{self, ListType, Presence, Schema, Type};
use crate::structural::{Additional, List, Structural, Ty};
use crate::value::{Key, Map, Value};
use std::collections::{BTreeMap, HashMap};

/// Structs that are owned as a whole wherever they stand (`x-kubernetes-map-type: atomic` on the type).
const ATOMIC: &[&str] = &[
    "ConfigMapKeySelector",
    "EndpointAddress",
    "EndpointPort",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "MatchResources",
    "NamedRuleWithOperations",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ParamKind",
    "ParamRef",
    "ResourceFieldSelector",
    "RoleRef",
    "ScopeSelector",
    "SecretKeySelector",
    "SecretReference",
    "ServiceBackendPort",
    "Subject",
    "TopologySelectorTerm",
    "TypedLocalObjectReference",
    "Variable",
];

/// Whether values of a type are owned as a whole.
pub fn is_atomic(schema: &Schema) -> bool {
    match (schema.package, schema.name) {
        // Of these names one is owned as a whole, others are not.
        ("io.k8s.api.autoscaling.v1", "CrossVersionObjectReference") => true,
        ("io.k8s.api.flowcontrol.v1", "Subject") => false,
        (_, name) => ATOMIC.contains(&name),
    }
}

/// How a value is owned.
#[derive(Clone, Copy)]
pub(super) enum Shape<'a> {
    /// As a whole.
    Leaf,
    Struct(&'static Schema),
    /// By its keys; nothing is known of the values of a map without a type.
    Map(Option<&'static Type>),
    Set,
    /// By these keys of its items.
    Keyed(&'static [&'static str], &'static Type),
    /// Nothing is known: maps by their keys, all else as a whole.
    Free,
    /// A map of a kind that was defined at run time.
    Custom(&'a Structural),
    /// A list of such a kind whose items have keys; this is the list's schema.
    CustomItems(&'a Structural),
}

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
/// What a key of an item is where the item does not say.
fn key_default(item: &Type, key: &str) -> Option<Value> {
    let schema = item.schema()?;
    let field = schema.field(key)?;
    match (schema.name, key, &field.ty) {
        ("ContainerPort" | "ServicePort", "protocol", _) => Some("TCP".into()),
        ("LocalObjectReference", "name", _) => Some("".into()),
        // A field that always shows has its zero where nothing is said.
        (.., Type::String) if field.presence == Presence::ValueAlways => Some("".into()),
        (.., Type::Int32 | Type::Int64) if field.presence == Presence::ValueAlways => Some(0.into()),
        _ => None,
    }
}

const UNSET: ListType = ListType::Unset;

impl<'a> Shape<'a> {
    /// The shape of a whole object.
    pub(super) fn root(kind: &'a Kind) -> Shape<'a> {
        match &kind.custom {
            Some(custom) => Shape::Custom(&custom.schema),
            None => schema::find(&kind.type_name).map_or(Shape::Free, Shape::Struct),
        }
    }

    /// The shape of a value of a kind that was defined at run time.
    fn custom(node: &'a Structural) -> Shape<'a> {
        match (node.ty, &node.list) {
            _ if node.int_or_string => Shape::Leaf,
            (Some(Ty::Array), List::Set) => Shape::Set,
            (Some(Ty::Array), List::Map(_)) => Shape::CustomItems(node),
            (Some(Ty::Object), _) if node.atomic_map => Shape::Leaf,
            (Some(Ty::Object), _) => Shape::Custom(node),
            (None, _) if node.preserve => Shape::Free,
            _ => Shape::Leaf,
        }
    }

    fn below_custom(node: &'a Structural, key: &str) -> (Shape<'a>, bool) {
        match (key, node.properties.get(key), &node.additional) {
            ("metadata", ..) if node.embedded => (schema::find(OBJECT_META).map_or(Shape::Free, Shape::Struct), true),
            ("apiVersion" | "kind", ..) if node.embedded => (Shape::Leaf, true),
            (_, Some(property), _) => (Shape::custom(property), true),
            (_, None, Additional::Schema(of)) => (Shape::custom(of), false),
            _ => (Shape::Free, false),
        }
    }

    fn of(ty: &'static Type, list: &'static ListType) -> Shape<'a> {
        match (ty, list) {
            (Type::List(_), ListType::Set) => Shape::Set,
            (Type::List(item), ListType::Map(keys)) => Shape::Keyed(keys, item),
            (Type::Map(_) | Type::Struct(_), ListType::Atomic) => Shape::Leaf,
            (Type::Map(item), _) => Shape::Map(Some(item)),
            (Type::Struct(s), ListType::Granular) => Shape::Struct(s.get()),
            (Type::Struct(s), _) if is_atomic(s.get()) => Shape::Leaf,
            (Type::Struct(s), _) => Shape::Struct(s.get()),
            (Type::Object, _) => Shape::Map(None),
            _ => Shape::Leaf,
        }
    }

    /// The shape of a field or a key, and whether it is a field that the type names.
    pub(super) fn below(self, key: &str) -> (Shape<'a>, bool) {
        match self {
            Shape::Custom(node) => Shape::below_custom(node, key),
            Shape::Struct(schema) => match schema.field(key) {
                Some(field) => (Shape::of(&field.ty, &field.list), true),
                None => (Shape::Free, false),
            },
            Shape::Map(Some(item)) => (Shape::of(item, &UNSET), false),
            Shape::Map(None) => (Shape::Leaf, false),
            Shape::Free => (Shape::Free, false),
            Shape::Leaf | Shape::Set | Shape::Keyed(..) | Shape::CustomItems(_) => (Shape::Leaf, false),
        }
    }

    /// The type of a field: none for one that the type does not have, none within for one of which nothing is known.
    pub(super) fn field_type(self, key: &str) -> Option<Option<&'static Type>> {
        match self {
            Shape::Struct(schema) => match schema.field(key) {
                Some(field) => Some(Some(&field.ty)),
                // A whole object says its type.
                None => matches!(key, "apiVersion" | "kind").then_some(None),
            },
            _ => Some(None),
        }
    }

    /// The keys of a list's items, where an item has none of them.
    pub(super) fn lacks_keys(self, item: &Value) -> Option<&'static [&'static str]> {
        match self {
            Shape::Keyed(keys, ty) => {
                keys.iter().all(|k| item.get(k).is_none() && key_default(ty, k).is_none()).then_some(keys)
            }
            _ => None,
        }
    }

    pub(super) fn item(self) -> Shape<'a> {
        match self {
            Shape::CustomItems(node) => node.items.as_deref().map_or(Shape::Leaf, Shape::custom),
            Shape::Keyed(_, item) => Shape::of(item, &UNSET),
            _ => Shape::Leaf,
        }
    }

    /// How an item of a list is told apart.
    pub(super) fn element(self, item: &Value) -> Element {
        match self {
            Shape::Keyed(keys, ty) => {
                let pairs =
                    keys.iter().filter_map(|k| Some((*k, item.get(k).cloned().or_else(|| key_default(ty, k))?)));
                Element::Keys(text_of(&Value::Map(pairs.collect())))
            }
            Shape::CustomItems(node) => Element::Keys(text_of(&Value::Map(keys_of(node, item)))),
            _ => Element::Value(text_of(item)),
        }
    }

    /// Whether the field is not there for its owners: an empty list or map of a type that does not show empty ones.
    fn omits(self, key: &str, value: &Value) -> bool {
        let Shape::Struct(schema) = self else { return false };
        let empty = value.as_list().is_some_and(<[Value]>::is_empty) || value.as_map().is_some_and(Map::is_empty);
        empty && schema.field(key).is_some_and(|f| f.presence == Presence::Collection)
    }

    pub(super) fn is_map(self) -> bool {
        matches!(self, Shape::Struct(_) | Shape::Map(_) | Shape::Free | Shape::Custom(_))
    }

    /// Whether it is a list whose items have keys.
    pub(super) fn is_keyed(self) -> bool {
        matches!(self, Shape::Keyed(..) | Shape::CustomItems(_))
    }

    pub(super) fn is_list(self) -> bool {
        matches!(self, Shape::Set | Shape::Keyed(..) | Shape::CustomItems(_))
    }
}

/// Whether a list whose items have keys has one without any: nothing can be said of such an object's fields.
pub(super) fn is_keyless(shape: Shape<'_>, map: &Map) -> bool {
    map.iter().any(|(key, value)| is_keyless_below(shape.below(key).0, value))
}

fn is_keyless_below(shape: Shape<'_>, value: &Value) -> bool {
    match value {
        Value::Map(map) if shape.is_map() => is_keyless(shape, map),
        Value::List(items) if matches!(shape, Shape::Keyed(..)) => {
            items.iter().any(|item| shape.lacks_keys(item).is_some() || is_keyless_below(shape.item(), item))
        }
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Str(_)
        | Value::List(_)
        | Value::Map(_) => false,
    }
}

/// The keys of an item of a list that is a map, with the defaults of those that it leaves out.
pub(super) fn keys_of(list: &Structural, item: &Value) -> Map {
    let List::Map(keys) = &list.list else { return Map::new() };
    let default = |key: &Key| list.items.as_ref()?.properties.get(key)?.default.clone();
    let pairs = keys.iter().filter_map(|k| Some((k.clone(), item.get(k).cloned().or_else(|| default(k))?)));
    pairs.collect()
}

/// What differs between two objects.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What a writer takes from others.
    pub(super) fn taken(&self) -> Set {
        let mut taken = self.modified.clone();
        taken.union(&self.added);
        taken
    }

    /// Without what a writer may not change.
    pub(super) fn without(&mut self, ignored: &Set) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.without(ignored);
        }
    }
}

pub(super) fn compare(shape: Shape<'_>, old: &Map, new: &Map) -> Changes {
    Compare::default().run(shape, old, new)
}

/// The same for two objects of a Go type, which does not tell most empty lists and maps from absent ones.
pub(super) fn compare_typed(shape: Shape<'_>, old: &Map, new: &Map) -> Changes {
    Compare { omits_empty: true, ..Compare::default() }.run(shape, old, new)
}

#[derive(Default)]
struct Compare {
    omits_empty: bool,
    path: Vec<Element>,
    changes: Changes,
}

fn map_of(value: Option<&Value>) -> Option<&Map> {
    value.and_then(Value::as_map)
}

fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_list).unwrap_or(&[])
}

impl Compare {
    fn run(mut self, shape: Shape<'_>, old: &Map, new: &Map) -> Changes {
        self.maps(shape, Some(old), Some(new));
        self.changes
    }

    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, Some(_)) => self.changes.added.insert(&self.path),
            (Some(_), None) => self.changes.removed.insert(&self.path),
            (Some(a), Some(b)) if a != b => self.changes.modified.insert(&self.path),
            _ => {}
        }
    }

    fn value(&mut self, shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>) {
        let maps = [old, new].iter().any(|v| map_of(*v).is_some_and(|m| !m.is_empty()));
        let lists = [old, new].iter().any(|v| !list_of(*v).is_empty());
        let odd = |good: fn(&Value) -> bool| [old, new].iter().flatten().any(|v| !v.is_null() && !good(v));
        if shape.is_map() && maps && !odd(|v| matches!(v, Value::Map(_))) {
            self.maps(shape, map_of(old), map_of(new));
        } else if shape.is_list() && lists && !odd(|v| matches!(v, Value::List(_))) {
            self.lists(shape, list_of(old), list_of(new));
        } else {
            return self.leaf(old, new);
        }
        match (old, new) {
            (None, Some(_)) => self.changes.added.insert(&self.path),
            (Some(_), None) => self.changes.removed.insert(&self.path),
            _ => {}
        }
    }

    fn at(&mut self, element: Element, shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>) {
        self.path.push(element);
        self.value(shape, old, new);
        self.path.pop();
    }

    fn maps(&mut self, shape: Shape<'_>, old: Option<&Map>, new: Option<&Map>) {
        let nothing = Map::new();
        let (old, new) = (old.unwrap_or(&nothing), new.unwrap_or(&nothing));
        let omits_empty = self.omits_empty;
        let shown = |key: &Key, value: &&Value| !omits_empty || !shape.omits(key, value);
        for (key, value) in old.iter().filter(|(key, value)| shown(key, value)) {
            let other = new.get(key).filter(|v| shown(key, v));
            self.at(Element::Field(key.clone()), shape.below(key).0, Some(value), other);
        }
        let has = |key: &Key| old.get(key).is_some_and(|v| shown(key, &v));
        for (key, value) in new.iter().filter(|(key, value)| !has(key) && shown(key, value)) {
            self.at(Element::Field(key.clone()), shape.below(key).0, None, Some(value));
        }
    }

    fn lists(&mut self, shape: Shape<'_>, old: &[Value], new: &[Value]) {
        let (before, after) = (grouped(shape, old), grouped(shape, new));
        for (element, olds) in &before {
            let news = after.get(element).map_or(&[][..], Vec::as_slice);
            self.item(element, shape, olds, news);
        }
        for (element, news) in after.iter().filter(|(element, _)| !before.contains_key(*element)) {
            self.item(element, shape, &[], news);
        }
    }

    /// Items with one identity: a list that has it twice owns it as a whole.
    fn item(&mut self, element: &Element, shape: Shape<'_>, olds: &[&Value], news: &[&Value]) {
        if olds.len() < 2 && news.len() < 2 {
            return self.at(element.clone(), shape.item(), olds.first().copied(), news.first().copied());
        }
        self.path.push(element.clone());
        match (olds.is_empty(), news.is_empty()) {
            (true, false) => self.changes.added.insert(&self.path),
            (false, true) => self.changes.removed.insert(&self.path),
            _ if olds != news => self.changes.modified.insert(&self.path),
            _ => {}
        }
        self.path.pop();
    }
}

pub(super) fn text(element: &Element) -> String {
    element.to_string()
}

/// The items by their identity.
fn grouped<'v>(shape: Shape<'_>, items: &'v [Value]) -> BTreeMap<Element, Vec<&'v Value>> {
    let mut out: BTreeMap<Element, Vec<&'v Value>> = BTreeMap::new();
    for item in items {
        out.entry(shape.element(item)).or_default().push(item);
    }
    out
}

/// The items by their identity; of duplicates the first.
pub(super) fn by_element<'v>(shape: Shape<'_>, items: &'v [Value]) -> HashMap<String, &'v Value> {
    let mut out = HashMap::with_capacity(items.len());
    for item in items {
        out.entry(text(&shape.element(item))).or_insert(item);
    }
    out
}

/// All fields that an object sets: what its applier owns.
pub(super) fn fields(shape: Shape<'_>, object: &Map) -> Set {
    let mut walk = Fields { path: Vec::new(), set: Set::default() };
    walk.map(shape, object);
    walk.set
}

struct Fields {
    path: Vec<Element>,
    set: Set,
}

impl Fields {
    fn value(&mut self, shape: Shape<'_>, value: &Value) {
        match value {
            Value::Map(map) if shape.is_map() => self.map(shape, map),
            Value::List(items) if shape.is_list() => {
                for item in items {
                    self.path.push(shape.element(item));
                    self.value(shape.item(), item);
                    self.set.insert(&self.path);
                    self.path.pop();
                }
            }
            _ => self.set.insert(&self.path),
        }
    }

    fn map(&mut self, shape: Shape<'_>, map: &Map) {
        for (key, value) in map.iter() {
            let (below, named) = shape.below(key);
            self.path.push(Element::Field(Key::clone(key)));
            self.value(below, value);
            let empty = value.is_null() || value.as_map().is_some_and(Map::is_empty);
            if empty || !named {
                self.set.insert(&self.path);
            }
            self.path.pop();
        }
    }
}
